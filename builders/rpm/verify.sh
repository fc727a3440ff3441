#!/bin/sh -eu
# verify.sh COMMAND ARGUMENT…: see builders/README.md

# shellcheck disable=SC1091 # in the container
. /packhold/look.sh

log=/tmp/packhold-verify.log
trap 'rm -f "$log" "$log.status"' EXIT

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
		exit 6
	fi
}

# quiet_input: see silence in look.sh; the folder of the pipe is not needed any more.
quiet_input() {
	folder=$(mktemp -d)
	silence "$folder"
	rmdir "$folder"
}

# judge: what a step with the resolver came to.
judge() {
	fail_on_scriptlets
	[ "$status" -ne 0 ] || return 0
	if grep -Eq 'packhold: mirror-unreachable|Failed to download|Cannot download|Curl error|Download \(curl\) error|All mirrors were tried' "$log"; then
		grep -q '^packhold: mirror-unreachable' "$log" || echo 'packhold: mirror-unreachable'
		exit 4
	fi
	# The resolver's own words: first what is missing or in conflict, else its first line about a problem.
	reason=$(grep -Em1 'nothing provides|conflicts with|obsoletes' "$log" || grep -Eim1 'error|problem' "$log" ||
		tail -n 1 "$log")
	printf '%s\n' "$reason" | sed -E 's/^[-[:space:]]*((Problem( [0-9]+)?|Error): )?/packhold: install-conflict: /'
	exit 5
}

# identity FILE: what the package database calls the package in a file, if it were installed.
identity() {
	rpm -qp --nosignature --qf '%{NAME}-%{EVR}.%{ARCH}' "$1"
}

# install_files ACTION FILE…: resolvers have a word of its own for a package that is there in this very version.
install_files() {
	action=$1
	shift
	quiet_input
	same=$(
		for file in "$@"; do
			name=$(identity "$file")
			if rpm -q "$name" >/dev/null 2>&1; then printf '%s\n' "$file"; fi
		done
	)
	for file in "$@"; do
		shift
		if ! printf '%s\n' "$same" | grep -qxF -- "$file"; then set -- "$@" "$(realpath "$file")"; fi
	done
	if [ $# -gt 0 ]; then
		logged /bin/sh -eu /packhold/install.sh "$action" "$@"
		judge
	fi
	if [ -n "$same" ]; then
		set --
		while IFS= read -r file; do set -- "$@" "$(realpath "$file")"; done <<-EOF
			$same
		EOF
		logged /bin/sh -eu /packhold/install.sh reinstall "$@"
		judge
	fi
}

command=$1
shift
case $command in
provide)
	logged /bin/sh -eu /packhold/provide.sh "$@"
	judge
	;;
install | install-without-docs | downgrade)
	install_files "$command" "$@"
	;;
installed)
	for name in "$@"; do
		# rpm -q says on standard output that a package is not installed.
		if rpm -q "$name" >/dev/null 2>&1; then rpm -q --qf '%{NAME}\t%{EVR}\n' "$name"; fi
	done
	;;
remove | purge)
	quiet_input
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
		exit "$status"
	fi
	;;
info)
	rpm -qp --nosignature --qf '%{NAME}\t%{EVR}\t%{ARCH}\n' "$1"
	;;
compare)
	# rpm's own comparison of each part, epoch first; a release that one of them lacks is not compared.
	rpm --define "packhold_a $1" --define "packhold_b $2" --eval '%{lua:
		local function parts(text)
			local epoch, rest = text:match("^(%d+):(.*)$")
			if not epoch then epoch, rest = "0", text end
			local version, release = rest:match("^(.*)-([^-]*)$")
			return epoch, version or rest, release
		end
		local e1, v1, r1 = parts(rpm.expand("%packhold_a"))
		local e2, v2, r2 = parts(rpm.expand("%packhold_b"))
		local order = rpm.vercmp(e1, e2)
		if order == 0 then order = rpm.vercmp(v1, v2) end
		if order == 0 and r1 and r2 then order = rpm.vercmp(r1, r2) end
		print(order < 0 and "lower" or order > 0 and "higher" or "equal")
	}'
	;;
needs)
	# The version of one of the files is written as @, with its release or without.
	versions=$(rpm -qp --nosignature --qf '%{EVR}\n%{VERSION}\n%{VERSION}-%{RELEASE}\n' "$@")
	for file in "$@"; do
		rpm -qp --nosignature --qf 'name: %{NAME}\n' "$file"
		for kind in requires conflicts obsoletes provides; do
			rpm -qp --nosignature "--$kind" "$file" | sed "/^(none)\$/d; s/^/$kind: /"
		done
		if rpm -qp --nosignature --qf '[%{FILENAMES}\n]' "$file" | grep -q '^/etc/logrotate\.d/.'; then
			echo 'files: /etc/logrotate.d'
		fi
	done | awk -v versions="$versions" '
		BEGIN { count = split(versions, list, "\n"); for (n = 1; n <= count; n++) own[list[n]] }
		{
			for (n = 3; n <= NF; n++) if ($(n - 1) ~ /^[<>=]+$/) {
				version = $n
				sub(/\)+$/, "", version)
				if (version in own) $n = "@" substr($n, length(version) + 1)
			}
			print
		}' | LC_ALL=C sort -u
	;;
altered)
	for name in "$@"; do
		if rpm -q "$name" >/dev/null 2>&1; then rpm -V --nodeps --noscripts "$name" 2>/dev/null || :; fi
	done | awk '
		# "SM5DLUGTP c PATH" or "missing   c PATH"; c is a configuration file, g one that the package only names.
		{
			match($0, /\//)
			path = substr($0, RSTART)
			kind = substr($0, 1, RSTART - 1)
			if (kind ~ / g +$/ || (kind ~ / c +$/ && kind !~ /^missing/)) next
			if (kind ~ /^missing/) { sub(/ \(.*\)$/, "", path); print path "\tmissing"; next }
			what = ""
			split("S size M mode 5 content D device L link U user G group T time P capabilities", words, " ")
			for (n = 1; n <= 17; n += 2) if (index(substr(kind, 1, 9), words[n])) what = what (what ? "," : "") words[n + 1]
			if (what != "") print path "\t" what
		}' | LC_ALL=C sort -u
	;;
conffiles)
	for name in "$@"; do
		if rpm -q "$name" >/dev/null 2>&1; then rpm -qc "$name"; fi
	done | sed '/^\//!d' | LC_ALL=C sort -u | while IFS= read -r path; do
		if [ ! -f "$path" ]; then
			how=missing
		elif rpm -Vf --nodeps --noscripts "$path" 2>/dev/null | grep -E '^..5' | grep -qF " $path"; then
			how=changed
		else
			how=same
		fi
		printf '%s\t%s\n' "$path" "$how"
	done
	;;
contents)
	rpm -qp --nosignature --qf '[%{FILENAMES}\n]' "$@" | LC_ALL=C sort -u
	;;
files) files "$@" ;;
shared) shared "$@" ;;
state) state ;;
waiting) waiting ;;
left) left "$@" ;;
*)
	echo "verify.sh: unknown command: $command" >&2
	exit 2
	;;
esac
