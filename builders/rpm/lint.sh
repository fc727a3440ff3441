#!/bin/sh -eu
# lint.sh prepare | check FILE…: rpmlint, 1 or 2. See builders/README.md

command=$1
shift
case $command in
prepare)
	# Some distros keep what rpmlint needs in a repository that is off by default.
	if [ -f /packhold/repositories.sh ]; then
		/bin/sh -eu /packhold/repositories.sh
	fi
	exec /bin/sh -eu /packhold/dependencies.sh rpmlint
	;;
check)
	said=$(mktemp -d)
	trap 'rm -rf "$said"' EXIT
	# For a distro whose rpmlint comes without a configuration of its own.
	if [ -f /packhold/lint.toml ]; then
		set -- --config /packhold/lint.toml "$@"
	fi
	status=0
	rpmlint "$@" >"$said/findings" 2>"$said/errors" || status=$?
	# 64: there are errors among the findings; 66: the sum of their badness is over the distro's threshold. For a file that
	# it cannot read, rpmlint says so and goes on.
	case $status in
	0 | 64 | 66) ;;
	*) broken=yes ;;
	esac
	if [ -n "${broken-}" ] || grep -q '^(none): E: .*while reading' "$said/findings" "$said/errors"; then
		cat "$said/findings" "$said/errors" >&2
		exit 1
	fi
	# "PACKAGE.ARCH:[ LINE:] W: TAG[ (Badness: 10)][ DETAIL]"; all other lines are head and summary.
	# Left out is what no build of a commit can do anything about: signatures are made at release, the network is off,
	# there are no dictionaries, and %changelog has no entry for the version of a snapshot.
	awk -v OFS='\t' '
		BEGIN {
			levels["E"] = "error"; levels["W"] = "warning"
			split("no-signature invalid-url spelling-error enchant-dictionary-not-found incoherent-version-in-changelog", list, " ")
			for (n in list) ignored[list[n]]
		}
		match($0, /^[^ :\t]+:([0-9]+:)? [A-Z]: [^ \t]+/) {
			split(substr($0, 1, RLENGTH), words, " ")
			if (words[3] in ignored) next
			level = substr(words[2], 1, 1)
			package = words[1]
			sub(/:.*/, "", package)
			sub(/\.[^.]*$/, "", package)
			detail = substr($0, RLENGTH + 2)
			sub(/^\(Badness: [0-9]+\) ?/, "", detail)
			print level in levels ? levels[level] : "info", words[3], package, detail
		}
	' "$said/findings"
	;;
*)
	echo "lint.sh: unknown command: $command" >&2
	exit 2
	;;
esac
