#!/bin/sh -eu
# dependencies.sh PACKAGE…: installs Debian packages. deps.sh has more to do than this.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

apt_update
apt_install "$@"
/bin/sh -eu /packhold/userland.sh
apt_clean
