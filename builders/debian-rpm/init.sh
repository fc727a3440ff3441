#!/bin/sh -eu
# base image → image whose first process can be /sbin/init: Debian's systemd.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

apt_update
apt_install systemd-sysv dbus procps
apt_clean
systemctl mask getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer
/bin/sh -eu /packhold/userland.sh
