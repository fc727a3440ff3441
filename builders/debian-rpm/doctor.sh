#!/bin/sh -eu
# Tries what a build needs of the network, in a bare Debian userland, which has no tool of rpm yet: are the mirrors' names resolved in
# here, and do the mirrors answer?

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

# apt-get(8), --print-uris: 'ADDRESS' FILE SIZE, one a line.
for host in $(apt --print-uris update | sed -n "s|^'https*://\([^/:]*\).*|\1|p" | sort -u); do
	getent hosts "$host" || {
		echo "packhold: unresolvable: $host"
		exit 5
	}
done
apt_update
