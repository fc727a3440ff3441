#!/bin/sh -eu
# base image → image whose first process can be /sbin/init

/bin/sh -eu /packhold/dependencies.sh systemd dbus procps-ng
systemctl mask getty.target console-getty.service
