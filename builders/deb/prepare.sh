#!/bin/sh
# base image → builder image
set -eu
# shellcheck source=/dev/null
. /packhold/apt.sh

apt_update
# fakeroot serves packages with "Rules-Requires-Root: binary-targets" (Policy 5.6.31).
apt_get install build-essential debhelper fakeroot

groupadd --gid 10000 packhold
# --no-log-init: an entry for this uid makes a large sparse /var/log/lastlog.
useradd --uid 10000 --gid packhold --home-dir /build --no-create-home --no-log-init --shell /bin/sh packhold
install -d -o packhold -g packhold /build

apt_clean
