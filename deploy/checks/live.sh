# Nodes as Prometheus sees them.

check_live() { apart live; }

# Two nodes and a load, watched by a real Prometheus with the files of this directory: the metrics are
# well formed, each query has an answer, nothing is wrong; then one thing after the other is, and its
# alert fires. Only times are shorter: what has to last minutes lasts a second, a lag is one after three.
inside_live() {
    inside
    state_healthy
    watched
    local turn
    for turn in 1 2 3 4 5 6 7 8; do
        corelog bench produce --yes --topic events --total 8MiB
        refused corelog topic create events
        corelog consume events --from -100 >"$SCRATCH/consumed"
        sleep 1
    done
    # Its age has a series once there was one.
    corelog scrub events --wait
    await "the age of the scrub" has_data corelog_partition_scrub_age_seconds
    well_formed log1
    well_formed log2
    curl -sf localhost:9090/api/v1/rules | jq -e '[.data.groups[].rules[].health] | all(. == "ok")'
    /usr/bin/python3 "$HERE/checks/queries.py" "$HERE/grafana/corelog.json" "$HERE/prometheus/alerts.yml"
    # But for what the machine itself may be slow at.
    refused grep -vx -e CorelogSyncSlow -e CorelogCoreStalled -e '' <<<"$(firing)"

    state_stalled
    await "the stall to be counted" has_data 'corelog_stuck_total{instance="log1:7399"}>0'
    alerts_with CorelogCoreStalled
    state_fenced
    alerts_with CorelogPartitionFenced
    # The follower has no room: it falls behind.
    LOG2_DISK=400M state_healthy
    fill /var/lib/log2 20
    behind
    alerts_with CorelogDiskLow
    alerts_with CorelogPartitionFull
    alerts_with CorelogFollowerLag
    state_rotten
    corelog scrub events
    alerts_with CorelogPartitionDamaged
    alerts_with CorelogDown
    echo "told: of $(alerts | wc -l) alerts $(fired | wc -l) fired: $(fired | xargs)"
}

watched() {
    local dir=$SCRATCH/prometheus
    mkdir "$dir"
    sed -E 's/for: [0-9]+(s|m)$/for: 1s/; /_lag_seconds/s/> 60/> 3/' "$HERE/prometheus/alerts.yml" >"$dir/alerts.yml"
    sed 's/_interval: 15s/_interval: 1s/; s/_timeout: 10s/_timeout: 1s/; s/"corelog:7399"/"log1:7399", "log2:7399"/' \
        "$HERE/prometheus/prometheus.yml" >"$dir/prometheus.yml"
    prometheus --config.file="$dir/prometheus.yml" --web.listen-address=127.0.0.1:9090 \
        --storage.tsdb.path="$dir/data" --log.level=warn &
    await "Prometheus" curl -sf localhost:9090/-/ready
}

# Both formats: promtool reads the one, the parser of the format's authors the other.
well_formed() {
    curl -sf "$1:7399/metrics" | tee "$SCRATCH/$1.metrics" | promtool check metrics
    curl -sf -H 'Accept: application/openmetrics-text' "$1:7399/metrics" >"$SCRATCH/$1.openmetrics"
    python - "$SCRATCH/$1.openmetrics" <<'PY'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(open(sys.argv[1]).read()))
assert len(families) > 50, families
PY
}

# A core of log1 stands still while it has something to do: batches of a load that never are all answered.
state_stalled() {
    local load
    corelog topic create still
    corelog bench produce --yes --topic still --total 4GiB --batch-bytes 16KiB --window 8 --ack durable >"$SCRATCH/load" 2>&1 &
    load=$!
    await "a load" has_data 'corelog_partition_durable{topic="still"}>0'
    hold_still "$(core_of "$(cat "$SCRATCH/log1.pid")")"
    # Two looks of the watchdog, which come every second, or a little later.
    sleep 3
    kill "$HELD" "$load"
    wait "$load" || true
}

# Records that the follower cannot take.
behind() { corelog bench produce --yes --topic events --total 64MiB --batch-bytes 64KiB; }

alerts_with() { await "$1" is_firing "$1"; }
has_data() { curl -sfG localhost:9090/api/v1/query --data-urlencode "query=$1" | jq -e '.data.result | length > 0'; }
firing() { curl -sf localhost:9090/api/v1/alerts | jq -r '.data.alerts[] | select(.state == "firing").labels.alertname'; }
is_firing() { firing | grep -qx "$1"; }
fired() {
    curl -sfG localhost:9090/api/v1/query --data-urlencode 'query=count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[30m]))' |
        jq -r '.data.result[].metric.alertname'
}
