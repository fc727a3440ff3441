#!/bin/sh -eu
# provide.sh FILE…: installs what these package files need, and keeps logrotate if they have something for it.

if ! zypper --non-interactive refresh; then
	echo 'packhold: mirror-unreachable'
	exit 4
fi

for tool in find:findutils awk:gawk setpriv:util-linux; do
	command -v "${tool%%:*}" >/dev/null || zypper --non-interactive install --no-recommends "${tool#*:}"
done

# fetch FOLDER WHAT…: downloads what the resolver would install. The folder is zypper's cache, with one folder a repository.
fetch() {
	folder=$1
	shift
	status=0
	zypper --non-interactive --pkg-cache-dir "$folder" install --no-recommends --allow-unsigned-rpm --download-only "$@" ||
		status=$?
	case $status in 0 | 102 | 103) ;; *) exit "$status" ;; esac
	# Files that were named are copied there as well.
	find "$folder" -mindepth 2 -name '*.rpm' -exec mv {} "$folder" \;
	find "$folder" -mindepth 1 -maxdepth 1 -type d -exec rm -r {} +
}

fetched=$(mktemp -d)
own=$(rpm -qp --nosignature --qf '%{NAME}\n' "$@")
fetch "$fetched" "$@"
for file in "$fetched"/*.rpm; do
	[ -e "$file" ] || continue
	name=$(rpm -qp --nosignature --qf '%{NAME}\n' "$file")
	if printf '%s\n' "$own" | grep -qxF -- "$name"; then rm "$file"; fi
done
if [ -n "$(find "$fetched" -name '*.rpm')" ]; then
	/bin/sh -eu /packhold/install.sh install "$fetched"/*.rpm
fi
rm -rf "$fetched"

if rpm -qp --nosignature --qf '[%{FILENAMES}\n]' "$@" | grep -q '^/etc/logrotate\.d/.'; then
	mkdir -p /var/cache/packhold/logrotate
	fetch /var/cache/packhold/logrotate logrotate
fi
zypper clean --all
