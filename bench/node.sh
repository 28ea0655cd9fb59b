# A server as a harness starts and stops it, and the harness's own end; sourced by those that are written in bash.
#
# SCRATCH is the folder that it serves from, and goes with the harness; NOTES, where it is set, is where the server's
# log goes instead. CORELOG names another build of the binary.

CORELOG=${CORELOG:-}
NAMED=$CORELOG
PID=
# The process group of what measures, while it does.
GROUP=
# In seconds: a server that takes longer hangs. It has one more, as SECONDS tells whole seconds, and the one that begins may be
# over at once.
START_MAX=60
STOP_MAX=60

# Builds the binary, if no other is named.
build() {
    [ -z "$CORELOG" ] || return 0
    cargo build --release --locked
    CORELOG=$(built corelog)
}

# What another run left is not written over: a second one of a day wants an OUT of its own.
is_new() { [ ! -f "$1" ] || die "$1 is of another run: move it away, or name another with OUT"; }

# Where a release build of this workspace leaves a program.
built() { echo "${CARGO_TARGET_DIR:-target}/release/$1"; }

# Which build it is: its version alone does not say of which commit, and one that was named is of any.
identity() { echo "${NAMED:+another build, }$("$CORELOG" --version), SHA-256 $(sha256sum "$CORELOG" | cut -c -12)…"; }

# Runs what measures, shown and added to a file, in a process group of its own: who ends this ends all of it. What is run is
# part of a pipeline there, so in a process of its own: a server is its child, and its to end.
keep() {
    trap 'exit 130' INT
    trap 'exit 143' TERM
    set -m
    { "${@:2}" | tee -a "$1"; } &
    GROUP=$!
    set +m
    local status=0
    wait "$GROUP" || status=$?
    if ((status != 0)); then
        # Who finds it later is not to take it for all that there was to say.
        printf '\n**This run failed** with %s: what is not here was not measured.\n' "$status" >>"$1"
        return "$status"
    fi
    GROUP=
}

# Ends what still measures; then its folder goes.
tidy() {
    if [ -n "$GROUP" ]; then
        kill -KILL -- "-$GROUP" 2>/dev/null || true
        wait "$GROUP" 2>/dev/null || true
    fi
    # What was killed may have been writing.
    rm -rf "$SCRATCH" || { sleep 1 && rm -rf "$SCRATCH"; }
}

# Starts a server with these options and waits until it is ready: then PID is its process, CORELOG_SERVER where clients
# reach it, ADMIN where its metrics are.
serve() {
    local notes=${NOTES:-$SCRATCH}
    : >"$notes/ready"
    "$CORELOG" serve --data-dir "$SCRATCH/data" --listen 127.0.0.1:0 --admin 127.0.0.1:0 "$@" \
        >"$notes/ready" 2>>"$notes/log" &
    PID=$!
    becomes_ready "$PID" "$notes/ready" || die "the server did not start: $(tail -1 "$notes/log")"
    CORELOG_SERVER=$(sed 's/.*listen=\([^ ]*\).*/\1/' "$notes/ready")
    ADMIN=$(sed 's/.*admin=\([^ ]*\).*/\1/' "$notes/ready")
    export CORELOG_SERVER
}

stop() {
    ends_cleanly "$PID" || die "the server did not stop cleanly: $(tail -1 "${NOTES:-$SCRATCH}/log")"
    PID=
}

# Waits until a server says in a file that it is ready; fails if it ends, or hangs.
becomes_ready() {
    local until=$((SECONDS + START_MAX + 1))
    until grep -q '^ready' "$2"; do
        kill -0 "$1" 2>/dev/null && ((SECONDS < until)) || return
        sleep 0.002
    done
}

# Ends a server and waits for it; fails if it did not end cleanly, or hung and was killed.
ends_cleanly() {
    local until=$((SECONDS + STOP_MAX + 1))
    kill "$1"
    while kill -0 "$1" 2>/dev/null; do
        ((SECONDS < until)) || kill -KILL "$1"
        sleep 0.01
    done
    wait "$1"
}

# Ends the server, and whatever else still runs beside it.
end() {
    local jobs
    jobs=$(jobs -p)
    [ -z "$jobs" ] || kill -KILL $jobs 2>/dev/null || true
    wait 2>/dev/null || true
}

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}
