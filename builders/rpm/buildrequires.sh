#!/bin/sh -eu
# buildrequires.sh FILE: prints the build dependencies of a spec file, or of a template of one, one a line ("zlib-devel >= 1.2" is
# one). Macros of the file run in here, so nothing in here is of any worth: see builders/README.md.

spec=$1

if listed=$(rpmspec -q --buildrequires "$spec" 2>/dev/null); then
	printf '%s\n' "$listed" | sed '/^$/d; /^rpmlib(/d' | sort -u
	exit 0
fi

# A template is no spec yet: read the tags as text and leave out what is still to be filled in. Dependencies are
# separated by commas or spaces.
echo "# ${spec##*/} is not a spec file that rpm can parse; its BuildRequires lines are read as text"
sed -n 's/^[Bb]uild[Rr]equires[[:space:]]*:[[:space:]]*//p' "$spec" | tr ',' '\n' | awk '
	/[%@]/ { next }
	/^[[:space:]]*\(/ { gsub(/^[[:space:]]+|[[:space:]]+$/, ""); print; next }
	{
		for (i = 1; i <= NF; i++) {
			if ($(i + 1) ~ /^[<>=]+$/) { print $i, $(i + 1), $(i + 2); i += 2 }
			else print $i
		}
	}' | sort -u
