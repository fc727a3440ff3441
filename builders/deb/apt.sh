#!/bin/sh
# What prepare.sh, deps.sh and verify.sh share. Sourced.
# Exit status 4: the mirror cannot be reached; nothing is said about the package.

export DEBIAN_FRONTEND=noninteractive
export APT_CONFIG=/packhold/apt.conf

scratch=$(mktemp -d)
policy=/usr/sbin/policy-rc.d
# Where systemd runs, services are what is to be seen.
[ -e "$policy" ] || [ -d /run/systemd/system ] || own_policy=yes
trap 'rm -rf "$scratch" ${own_policy:+"$policy"}' EXIT

# No service may start in a container. invoke-rc.d(8) asks policy-rc.d; 101 is "action forbidden".
# Without this, services start as soon as a dependency brings in /sbin/init.
if [ -n "${own_policy-}" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

mirror_unreachable() {
    echo "packhold: mirror-unreachable"
    exit 4
}

# Lists that were fetched in this run already are in /packhold/lists. A mirror in the middle of its own update gives mismatching
# lists, which Acquire::Retries does not cover.
apt_update() {
    if [ -d /packhold/lists ]; then
        cp -a /packhold/lists/. /var/lib/apt/lists/
        return
    fi
    for pause in 2 10 0; do
        apt-get update 2>&1 && return
        sleep "$pause"
    done
    mirror_unreachable
}

# apt_get ARGUMENT…: shows what it says and keeps it for apt_said.
apt_get() {
    rm -f "$scratch/failed"
    { apt-get "$@" 2>&1 || touch "$scratch/failed"; } | tee "$scratch/log"
    [ -e "$scratch/failed" ] || return 0
    if apt_said | grep -q '^E: Failed to fetch'; then mirror_unreachable; fi
    return 1
}

# What the last apt_get said, for those who explain a failure.
apt_said() {
    cat "$scratch/log"
}

# Leaves no lists, archives or logs: they only make an image larger and different each time.
# What the base image may have is emptied and not removed: that a file is gone is kept with the time at which it went.
apt_clean() {
    apt-get clean
    find /var/lib/apt/lists -mindepth 1 -maxdepth 1 ! -name lock ! -name partial -exec rm -rf {} +
    # Lists of another container came with its times.
    find /var/lib/apt/lists -exec touch {} +
    for leftover in /var/log/apt/* /var/log/dpkg.log /var/log/alternatives.log /var/cache/debconf/*-old \
        /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old; do
        [ ! -f "$leftover" ] || : >"$leftover"
    done
}
