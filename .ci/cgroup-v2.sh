#!/usr/bin/env bash
# cgroup-v2.sh: runs the embedded engine's tests in a virtual machine whose kernel has control groups of version 2 and no others, with
# systemd as its first process. What they print is shown; the exit status is 1 if one of them fails, or if the machine does not say
# in time how they ended.
#
# The machine is qemu's with KVM where this user may use it, else user-mode Linux, which needs nothing of the processor; where Debian's package of
# that is missing, it is emulated. Its disk is made of Debian's packages, once for each list of them, and is never written to. Needs
# root, a mirror that apt reaches, and what `.ci/setup.sh vm` installs.
#
#   ONLY       a part of the names of the groups of tests that run (default: all)
#   MACHINE    kvm, uml or emulated (default: the first of these that works here)
#   MINUTES    how long the machine may take (default: 20, with user-mode Linux 60, emulated 240)
#   MEMORY     of the machine, in MiB (default: 3072)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
top=$PWD
work=$top/target/cgroup-v2
say() { echo "cgroup-v2: $*"; }

# shellcheck source=.ci/cgroup-v2/machine.sh
. .ci/cgroup-v2/machine.sh
kind=${MACHINE-$(machine_kind)}

# What the machine boots and what the tests call.
packages=systemd-sysv,udev,dbus,dbus-user-session,libpam-systemd,kmod,busybox-static,uidmap
packages+=,ca-certificates,util-linux,gcc,libc6-dev,iproute2,e2fsprogs,git,procps$(machine_kernel "$kind")
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
[ "$(uname -m)" = x86_64 ] || { say "the machine is made for amd64 only" >&2; exit 1; }

# Programs of this machine have to run in that one, so it has the same release.
made=$(cat .ci/cgroup-v2/prepare.sh .ci/cgroup-v2/machine.sh - <<<"$suite $packages $(ls "$uml_modules" 2>/dev/null)" | sha256sum | cut -c1-16)
disk=$work/disk-$made.ext4
if [ ! -e "$disk" ]; then
    say "making the machine's disk of Debian $suite"
    rm -rf --one-file-system "$work"
    mkdir -p "$work"
    mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$work/root"
    .ci/cgroup-v2/prepare.sh "$work/root"
    machine_prepare "$kind" "$work/root" "$work"
    truncate --size 8G "$disk.new"
    mke2fs -q -t ext4 -d "$work/root" "$disk.new"
    rm -rf --one-file-system "$work/root"
    mv "$disk.new" "$disk"
fi

# The program and the tests, where they believe to be: their paths are in them.
say "building the tests"
tests=(engine_conformance embedded_engine embedded_escapes)
cargo test --locked --no-run --lib "${tests[@]/#/--test=}" --message-format json >"$work/built.json"
files=$work/files
rm -rf "$files"
mkdir -p "$files$top/target/debug"
cp .ci/cgroup-v2/inside.sh "$files/"
cp target/debug/packhold "$files$top/target/debug/"
for name in packhold "${tests[@]}"; do
    built=$(jq -r --arg name "$name" \
        'select(.executable and .profile.test and .target.name == $name) | .executable' "$work/built.json" | head -n 1)
    cp "$built" "$files/$name.test"
done
# Nine tenths of them are for debuggers.
strip --strip-debug "$files"/*.test "$files$top/target/debug/packhold"
token=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
printf 'top=%q\nonly=%q\ntoken=%q\n' "$top" "${ONLY-}" "$token" >"$files/settings"
truncate --size "$(($(du -sm "$files" | cut -f1) * 5 / 4 + 64))M" "$work/files.ext4.new"
mke2fs -q -F -t ext4 -L packhold-tests -d "$files" "$work/files.ext4.new"
mv "$work/files.ext4.new" "$work/files.ext4"
rm -rf "$files"

case $kind in
kvm) say "starting the machine with KVM" ;;
uml) say "there is no KVM for this user here: starting the machine as a program, with $uml" ;;
*) say "there is neither KVM nor $uml here: the machine is emulated, which takes hours" ;;
esac
status=0
machine_start "$kind" "${MINUTES-$(machine_minutes "$kind")}" "${MEMORY-3072}" "$work" "$disk" "$work/files.ext4" </dev/null |
    sed -u 's/\r$//' | tee "$work/console.log" || status=$?

ended=$(sed -n "s/^$token \([0-9][0-9]* of [0-9][0-9]*\) groups of tests failed\$/\1/p" "$work/console.log")
case $ended in
"")
    say "the machine did not say how the tests ended (status $status); its console is $work/console.log" >&2
    exit 1
    ;;
*" of 0") say "no group of tests has ${ONLY-} in its name" >&2; exit 2 ;;
"0 of "*) say "all tests passed on cgroup v2 alone ($kind, $((SECONDS / 60)) min $((SECONDS % 60)) s)" ;;
*) say "$ended groups of tests failed; the console is $work/console.log" >&2; exit 1 ;;
esac
