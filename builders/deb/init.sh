#!/bin/sh
# base image → image whose first process can be /sbin/init
set -eu
# shellcheck source=/dev/null
. /packhold/apt.sh

apt_update
# dbus and procps: what units, packages and administrators expect beside systemd (/bin/kill, for one).
apt_get install systemd-sysv dbus procps
# Images from registries forbid all services to start.
[ -n "${own_policy-}" ] || dpkg-query --search /usr/sbin/policy-rc.d >/dev/null 2>&1 ||
    rm -f /usr/sbin/policy-rc.d
# Nobody logs in, and no timer fetches packages.
systemctl mask getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer systemd-resolved.service
apt_clean
