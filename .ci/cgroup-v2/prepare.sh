#!/bin/sh
# prepare.sh ROOT: gives the root file system of the virtual machine of cgroup-v2.sh its users, the service that
# runs the tests, and a userland for the test of systemd in a container.
set -eu
root=$1

# What the test of systemd in a container starts: this userland, before it is the machine's, without what only the tests call.
tar --sort=name -C "$root" --exclude ./boot --exclude ./usr/lib/modules --exclude ./usr/lib/gcc --exclude ./usr/lib/git-core \
    --exclude './usr/bin/x86_64-linux-gnu-*' --exclude ./usr/include --exclude '*.a' --exclude './usr/lib/udev/hwdb*' \
    --exclude ./usr/share/doc --exclude ./usr/share/locale --exclude ./usr/share/man --exclude ./usr/share/perl \
    --exclude './var/lib/apt/*' --exclude './var/cache/*' -cf "$root.tar" .
mv "$root.tar" "$root/var/lib/systemd.tar"

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
ExecStart=/bin/sh -c 'mkdir -p /run/tests && mount -o ro LABEL=packhold-tests /run/tests && exec bash /run/tests/inside.sh'
StandardInput=null
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console

[Install]
WantedBy=default.target
UNIT
chroot "$root" systemctl enable --quiet packhold-tests.service
chroot "$root" systemctl mask --quiet serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer
