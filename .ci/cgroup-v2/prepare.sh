#!/bin/sh
# prepare.sh ROOT: gives the root file system of the virtual machine of cgroup-v2.sh its users and the service that runs the tests.
set -eu
root=$1

# As .ci/setup.sh makes it.
chroot "$root" useradd --system --create-home packhold-test
chroot "$root" usermod --add-subuids 1000000-1065535 --add-subgids 1000000-1065535 packhold-test
# It has a service manager of its own, although it never logs in.
mkdir -p "$root/var/lib/systemd/linger"
touch "$root/var/lib/systemd/linger/packhold-test"

echo packhold-vm >"$root/etc/hostname"
printf '127.0.0.1 localhost packhold-vm\n' >"$root/etc/hosts"
printf 'nameserver 127.0.0.1\n' >"$root/etc/resolv.conf"
cat >"$root/etc/systemd/system/packhold-tests.service" <<'UNIT'
[Unit]
After=multi-user.target systemd-user-sessions.service
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c 'mkdir -p /run/tests && mount -o ro /dev/vdb /run/tests && exec bash /run/tests/inside.sh'
StandardInput=null
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0

[Install]
WantedBy=default.target
UNIT
chroot "$root" systemctl enable --quiet packhold-tests.service
chroot "$root" systemctl mask --quiet serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer
