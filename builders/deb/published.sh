#!/bin/sh -eu
# published.sh COMMAND ARGUMENT…: see builders/README.md

# shellcheck source=/dev/null
. /packhold/apt.sh

# ask ARGUMENT…: apt-get. Only what the distro's own mirror does not give is the mirror's fault.
ask() {
    rm -f "${scratch:?}/failed"
    { apt-get "$@" 2>&1 || touch "${scratch:?}/failed"; } | tee "${scratch:?}/log"
    [ -e "${scratch:?}/failed" ] || return 0
    ours=$(sed -n 's/^URIs: *//p' /packhold/published/repository | head -n 1)
    ! apt_said | grep '^E: Failed to fetch' | grep -qvF "$ours" || mirror_unreachable
    exit 1
}

command=$1
shift
case $command in
subscribe)
    apt_update
    mkdir -p /etc/apt/keyrings
    cp /packhold/published/keys.asc /etc/apt/keyrings/packhold-published.asc
    cp /packhold/published/repository /etc/apt/sources.list.d/packhold-published.sources
    chmod 644 /etc/apt/keyrings/packhold-published.asc /etc/apt/sources.list.d/packhold-published.sources
    ask update -o Dir::Etc::sourcelist=sources.list.d/packhold-published.sources -o Dir::Etc::sourceparts=- \
        -o APT::Get::List-Cleanup=0
    ;;
install)
    ask install "$@"
    ;;
upgrade)
    for wanted; do
        shift
        set -- "$@" "${wanted%%=*}"
    done
    ask install --only-upgrade "$@"
    ;;
*)
    echo "published.sh: no such command: $command" >&2
    exit 2
    ;;
esac
