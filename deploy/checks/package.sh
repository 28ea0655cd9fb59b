# The Debian package: built, looked at, installed, started, upgraded, removed and purged.

check_package() {
    packages
    dpkg-deb --info "$SCRATCH/corelog_0.1.0-1.deb"
    dpkg-deb --contents "$SCRATCH/corelog_0.1.0-1.deb"
    # As nobody, for it reads what is not trusted; it wants a directory of its own.
    install -d -o 65534 "$SCRATCH/lintian"
    TMPDIR=$SCRATCH/lintian setpriv --reuid=65534 --regid=65534 --clear-groups \
        lintian --fail-on error --suppress-tags "$TOLERATED" "$SCRATCH/corelog_0.1.0-1.deb"
    unit_profile
    apart package
}

# One to begin with, and a later one.
packages() {
    local version
    command -v cargo-deb >/dev/null || cargo install --locked --debug cargo-deb
    for version in 0.1.0-1 0.1.0-2; do
        "$HERE/package" "$CORELOG" --fast --deb-version "$version" --output "$SCRATCH/corelog_$version.deb"
    done
}

# A changelog of Debian's format is for its own packages; the one question is asked at the purge.
TOLERATED=no-changelog,no-debconf-config

inside_package() { on_a_machine installed; }

# Runs `inside_$1` on a machine like this one, whose changes go with it: without systemd, but with a
# `systemctl` that does of the unit what can be done without (service.py).
on_a_machine() {
    local root=$SCRATCH/root dir
    ip link set lo up
    mkdir -p "$root" "$SCRATCH/over"
    mount -t tmpfs tmpfs "$SCRATCH/over"
    mkdir "$SCRATCH"/over/{up,in}
    mount -t overlay -o "lowerdir=/,upperdir=$SCRATCH/over/up,workdir=$SCRATCH/over/in" overlay "$root" ||
        die "no overlay can be mounted here, and the package is not to be installed on this machine itself"
    # A node needs a real file system below it.
    cp -a /var/lib/dpkg /var/lib/systemd "$SCRATCH/lib"
    mount --rbind "$SCRATCH/lib" "$root/var/lib"
    for dir in /dev /sys "$SCRATCH" "$HERE"; do
        mkdir -p "$root$dir"
        mount --rbind "$dir" "$root$dir"
    done
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/run"
    mkdir -p "$root/run/systemd/system" "$root/run/checks"
    # Where the unit hides nothing.
    cp "$HERE"/checks/*.py "$SCRATCH/unit.json" "$root/run/checks"
    rm -f "$root/usr/sbin/policy-rc.d"
    mv "$root/bin/systemctl" "$root/bin/systemctl.real"
    cat >"$root/bin/systemctl" <<'SH'
#!/bin/sh
# Options are for a real one.
while [ "${1#-}" != "$1" ]; do shift; done
case $1 in
is-enabled | preset) exec systemctl.real --root=/ "$1" corelog.service ;;
daemon-reload) ;;
*) exec /usr/bin/python3 /run/checks/service.py "$1" ;;
esac
SH
    chmod +x "$root/bin/systemctl"
    # A machine that is administered by root may have none.
    [ -x "$root/usr/bin/sudo" ] || install -m 755 /dev/stdin "$root/usr/bin/sudo" <<'SH'
#!/bin/sh
shift 2 # -u corelog
exec setpriv --reuid=corelog --regid=corelog --init-groups "$@"
SH
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SCRATCH="$SCRATCH" DEBIAN_FRONTEND=noninteractive \
        SERVICE_PROFILE=/run/checks/unit.json \
        chroot "$root" "$HERE/check" "--inside-$1" || { cat "$root/run/corelog-service/log" && return 1; }
}

inside_installed() {
    local first later
    dpkg --install "$SCRATCH/corelog_0.1.0-1.deb"
    serves
    systemctl is-enabled corelog.service
    is_confined "$(service .pid)"
    /usr/bin/corelog topic create events
    echo kept | /usr/bin/corelog produce events
    [ -z "$(dpkg --verify corelog)" ]
    is_watched
    reloads

    # The new one takes the place of the old, which ends in order; what an operator changed stays.
    first=$(service .pid)
    dpkg --install "$SCRATCH/corelog_0.1.0-2.deb"
    serves
    later=$(service .pid)
    [ "$first" != "$later" ]
    refused kill -0 "$first"
    grep -qx 'scrub-rate = "1MiB"' /etc/corelog/corelog.toml
    is_kept

    # The same by hand, with a look at the logs between.
    systemctl stop corelog
    [ "$(service .code)" = 0 ]
    dpkg --unpack "$SCRATCH/corelog_0.1.0-1.deb"
    refused systemctl is-active corelog
    /usr/bin/corelog verify /var/lib/corelog
    dpkg --configure corelog
    serves
    is_kept
    later=$(service .pid)

    # Removed: the node ends, its logs stay. Back again: it serves them.
    dpkg --remove corelog
    [ "$(service .code)" = 0 ]
    refused kill -0 "$later"
    [ ! -e /usr/bin/corelog ]
    [ -e /etc/corelog/corelog.toml ]
    [ -e /var/lib/corelog/node ]
    dpkg --install "$SCRATCH/corelog_0.1.0-2.deb"
    serves
    is_kept

    # Purged: what was configured goes. Logs go only for who says so.
    dpkg --purge corelog
    [ ! -e /etc/corelog/corelog.toml ]
    [ -e /var/lib/corelog/node ]
    dpkg --install "$SCRATCH/corelog_0.1.0-2.deb"
    serves
    is_kept
    echo corelog corelog/purge-data boolean true | debconf-set-selections
    dpkg --purge corelog
    [ ! -e /var/lib/corelog ]
    id corelog
}

# A field of what the service told last.
service() { jq -r "$1" /run/corelog-service/state; }

serves() {
    [ "$(service .active)" = active ]
    curl -sf localhost:7399/readyz
    service .status | grep '^serves at 127.0.0.1:7400'
    [ "$(stat -c %U:%G:%a /var/lib/corelog)" = corelog:corelog:750 ]
    await "the watchdog to be fed" is_fed
}

is_fed() { (($(service .fed) > 0)); }
is_kept() { [ "$(/usr/bin/corelog consume events)" = kept ]; }

reloads() {
    local pid
    pid=$(service .pid)
    echo 'scrub-rate = "1MiB"' >>/etc/corelog/corelog.toml
    systemctl reload corelog
    [ "$(service .reloads)" = 1 ]
    echo 'scrub_rate = 1' >>/etc/corelog/corelog.toml
    systemctl reload corelog
    service .status | grep 'the configuration is wrong'
    sed -i '/scrub_rate/d' /etc/corelog/corelog.toml
    [ "$(service .pid)" = "$pid" ]
}

# The process is what the unit makes of it.
is_confined() {
    local pid=$1 uid
    uid=$(id -u corelog)
    has_line "/proc/$pid/status" "Uid:	$uid	$uid	$uid	$uid"
    has_line "/proc/$pid/status" "CapEff:	0000000000000000"
    has_line "/proc/$pid/status" "CapBnd:	0000000000000000"
    has_line "/proc/$pid/status" "NoNewPrivs:	1"
    has_line "/proc/$pid/status" "Seccomp:	2"
    has_line "/proc/$pid/status" "Umask:	0027"
    if [ "$(service '.withheld | length')" = 0 ]; then
        has_line "/proc/$pid/oom_score_adj" -500
        grep -E '^Max locked memory +unlimited +unlimited' "/proc/$pid/limits"
        grep -E '^Max open files +1048576 +1048576' "/proc/$pid/limits"
    else
        echo "told: this machine withholds $(service '.withheld | join(" ")')"
    fi
    # It sees a file system of its own, in which little can be written.
    local place
    for place in /etc/corelog /usr /run /var/log /home /dev; do
        refused touch "/proc/$pid/root$place/written"
    done
    touch "/proc/$pid/root/var/lib/corelog/written" "/proc/$pid/root/tmp/written"
    rm /var/lib/corelog/written
    [ ! -e /tmp/written ]
}

# A core that stands still starves the watchdog, which ends the node; what was acknowledged is there again.
is_watched() {
    local pid thread
    pid=$(service .pid)
    thread=$(core_of "$pid")
    hold_still "$thread"
    await "the watchdog" is_failed
    [ "$(service .code)" = -6 ] # SIGABRT
    systemctl start corelog
    serves
    is_kept
}

is_failed() { [ "$(service .active)" = failed ]; }

has_line() { grep -Fx -e "$2" "$1"; }
