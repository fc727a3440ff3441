#!/bin/sh -eu
# dependencies.sh CAPABILITY…: installs what provides these, with zypper.

if ! zypper --non-interactive refresh; then
	echo 'packhold: mirror-unreachable'
	exit 4
fi

# zypper wants a comparison in one word: zlib-devel>=1.2.
for capability in "$@"; do
	shift
	case $capability in
	\(*) ;;
	*) capability=$(printf '%s' "$capability" | tr -d ' ') ;;
	esac
	set -- "$@" "$capability"
done

# zypper(8), exit codes: 102 and 103 ask for a restart after success, 104 is a capability that nothing provides.
status=0
zypper --non-interactive install --no-recommends "$@" >/tmp/zypper.log 2>&1 || status=$?
cat /tmp/zypper.log
case $status in
0 | 102 | 103) ;;
104)
	sed -n "s/^No provider of '\\(.*\\)' found\\.*$/packhold: missing-dependency: \\1/p" /tmp/zypper.log | sort -u
	exit 3
	;;
*)
	if grep -Eq 'Download \(curl\) error|Timeout exceeded when accessing|Failed to provide Package' /tmp/zypper.log; then
		echo 'packhold: mirror-unreachable'
		exit 4
	fi
	exit "$status"
	;;
esac
rm -f /tmp/zypper.log
zypper clean --all
