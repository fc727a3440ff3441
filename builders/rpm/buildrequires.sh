#!/bin/sh -eu
# buildrequires.sh SPEC: prints the build dependencies of a spec file, one per line ("zlib-devel >= 1.2" is one).
# SPEC may be absent (a prepare script makes it) while its template SPEC.in is there.

spec=$1
if [ ! -f "$spec" ]; then
	spec=$spec.in
fi
if [ ! -f "$spec" ]; then
	echo "no $1 at this stage: only the pipeline's own dependencies are known" >&2
	exit 0
fi

if listed=$(rpmspec -q --buildrequires "$spec" 2>/dev/null); then
	printf '%s\n' "$listed" | sed '/^$/d; /^rpmlib(/d' | sort -u
	exit 0
fi

# A template is no spec yet: read the tags as text and leave out what is still to be filled in. Dependencies are
# separated by commas or spaces.
echo "$spec is not a spec file that rpm can parse; its BuildRequires lines are read as text" >&2
sed -n 's/^[Bb]uild[Rr]equires[[:space:]]*:[[:space:]]*//p' "$spec" | tr ',' '\n' | awk '
	/[%@]/ { next }
	/^[[:space:]]*\(/ { sub(/^[[:space:]]*/, ""); print; next }
	{
		for (i = 1; i <= NF; i++) {
			if ($(i + 1) ~ /^[<>=]+$/) { print $i, $(i + 1), $(i + 2); i += 2 }
			else print $i
		}
	}' | sort -u
