# What the unit and the container's profile allow, on a live node.

# The unit's profile on a node under load, and without io_uring.
check_sandbox() {
    unit_profile
    under_profile "$SCRATCH/unit.json"
    echo "told: $(wc -l <"$SCRATCH/calls") system calls"
}

check_seccomp() { under_profile "$HERE/docker/seccomp.json"; }

# What systemd would make of the unit's SystemCallFilter and Restrict… lines.
unit_profile() {
    unit_calls >"$SCRATCH/calls"
    /usr/bin/python3 "$HERE/checks/profile.py" "$HERE/systemd/corelog.service" "$SCRATCH/calls" \
        >"$SCRATCH/unit.json"
}

# The allowed system calls of the unit: its SystemCallFilter lines in their order.
unit_calls() {
    local word call take filter
    local -A allowed=()
    while read -r filter; do
        take=1
        [ "${filter#\~}" = "$filter" ] || take=
        for word in ${filter#\~}; do
            for call in $(calls_of "$word"); do
                if [ -n "$take" ]; then allowed[$call]=1; else unset "allowed[$call]"; fi
            done
        done
    done < <(sed -n 's/^SystemCallFilter=//p' "$HERE/systemd/corelog.service")
    # What systemd allows in any case.
    for word in $(calls_of @default); do allowed[$word]=1; done
    printf '%s\n' "${!allowed[@]}" | sort
}

calls_of() {
    local word
    case $1 in
    @*) for word in $(systemd-analyze syscall-filter "$1" | sed '1d; /#/d'); do calls_of "$word"; done ;;
    *) echo "$1" ;;
    esac
}

# A node that serves, is asked by the health check and takes a load: under a seccomp profile, as
# nobody, without capabilities, with 8 MiB of locked memory, with nothing to write to but its state.
under_profile() {
    local profile=$1 bare=$SCRATCH/bare.json state=$SCRATCH/state line pid admin
    export STATE=$state
    rm -rf "$state"
    install -d -o 65534 -g 65534 "$state"
    jq '.syscalls |= map(.names -= ["io_uring_setup", "io_uring_enter", "io_uring_register"])' \
        "$profile" >"$bare"
    confined "$profile" corelog doctor --data-dir "$state" --output json |
        jq -se 'any(.name == "io_uring" and .verdict == "good")'
    { (confined "$bare" corelog doctor --data-dir "$state" --output json) || true; } |
        jq -se 'any(.name == "io_uring" and .verdict == "bad")'
    coproc NODE { confined "$profile" corelog serve --data-dir "$state/data" --cores 2 --listen 127.0.0.1:0 --admin 127.0.0.1:0; }
    pid=$NODE_PID
    read -r -t 20 line <&"${NODE[0]}"
    [[ $line =~ listen=([^ ]*).*admin=([^ ]*) ]]
    admin=${BASH_REMATCH[2]}
    corelog bench produce --server "${BASH_REMATCH[1]}" --total 16MiB
    (CORELOG_NODE_ADMIN=$admin confined "$profile" "$HERE/docker/healthcheck")
    kill "$pid"
    wait "$pid"
    CORELOG_NODE_ADMIN=$admin refused "$HERE/docker/healthcheck"
}

# Runs a command so, in the place of this shell.
confined() {
    exec unshare --mount sh -c '
        mount --bind "$STATE" "$STATE" && mount -o remount,bind,ro / &&
        exec prlimit --memlock=8388608 setpriv --reuid=65534 --regid=65534 --clear-groups \
            --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
    ' sh /usr/bin/python3 "$HERE/checks/confined.py" "$@"
}
