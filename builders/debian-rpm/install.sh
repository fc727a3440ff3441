#!/bin/sh -eu
# install.sh FILE…: installs package files with dnf, after Debian has provided what it can of their dependencies.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

if [ -n "$(unmet "$@")" ]; then
	apt_update
	/bin/sh -eu /packhold/satisfy.sh "$@"
	apt_clean
fi
exec dnf -y --releasever=12 install "$@"
