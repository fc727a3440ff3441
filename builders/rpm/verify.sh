#!/bin/sh -eu
# verify.sh COMMAND ARGUMENT…: installs, queries and removes packages in the base image.

log=/tmp/packhold-verify.log

# Runs a command, shows and keeps its output, and sets $status to its exit status.
logged() {
	status=0
	{ "$@" 2>&1 || echo "$?" >"$log.status"; } | tee "$log"
	if [ -s "$log.status" ]; then
		status=$(cat "$log.status")
	fi
	rm -f "$log.status"
}

# rpm and dnf call a transaction done although a scriptlet of it failed (rpm only stops for %pre and %preun). rpm: "%post(NAME-…)
# scriptlet failed, exit status 1"; dnf 4: "Error in POSTIN scriptlet in rpm package NAME"; dnf 5: "Error in
# post-install scriptlet: NAME".
fail_on_scriptlets() {
	if failed=$(grep -Ei 'scriptlet failed|error in [a-z<>-]+ scriptlet' "$log"); then
		printf '%s\n' "$failed" | sed -nE '1s/^[>[:space:]]*((warning|error): )?/packhold: scriptlet-failed: /p'
		rm -f "$log"
		exit 6
	fi
}

command=$1
shift
case $command in
install)
	logged /bin/sh -eu /packhold/install.sh "$@"
	fail_on_scriptlets
	if [ "$status" -ne 0 ]; then
		if grep -Eq 'packhold: mirror-unreachable|Failed to download|Cannot download|Curl error|Download \(curl\) error|All mirrors were tried' "$log"; then
			grep -q '^packhold: mirror-unreachable' "$log" || echo 'packhold: mirror-unreachable'
			exit 4
		fi
		# The resolver's own words: first what is missing or in conflict, else its first line about a problem.
		reason=$(grep -Em1 'nothing provides|conflicts with|obsoletes' "$log" || grep -Eim1 'error|problem' "$log" ||
			tail -n 1 "$log")
		printf '%s\n' "$reason" | sed -E 's/^[-[:space:]]*((Problem( [0-9]+)?|Error): )?/packhold: install-conflict: /'
		rm -f "$log"
		exit 5
	fi
	rm -f "$log"
	;;
installed)
	for name in "$@"; do
		# rpm -q says on standard output that a package is not installed.
		if rpm -q "$name" >/dev/null 2>&1; then rpm -q --qf '%{NAME}\t%{EVR}\n' "$name"; fi
	done
	;;
remove | purge)
	# rpm has no second step: erasing saves changed configuration files as FILE.rpmsave. What is gone already (removed
	# before it is purged) is no error.
	left=
	for name in "$@"; do
		if rpm -q "$name" >/dev/null 2>&1; then left="$left $name"; fi
	done
	if [ -n "$left" ]; then
		# shellcheck disable=SC2086 # package names
		logged rpm -e $left
		fail_on_scriptlets
		rm -f "$log"
		exit "$status"
	fi
	;;
residue)
	for name in "$@"; do
		if rpm -q "$name" >/dev/null 2>&1; then rpm -q "$name"; fi
	done
	;;
info)
	rpm -qp --nosignature --qf '%{NAME}\t%{EVR}\t%{ARCH}\n' "$1"
	;;
*)
	echo "verify.sh: unknown command: $command" >&2
	exit 2
	;;
esac
