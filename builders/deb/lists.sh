#!/bin/sh
# lists.sh: see builders/README.md
set -eu
# shellcheck source=/dev/null
. /packhold/apt.sh
apt_update
cp -a /var/lib/apt/lists /packhold/lists
