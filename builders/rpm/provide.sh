#!/bin/sh -eu
# provide.sh FILE…: installs what these package files need, and keeps logrotate if they have something for it.

if ! dnf -q makecache; then
	echo 'packhold: mirror-unreachable'
	exit 4
fi

# What the other scripts look around with; small images lack some.
for tool in find:findutils awk:gawk setpriv:util-linux; do
	command -v "${tool%%:*}" >/dev/null || dnf -y --setopt=install_weak_deps=False install "${tool#*:}"
done

# The resolver's whole answer is fetched, of which the files themselves are no part (dnf.conf(5), destdir); what has the
# name of one of them can only be another version of it.
fetched=$(mktemp -d)
own=$(rpm -qp --nosignature --qf '%{NAME}\n' "$@")
dnf -y --setopt=install_weak_deps=False --setopt=destdir="$fetched" --downloadonly install "$@"
for file in "$fetched"/*.rpm; do
	[ -e "$file" ] || continue
	name=$(rpm -qp --nosignature --qf '%{NAME}\n' "$file")
	if printf '%s\n' "$own" | grep -qxF -- "$name"; then rm "$file"; fi
done
if [ -n "$(find "$fetched" -name '*.rpm')" ]; then
	dnf -y --disablerepo='*' --setopt=install_weak_deps=False install "$fetched"/*.rpm
fi
rm -rf "$fetched"

for file in "$@"; do
	if rpm -qp --nosignature --qf '[%{FILENAMES}\n]' "$file" | grep -q '^/etc/logrotate\.d/.'; then
		mkdir -p /var/cache/packhold/logrotate
		dnf -y --setopt=install_weak_deps=False --setopt=destdir=/var/cache/packhold/logrotate --downloadonly install logrotate
		break
	fi
done
dnf clean all
