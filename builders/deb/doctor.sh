#!/bin/sh
# Tries what a build needs of the network: are the mirrors' names resolved in here, and do the mirrors answer?
set -eu
# shellcheck source=/dev/null
. /packhold/apt.sh

# apt-get(8), --print-uris: 'ADDRESS' FILE SIZE, one a line.
for host in $(apt-get --print-uris update | sed -n "s|^'https*://\([^/:]*\).*|\1|p" | sort -u); do
    getent hosts "$host" || {
        echo "packhold: unresolvable: $host"
        exit 5
    }
done
apt_update
