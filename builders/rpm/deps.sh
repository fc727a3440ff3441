#!/bin/sh -eu
# Build dependencies: what the spec file declares, then the pipeline's own list.

requires=$(/bin/sh -eu /packhold/buildrequires.sh "$PACKHOLD_PACKAGING")

if ! dnf -q makecache; then
	echo 'packhold: mirror-unreachable'
	exit 4
fi

# One argument per line of $requires, then one per word of $PACKHOLD_DEPS.
set -f
IFS='
'
# shellcheck disable=SC2086 # split on purpose
set -- $requires
IFS=' '
# shellcheck disable=SC2086
set -- "$@" $PACKHOLD_DEPS
unset IFS
if [ $# -eq 0 ]; then
	exit 0
fi

status=0
dnf -y --setopt=install_weak_deps=False install -- "$@" >/tmp/dnf.log 2>&1 || status=$?
cat /tmp/dnf.log
if [ "$status" -ne 0 ]; then
	# dnf 4: "No match for argument: NAME"; dnf 5 says the same, after a bullet.
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
