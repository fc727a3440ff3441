#!/bin/sh -eu
# provide.sh FILE…: installs what these package files need, as far as Debian has it, and keeps logrotate if they have something
# for it. What Debian does not have is for `install` to name.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

updated=no
if [ -n "$(unmet "$@")" ]; then
	apt_update
	updated=yes
	/bin/sh -eu /packhold/satisfy.sh "$@"
fi
if rpm -qp --nosignature --qf '[%{FILENAMES}\n]' "$@" | grep -q '^/etc/logrotate\.d/.'; then
	[ $updated = yes ] || apt_update
	kept=/var/cache/packhold/logrotate
	mkdir -p "$kept/partial"
	apt -y --download-only -o "Dir::Cache::archives=$kept/" install logrotate || mirror_unreachable
	rm -rf "$kept/partial" "$kept/lock"
fi
apt_clean
missing=$(unmet "$@")
if [ -n "$missing" ]; then
	printf '%s\n' "$missing" | sed 's/^/nothing provides /'
	exit 1
fi
