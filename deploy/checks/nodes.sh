# Live nodes in namespaces of their own, and the states that they can be brought into.

# Runs `inside_$1` in namespaces of its own; whatever it starts ends with it.
apart() {
    printf '127.0.0.1 localhost log1 corelog\n127.0.0.2 log2\n' >"$SCRATCH/hosts"
    rm -rf "${SCRATCH:?}"/{lib,mnt}
    mkdir -p "$SCRATCH/lib" "$SCRATCH/mnt"
    unshare --mount --net --pid --fork --kill-child --mount-proc "$0" "--inside-$1"
}

inside() {
    ip link set lo up
    mount --bind "$SCRATCH/hosts" /etc/hosts
    mount --bind "$SCRATCH/lib" /var/lib
    mount --bind "$SCRATCH/mnt" /mnt
    # What systemd would do, of what the runbook asks of it.
    cat >"$SCRATCH/bin/systemctl" <<'SH'
#!/bin/bash
pid=$(cat "$SCRATCH/log1.pid" 2>/dev/null)
case $1 in
start) "$DEPLOY_CHECK" --inside-start log1 ;;
stop) kill "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done ;;
status) kill -0 "$pid" ;;
esac
SH
    printf '#!/bin/sh\ncat "$SCRATCH/log1.log"\n' >"$SCRATCH/bin/journalctl"
    # The nodes here run as whoever runs this, and so does what is typed as their user.
    printf '#!/bin/sh\nshift 2 # -u corelog\nexec "$@"\n' >"$SCRATCH/bin/sudo"
    chmod +x "$SCRATCH"/bin/{systemctl,journalctl,sudo}
    export DEPLOY_CHECK=$0 CORELOG_SERVER=log1:7400
}

# Starts log1 or log2 and waits until it serves. A write beyond a limit of the size of files fails
# there, as on a broken disk, and does not kill.
inside_start() {
    local ip=127.0.0.${1#log} dir=/var/lib/corelog ready=$SCRATCH/$1.ready
    [ "$1" = log1 ] || dir=/var/lib/$1
    : >"$ready"
    setsid sh -c "trap '' XFSZ; exec \"\$@\"" sh corelog serve --cores 1 --data-dir "$dir" \
        --listen "$ip:7400" --admin "$ip:7399" --advertise "$1" --insecure \
        >"$ready" 2>>"$SCRATCH/$1.log" </dev/null &
    echo $! >"$SCRATCH/$1.pid"
    await "$1 to serve" grep -q ^ready "$ready"
}

# The thread of core 0 of a process: the first of its name, which those that it starts inherit.
core_of() { grep -lx core-0 /proc/"$1"/task/*/comm | cut -d/ -f5 | sort -n | head -1; }

# Holds a thread still until `kill "$HELD"`.
hold_still() {
    local line
    coproc HOLDER { exec /usr/bin/python3 "$HERE/checks/freeze.py" "$1"; }
    HELD=$HOLDER_PID
    read -r -t 20 line <&"${HOLDER[0]}"
    [ "$line" = held ]
}

ends() {
    local pid
    pid=$(cat "$SCRATCH/$1.pid" 2>/dev/null) || return 0
    kill "-$2" "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}

# log1 with a topic of some segments, log2 follows it.
state_healthy() {
    ends log1 KILL
    ends log2 KILL
    local dir
    for dir in /var/lib/corelog /var/lib/log2; do
        ! mountpoint -q $dir || umount $dir
    done
    rm -rf "${SCRATCH:?}"/{lib,mnt}/* "$SCRATCH"/log?.log # which are /var/lib and /mnt here
    [ -z "${LOG1_DISK:-}" ] || small_disk /var/lib/corelog "$LOG1_DISK"
    [ -z "${LOG2_DISK:-}" ] || small_disk /var/lib/log2 "$LOG2_DISK"
    inside_start log1
    inside_start log2
    corelog topic create events --segment-bytes "${SEGMENT_BYTES:-1MiB}"
    corelog bench produce --yes --topic events --total "${TOTAL:-5MiB}" --batch-bytes 64KiB
    corelog clone events --server log2:7400 --from log1:7400 --follow
    corelog compare events --with log2:7400
}

state_fenced() {
    state_healthy
    prlimit --pid "$(cat "$SCRATCH/log1.pid")" --fsize=100000:
    refused corelog bench produce --yes --topic events --total 2MiB
    await "the fence" is_in_state fenced
}

state_mended() { prlimit --pid "$(cat "$SCRATCH/log1.pid")" --fsize=unlimited:; }

state_readonly() {
    SEGMENT_BYTES=64MiB TOTAL=24MiB state_healthy
    ends log1 KILL
    bend "$(stores | tail -1)" 0
    rm /var/lib/corelog/topics/events/0/mark
    inside_start log1
    await "read-only" is_read_only
}

state_failed() {
    state_healthy
    ends log1 TERM
    bend /var/lib/corelog/topics/events/0/manifest 0
    inside_start log1
    await "failed" is_in_state failed
}

state_unreadable() {
    state_healthy
    ends log1 TERM
    bend /var/lib/corelog/topics/events/topic 0
    inside_start log1
    await "a topic that is not served" is_unreadable
}

state_full() {
    LOG1_DISK=400M state_healthy
    corelog snapshot create monday
    fill /var/lib/corelog 100
    # A little may become free behind it, by what is sealed meanwhile.
    await "full" fills
}

# Leaves so many MiB.
fill() { fallocate -l "$(($(df --output=avail -B1 "$1" | tail -1) - ($2 << 20)))" "$1/filler"; }

state_resumed() { await "room" is_in_state ok; }

# The owner dies with a record that nobody else has.
state_lost() {
    state_healthy
    ends log2 TERM
    echo alone | corelog produce events
    ends log1 KILL
    inside_start log2
}

# It comes back, and hears of its successor.
state_back() {
    inside_start log1
    await "the old owner to hear of its successor" is_told
}

state_rotten() {
    state_healthy
    ends log2 TERM
    bend "$(stores | sed -n 2p)" 300000
}

state_lent() { inside_start log2; }

is_in_state() { curl -sf localhost:7399/metrics | grep -q "^corelog_partition_state{.*state=\"$1\"} 1"; }
is_told() { corelog topic describe events --server log1:7400 | grep -q 'is fenced, its owner is'; }
fills() { ! corelog bench produce --yes --topic events --total 200MiB --timeout 5s && is_in_state full; }
is_unreadable() { curl -sf localhost:7399/metrics | grep -qx 'corelog_unreadable_topics 1'; }
is_read_only() { { corelog topic describe events --output json || true; } | grep -q '"read_only":true'; }
stores() { ls /var/lib/corelog/topics/events/0/*.log; }
bend() { printf 'bent bytes, 20 of them' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# A small ext4, or where there are no loop devices a small tmpfs.
small_disk() {
    mkdir -p "$1"
    truncate -s "$2" "$1.image"
    mkfs.ext4 -q -m 0 "$1.image"
    mount -o loop "$1.image" "$1" || mount -t tmpfs -o "size=$2" tmpfs "$1"
    rm -rf "$1/lost+found"
}
