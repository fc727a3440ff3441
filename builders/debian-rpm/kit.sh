#!/bin/sh -eu
# builder image → image with /packhold-kit: what varies the conditions of a build

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

apt_update
apt_install gcc libc6-dev libfaketime locales
apt_clean
/bin/sh -eu /packhold/vary.sh kit
