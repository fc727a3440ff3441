#!/bin/sh
# Tries what a build needs of the network: are the mirrors' names resolved in here, and do the mirrors answer?
set -eu
# shellcheck source=/dev/null
. /packhold/apt.sh

# apt-get(8), indextargets; hosts of file: and cdrom: addresses are empty.
# shellcheck disable=SC2016 # apt's variable
for host in $(apt-get indextargets --format '$(SITE)' | sed -n 's,^https\{0,1\}://\([^/:]*\).*,\1,p' | sort -u); do
    getent hosts "$host" || {
        echo "packhold: unresolvable: $host"
        exit 5
    }
done
apt_update
