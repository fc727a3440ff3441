#!/bin/sh
# builder image → image with /packhold-kit: what varies the conditions of a build
set -eu
# shellcheck source=/dev/null
. /packhold/apt.sh

apt_update
apt_get install gcc libc6-dev libfaketime locales
apt_clean
/bin/sh -eu /packhold/vary.sh kit
