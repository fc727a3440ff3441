#!/bin/sh -eu
# dependencies.sh CAPABILITY…: installs what provides these, with dnf.

if ! dnf -q makecache; then
	echo 'packhold: mirror-unreachable'
	exit 4
fi

status=0
dnf -y --setopt=install_weak_deps=False install "$@" >/tmp/dnf.log 2>&1 || status=$?
cat /tmp/dnf.log
if [ "$status" -ne 0 ]; then
	# dnf 4 and 5: "No match for argument: NAME".
	missing=$(sed -n 's/^.*No match for argument: //p' /tmp/dnf.log | sort -u)
	if [ -n "$missing" ]; then
		printf '%s\n' "$missing" | sed 's/^/packhold: missing-dependency: /'
		exit 3
	fi
	if grep -Eq 'Failed to download|Cannot download|Curl error|All mirrors were tried' /tmp/dnf.log; then
		echo 'packhold: mirror-unreachable'
		exit 4
	fi
	exit "$status"
fi
rm -f /tmp/dnf.log
dnf clean all
