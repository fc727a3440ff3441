#!/usr/bin/env bash
# Sets up what Packhold needs on a Debian-like machine: packages. A container engine it has itself; the tests set up Docker's,
# too, if none answers.
# Says what it installs before it does so. Safe to run again.
#
#   .ci/setup.sh          what a run needs
#   .ci/setup.sh test     and what the tests need
#   .ci/setup.sh release  and what makes the key of the demo of a release
#   .ci/setup.sh vm       and what the tests in a virtual machine need
#   .ci/setup.sh bench    and what the benchmarks compare with
#   .ci/setup.sh publish  and what the benchmark of publishing compares with
set -euo pipefail

retry() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return
        echo "setup: attempt $attempt failed: $*" >&2
        sleep $((attempt * 5))
    done
    return 1
}

# Installs those packages that are not there yet.
install_packages() {
    local missing=() package
    for package; do
        [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "setup: installing from the distro's packages: ${missing[*]}"
    [ "$(id -u)" = 0 ] || { echo "setup: installing needs root; install them yourself, then run this again" >&2; exit 1; }
    retry apt-get update -q
    # No daemon of a package starts by itself where no service manager runs; the engine is started below.
    DEBIAN_FRONTEND=noninteractive retry apt-get install -q -y --no-install-recommends \
        -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "${missing[@]}"
}

# Lets the kernel start programs for arm64 with an emulator, in containers too (flag F of binfmt_misc). Where a service manager runs,
# binfmt-support has done it.
register_emulators() {
    local folder=/proc/sys/fs/binfmt_misc
    grep -qs '^flags:.*F' "$folder/qemu-aarch64" && return
    echo "setup: registering the emulators of qemu-user-static with binfmt_misc"
    if { [ -e "$folder/status" ] || mount -t binfmt_misc binfmt_misc "$folder"; } && update-binfmts --enable &&
        grep -qs '^flags:.*F' "$folder/qemu-aarch64"; then
        return
    fi
    echo "setup: programs for arm64 cannot be run here; the test of other architectures will fail" >&2
}

docker_answers() {
    curl -fs --max-time 5 --unix-socket /var/run/docker.sock http://localhost/_ping >/dev/null 2>&1
}

# The user as whom tests run the engine without root, with as many subordinate ids as images need.
ordinary_user() {
    local user=packhold-test
    id "$user" >/dev/null 2>&1 || {
        echo "setup: adding the user $user"
        useradd --system --create-home "$user"
    }
    grep -q "^$user:" /etc/subuid || usermod --add-subuids 1000000-1065535 "$user"
    grep -q "^$user:" /etc/subgid || usermod --add-subgids 1000000-1065535 "$user"
}

start_docker() {
    docker_answers && return
    echo "setup: no container engine answers; starting Docker"
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        # A pid file of a daemon that was killed would keep the new one from starting.
        rm -f /var/run/docker.pid
        setsid --fork dockerd >/var/log/dockerd.log 2>&1 </dev/null
    fi
    for _ in $(seq 60); do
        docker_answers && return
        sleep 1
    done
    echo "setup: Docker does not start; the end of its log:" >&2
    tail -n 20 /var/log/dockerd.log >&2 || true
    exit 1
}

command -v apt-get >/dev/null || {
    echo "setup: this machine has no apt-get; install mmdebstrap by hand" >&2
    exit 1
}
command -v cargo >/dev/null || {
    echo "setup: cargo is missing; install Rust first" >&2
    exit 1
}

install_packages ca-certificates curl gcc git libc6-dev make mmdebstrap util-linux
# The subordinate ids of who is not root.
[ "$(id -u)" = 0 ] || install_packages uidmap
if [ "${1-}" = test ]; then
    # Tools that are installed below: without what a debugger needs they are built sooner, and in a third of the room.
    export CARGO_PROFILE_DEV_DEBUG=false
    # The tests bring engines of their own up and down, compare version orders with the real tools, let those tools check what is
    # signed and published, import real source packages, and look at reports with a schema and in a browser.
    install_packages apt-utils aptly arch-test binfmt-support busybox-static chromium createrepo-c dnf docker.io docker-registry dpkg-dev faketime g++ gnupg gpgv iptables jq libxml2-utils openssl python3-venv qemu-user-static reprepro rpm rsync shellcheck skopeo tar tmux uidmap umoci zstd
    register_emulators
    ordinary_user
    cargo nextest --version >/dev/null 2>&1 || {
        echo "setup: installing cargo-nextest with cargo"
        retry cargo install --locked cargo-nextest
    }
    # Receipts, bills of materials and SARIF are checked with the libraries of those who define their forms.
    validators=$(cd "$(dirname "$0")/.." && pwd)/target/validators
    [ -e "$validators/complete" ] || {
        echo "setup: installing in-toto-attestation, securesystemslib and cyclonedx-python-lib with pip"
        rm -rf "$validators"
        /usr/bin/python3 -m venv "$validators"
        retry "$validators/bin/pip" install --quiet in-toto-attestation==0.9.3 'securesystemslib[crypto]==1.6.0' \
            'cyclonedx-python-lib[json-validation]==11.12.0'
        touch "$validators/complete"
    }
    command -v s3s-fs >/dev/null || {
        echo "setup: installing s3s-fs, an S3 server for the tests, with cargo"
        retry cargo install --locked --debug s3s-fs --version 0.14.1 --features binary
    }
    cargo fuzz --version >/dev/null 2>&1 || {
        echo "setup: installing cargo-fuzz with cargo"
        retry cargo install --locked --debug cargo-fuzz
    }
    # A debug build is quick enough to look through one lock file, and minutes faster to make.
    cargo deny --version >/dev/null 2>&1 || {
        echo "setup: installing cargo-deny with cargo"
        retry cargo install --locked --debug cargo-deny
    }
fi
if [ "${1-}" = bench ]; then
    [ -n "${DOCKER_HOST-}" ] || docker_answers || install_packages docker.io iptables
    install_packages busybox-static crun dpkg-dev jq piuparts podman restic rpm runc skopeo time uidmap zstd
    ordinary_user
fi
if [ "${1-}" = release ]; then
    install_packages gnupg
    exit
fi
if [ "${1-}" = publish ]; then
    install_packages apt-utils aptly createrepo-c gnupg reprepro
    exit
fi
if [ "${1-}" = vm ]; then
    install_packages e2fsprogs jq qemu-system-x86 user-mode-linux
    exit
fi
[ -z "${1-}" ] || [ -n "${DOCKER_HOST-}" ] || start_docker
