#!/usr/bin/env bash
# inside.sh: runs in the virtual machine of cgroup-v2.sh, as root, and says in its last line how many groups of tests failed.
set -uo pipefail
here=/run/tests
top='' only='' token=''
# shellcheck source=/dev/null
. "$here/settings"
export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
failed=0 groups=0

# group NAME COMMAND…: a test program has to run a test at all.
group() {
    local name=$1 log
    shift
    case $name in *"$only"*) ;; *) return ;; esac
    groups=$((groups + 1))
    log=$(mktemp)
    echo "== $name, $SECONDS s after the start"
    if "$@" 2>&1 | tee "$log" && grep -q '^test result: ok\. [1-9]' "$log"; then
        return
    fi
    echo "== $name: FAILED"
    failed=$((failed + 1))
}

mkdir -p "$top"
mount --bind "$here$top" "$top" || exit 1
mounted=$(grep -c ' - cgroup' /proc/self/mountinfo)
if [ "$mounted" != 1 ] || [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    echo "this kernel has other control groups too"
    exit 1
fi
uname -r
cat /sys/fs/cgroup/cgroup.controllers

# What cgroup-v2.sh has put there.
userland=/var/lib/systemd.tar

# As a user would: a scope of the service manager that is his own.
as_user() {
    runuser -u packhold-test -- env -C /home/packhold-test XDG_RUNTIME_DIR="/run/user/$(id -u packhold-test)" "$@"
}
scope() {
    install -m 755 "$here/engine_conformance.test" "$here/embedded_engine.test" "$top/target/debug/packhold" /home/packhold-test/
    as_user systemd-run --quiet --user --scope --property Delegate=yes -- env PACKHOLD_TEST_PROGRAM=/home/packhold-test/packhold \
        PACKHOLD_TEST_SYSTEMD="$userland" ./packhold unshare "./$1" --exact "$2" "${@:3}" --nocapture
}
# A process for each test, as the test runner has it: some change what the whole process is allowed to do. Two at once.
each() { "$1" --list --format terse | sed -n 's/: test$//p' | xargs -P 2 -I {} "$1" --exact {}; }
for _ in $(seq 600); do
    [ -S "/run/user/$(id -u packhold-test)/bus" ] && break
    sleep 0.1
done

group limits "$here/embedded_engine.test" --exact the_kernel_keeps_a_container_to_its_limits
group scope-limits scope embedded_engine.test the_kernel_keeps_a_container_to_its_limits
group scope-conformance scope engine_conformance.test inside_a_delegated_group_the_embedded_engine_conforms --ignored
group conformance "$here/engine_conformance.test" the_embedded_engine --test-threads 1
group delegated-conformance "$here/engine_conformance.test" delegated_group_conforms --ignored
PACKHOLD_TEST_SYSTEMD=$userland group systemd "$here/embedded_engine.test" systemd_starts_and_stops --ignored
group scope-systemd scope embedded_engine.test systemd_starts_and_stops_services_in_a_container --ignored
group lib "$here/packhold.test" engine::embedded::
group escapes each "$here/embedded_escapes.test"
group engine each "$here/embedded_engine.test"
group delegated-engine "$here/embedded_engine.test" delegated_group --ignored

echo "$token $failed of $groups groups of tests failed"
