# The way of somebody who never saw a node before, by what README and runbook say, on a machine of their own.

check_path() {
    packages
    unit_profile
    apart path
}

inside_path() {
    small_disk "$SCRATCH/lib/corelog" 400M
    mkdir "$SCRATCH/lib/replica"
    on_a_machine newcomer
}

inside_newcomer() {
    local count=0
    cd /root
    head_line "The package is installed, the node serves"
    steps <<-'SH'
		apt-get install -qy "$SCRATCH/corelog_0.1.0-1.deb"
		systemctl status corelog
		curl -sf http://localhost:7399/readyz
		corelog --version
		sudo -u corelog corelog doctor --data-dir /var/lib/corelog # may end with 1
	SH
    head_line "Records go in and come out"
    steps <<-'SH'
		corelog topic create events --partitions 2 --segment-bytes 1MiB
		printf 'alice:login\nbob:login\nalice:logout\n' | corelog produce events --key-separator :
		corelog consume events --format '%p %o %k %v\n'
		corelog bench produce --yes --topic events --total 8MiB
		corelog topic describe events
	SH
    head_line "It is watched"
    steps <<-'SH'
		corelog top --once
		corelog top --once --view partitions
		curl -sf http://localhost:7399/metrics | promtool check metrics
	SH
    scraped
    head_line "A second server has a copy"
    replica
    steps <<-'SH'
		corelog clone events --server 127.0.0.2:7400 --from 127.0.0.1:7400 --follow
		corelog compare events --with 127.0.0.2:7400
	SH
    head_line "The disk is full, and has room again"
    steps <<-'SH'
		corelog bench produce --yes --topic events --total 1GiB --timeout 5s # ends with 5
	SH
    # What is prepared in the other partition is filled, too.
    await "both partitions to be full" are_full
    steps <<-'SH'
		corelog produce events --timeout 2s <<<more # ends with 1
		df -h /var/lib/corelog
		corelog topic describe events
		corelog consume events --from -3 --format '%p %o\n' | tail -3
		corelog topic alter events --retention-bytes 32MiB --dry-run
		corelog topic alter events --retention-bytes 32MiB --yes
	SH
    await "room" can_produce
    steps <<-'SH'
		echo again | corelog produce events
		corelog topic describe events
		df -h /var/lib/corelog
	SH
    head_line "A file is damaged, and mended by the copy"
    await "the copy to be level" corelog compare events --with 127.0.0.2:7400
    # Beside a replica that runs it would be mended before anybody looks.
    ends_replica
    bend "$(ls /var/lib/corelog/topics/events/0/*.log | sed -n 2p)" 300000
    steps <<-'SH'
		corelog scrub events --wait # ends with 3
		corelog topic describe events # ends with 3
		corelog verify /var/lib/corelog/topics/events # ends with 3
	SH
    replica
    steps <<-'SH'
		corelog repair events --from 127.0.0.2:7400
		corelog topic describe events
		corelog verify /var/lib/corelog/topics/events
	SH
    head_line "A later package takes its place"
    steps <<-'SH'
		corelog snapshot create before-upgrade
		apt-get install -qy "$SCRATCH/corelog_0.1.0-2.deb"
		curl -sf http://localhost:7399/readyz
		dpkg-query --show corelog
		corelog compare events --with 127.0.0.2:7400
		corelog snapshot delete before-upgrade --yes
		echo 'after the upgrade' | corelog produce events
		corelog offsets events
	SH
    systemctl stop corelog
    ends_replica
    echo "told: $count commands"
}

head_line() { printf '\n## %s\n\n' "$1"; }

# Types each line, as the user of the node.
steps() {
    local line
    while IFS= read -r line; do
        typed "$line"
        count=$((count + 1))
    done
}

# A real Prometheus has the node's figures.
scraped() {
    sed 's/_interval: 15s/_interval: 1s/; s/_timeout: 10s/_timeout: 1s/; s/"corelog:7399"/"localhost:7399"/' \
        "$HERE/prometheus/prometheus.yml" >/run/prometheus.yml
    cp "$HERE/prometheus/alerts.yml" /run
    prometheus --config.file=/run/prometheus.yml --web.listen-address=127.0.0.1:9090 \
        --storage.tsdb.path=/run/prometheus --log.level=warn &
    await "Prometheus to have figures" is_scraped
    typed "promtool query instant http://localhost:9090 'sum by (job) (corelog_appended_records_total)'"
    kill $! && wait $!
}

is_scraped() {
    promtool query instant http://localhost:9090 'sum(corelog_appended_records_total)' | grep -q '=>'
}

replica() {
    chown corelog:corelog /var/lib/replica
    setpriv --reuid=corelog --regid=corelog --clear-groups corelog serve --data-dir /var/lib/replica \
        --listen 127.0.0.2:7400 --admin 127.0.0.2:7399 >/run/replica.ready 2>/run/replica.log &
    REPLICA=$!
    await "the second server" grep -q ^ready /run/replica.ready
}

ends_replica() { kill "$REPLICA" && wait "$REPLICA"; }

# A full partition tries again, and may find what the other one gave back: those are full that stay so.
are_full() { none_takes && sleep 1 && none_takes; }

none_takes() {
    ! corelog bench produce --yes --topic events --total 8MiB --timeout 2s &&
        [ "$(corelog topic describe events | grep -c ' full ')" = 2 ]
}

can_produce() { corelog topic describe events && ! corelog topic describe events | grep -q full; }
