#!/bin/sh -eu
# changelog.sh SPEC ENTRY KNOWN EPOCH
#
# Puts the text in the file ENTRY before the other entries of the %changelog of SPEC. KNOWN is a file with a line `TIME NAME` for each entry that
# it has (CHANGELOGTIME, CHANGELOGNAME), EPOCH what rpm says of the spec's %{EPOCH}: a number, before the entry's version then, or `(none)`. What people wrote stays: an entry of that version, a changelog that a macro makes, and one whose newest
# entry is of a later day than SOURCE_DATE_EPOCH, since rpm takes entries in descending order alone.

spec=$1
entry=$2
known=$3
epoch=$4

stays() {
	echo "packhold: %changelog stays as it is: $*"
	exit 0
}

first=$(head -n 1 "$entry")
version=${first##* - }
if awk -v full="$version" '
	BEGIN { upstream = full; sub(/-[^-]*$/, "", upstream) }
	# The version is the last word, with an epoch and a dist tag or without.
	$1 ~ /^[0-9]+$/ {
		last = $NF
		sub(/^[0-9]+:/, "", last)
		if (last == full || last == upstream || index(last, full ".") == 1) found = 1
	}
	END { exit !found }
' "$known"; then
	stays "it has an entry of $version"
fi

# An entry is of noon.
noon=$((SOURCE_DATE_EPOCH - SOURCE_DATE_EPOCH % 86400 + 43200))
newest=$(sed -n '1s/^\([0-9][0-9]*\) .*/\1/p' "$known")
if [ -n "$newest" ] && [ "$newest" -gt "$noon" ]; then
	stays "its newest entry is of a later day than the commit"
fi

if awk '
	changelog && NF { made = /^[ \t]*%/; exit }
	/^%changelog[ \t]*$/ { changelog = 1 }
	END { exit !made }
' "$spec"; then
	stays "a macro makes it"
fi

case $epoch in
'' | *[!0-9]*) written=$version ;;
*) written=$epoch:$version ;;
esac
awk -v entry="$entry" -v written="$written" '
	function tell(line, n) {
		while ((getline line <entry) > 0) {
			if (!n++) sub(/[^ ]*$/, written, line)
			print line
		}
	}
	told && !past && !NF { next }
	{ past = told; print }
	!told && /^%changelog[ \t]*$/ { tell(); told = 1 }
	END { if (!told) { print "\n%changelog"; tell() } }
' "$spec" >"$spec.new"
mv "$spec.new" "$spec"
