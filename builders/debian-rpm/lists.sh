#!/bin/sh -eu
# lists.sh: see builders/README.md

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh
apt_update
cp -a /var/lib/apt/lists /packhold/lists
