#!/bin/sh
# vary.sh COMMAND: builds under other conditions than the usual ones (builders/README.md).
set -eu

kit=/packhold-kit
other_locale=et_EE.UTF-8

not_varied() {
    printf '%s\t%s\n' "$1" "$2" >>"$kit/not-varied"
}

# What a family's kit.sh installed becomes a folder that can be put into any container of the same distro, so that the
# builds themselves run in the very image of the first one.
make_kit() {
    mkdir -p "$kit/locale"
    : >"$kit/not-varied"

    if cc -O2 -shared -fPIC -o "$kit/order.so" /packhold/order.c -ldl -lpthread; then
        # `ls -U` lists as the file system does.
        [ "$(LD_PRELOAD="$kit/order.so" ls -U -a /)" != "$(ls -U -a /)" ] ||
            not_varied file-order 'a preloaded library does not change the order in which folders are listed'
    else
        not_varied file-order 'there is no C compiler to make the library with that changes it'
    fi

    found=$(find /usr/lib /usr/lib64 -name libfaketime.so.1 2>/dev/null | head -n 1)
    if [ -z "$found" ]; then
        not_varied time 'the distro has no libfaketime'
    elif ! cc -O2 -shared -fPIC -o "$kit/filetimes.so" /packhold/filetimes.c; then
        not_varied time 'there is no C compiler to make the library with that keeps the times of files'
    else
        cp -L "$found" "$kit/libfaketime.so.1"
        [ "$(PACKHOLD_VARY_CLOCK=1500000000 /bin/sh -eu /packhold/vary.sh run date +%s)" = 1500000000 ] ||
            not_varied time 'libfaketime does not change the clock'
    fi

    localedef -i et_EE -f UTF-8 "$kit/locale/$other_locale" || true
    [ "$(LOCPATH=$kit/locale LC_ALL=$other_locale locale decimal_point 2>/dev/null)" = , ] ||
        not_varied locale "the locale $other_locale cannot be made"
}

# The other user of a container, who is no one's before.
add_user() {
    printf 'second:x:%s:%s::%s:/bin/sh\n' "$1" "$1" "$2" >>/etc/passwd
    printf 'seconds:x:%s:\n' "$1" >>/etc/group
}

# Runs a command under the conditions that PACKHOLD_VARY_… ask for; it does not see them.
run() {
    umask "${PACKHOLD_UMASK:-022}"
    preload=
    if [ -n "${PACKHOLD_VARY_ORDER-}" ]; then
        preload="$kit/order.so"
    fi
    if [ -n "${PACKHOLD_VARY_CLOCK-}" ]; then
        preload="$preload${preload:+ }$kit/filetimes.so $kit/libfaketime.so.1"
        case $PACKHOLD_VARY_CLOCK in
        +*) ;;
        # A clock that stands still, in seconds since 1970.
        *) export FAKETIME_FMT=%s ;;
        esac
        # The times of files stay as they are, and so do clocks that only measure.
        export FAKETIME="$PACKHOLD_VARY_CLOCK" NO_FAKE_STAT=1 FAKE_UTIME=0 DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1
    fi
    if [ -n "${PACKHOLD_VARY_LOCALE-}" ]; then
        export LOCPATH="$kit/locale" LC_ALL="$other_locale" LANG="$other_locale" LANGUAGE=et_EE:et
    fi
    if [ -n "${PACKHOLD_VARY_CORE-}" ] && command -v taskset >/dev/null; then
        # The first that it may use at all (proc(5), Cpus_allowed_list).
        core=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*\([0-9]*\).*/\1/p' /proc/self/status)
        set -- taskset --cpu-list "$core" "$@"
    fi
    unset PACKHOLD_VARY_ORDER PACKHOLD_VARY_CLOCK PACKHOLD_VARY_LOCALE PACKHOLD_VARY_CORE
    [ -z "$preload" ] || export LD_PRELOAD="$preload"
    exec "$@"
}

command=$1
shift
case $command in
kit) make_kit ;;
user) add_user "$@" ;;
run) run "$@" ;;
*)
    echo "vary.sh: unknown command $command" >&2
    exit 2
    ;;
esac
