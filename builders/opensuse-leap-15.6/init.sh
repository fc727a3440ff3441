#!/bin/sh -eu
# base image → image whose first process can be /sbin/init

/bin/sh -eu /packhold/dependencies.sh systemd systemd-sysvinit dbus-1
systemctl mask getty.target console-getty.service
