#!/bin/sh -eu
# satisfy.sh FILE…: installs the Debian packages that provide what these rpm files require and nothing provides yet.
# What Debian cannot provide stays unmet: that is for the caller to see. The package lists must be fresh.
#
# First by name (names.map, then the naming conventions of Debian), then by file, in the index of all files of all Debian
# packages. A wrong guess by name does no harm but the space it takes: what counts is what userland.sh finds afterwards.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

isa=$(rpm --eval '%{?_isa}')

# capabilities: the plain names in the dependencies that are read from standard input. Versions are not looked at here, and of a
# rich dependency ("(a or b)") every name is taken.
capabilities() {
	awk -v isa="$isa" '
		{
			if (!/^\(/) { words[1] = $1; count = 1 }
			else { gsub(/^\(|\)$/, ""); count = split($0, words, " ") }
			for (n = 1; n <= count; n++) {
				word = words[n]
				if (word ~ /^(and|or|if|else|with|without|unless|[<>=]+)$/) { skip = word ~ /[<>=]/; continue }
				if (skip) { skip = 0; continue }
				at = index(word, isa)
				if (isa != "" && at && at == length(word) - length(isa) + 1) word = substr(word, 1, at - 1)
				print word
			}
		}
	' | sort -u
}

# by_name CAPABILITY: Debian packages that may provide it, the likeliest first.
by_name() {
	awk -v name="$1" '$1 == name { print $2 }' /packhold/names.map
	inner=$(printf '%s\n' "$1" | sed 's/^[^(]*(\(.*\))$/\1/' | tr '[:upper:]_' '[:lower:]-')
	case $1 in
	pkgconfig\(*) printf '%s\n' "lib$inner-dev" "$inner-dev" "$inner" ;;
	perl\(*) printf 'lib%s-perl\n' "$(printf '%s' "$inner" | sed 's/::/-/g')" ;;
	*.so.*)
		# Debian Policy 8.1: a library package is named after its soname, with a dash between two digits.
		printf '%s\n' "${1%%(*}" | tr '[:upper:]_' '[:lower:]-' |
			sed 's/\([0-9]\)\.so\.\(.*\)$/\1-\2/; s/\.so\.//'
		;;
	lib*-devel) echo "${1%el}" ;;
	*-devel) printf '%s\n' "lib${1%el}" "${1%el}" ;;
	*[!a-z0-9+.-]*) ;;
	*) echo "$1" ;;
	esac
}

# by_file: reads capabilities, prints the Debian packages that hold their files.
by_file() {
	multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
	while IFS= read -r capability; do
		inner=$(printf '%s\n' "$capability" | sed 's/^[^(]*(\(.*\))$/\1/')
		case $capability in
		/*) printf '%s\n' "${capability#/}" "${capability#/usr/}" "usr$capability" ;;
		pkgconfig\(*) printf "%s/pkgconfig/$inner.pc\n" "usr/lib/$multiarch" usr/share usr/lib ;;
		perl\(*)
			module=$(printf '%s' "$inner" | sed 's,::,/,g')
			perl_version=$(perl -e 'printf "%vd", $^V')
			printf "%s/$module.pm\n" usr/share/perl5 "usr/lib/$multiarch/perl5/${perl_version%.*}" \
				"usr/share/perl/$perl_version" "usr/lib/$multiarch/perl/$perl_version"
			;;
		*.so*) printf "%s/${capability%%(*}\n" "usr/lib/$multiarch" "lib/$multiarch" usr/lib lib ;;
		esac
	done >/tmp/paths
	if [ -s /tmp/paths ]; then
		# The index is large, and is therefore not among the lists that apt fetches by default (apt-file(1) adds it so).
		if apt -c /packhold/contents.conf update >&2; then
			# shellcheck disable=SC2016 # apt's own variable
			apt-get -c /packhold/contents.conf indextargets --format '$(FILENAME)' 'Identifier: Contents-deb' |
				xargs -r /usr/lib/apt/apt-helper cat-file |
				awk '
					NR == FNR { wanted[$0]; next }
					$1 in wanted { sub(/,.*/, "", $NF); sub(/.*\//, "", $NF); print $NF }
				' /tmp/paths - | sort -u
		fi
	fi
	rm -f /tmp/paths
}

# install_and_tell PACKAGE…
install_and_tell() {
	apt_install "$@"
	/bin/sh -eu /packhold/userland.sh
}

wanted=$(unmet "$@" | capabilities)
found=$(
	for capability in $wanted; do
		for package in $(by_name "$capability"); do
			if apt-cache show --no-all-versions "${package%%,*}" >/dev/null 2>&1; then
				echo "$capability is provided by Debian's $package" >&2
				echo "$package" | tr ',' '\n'
				break
			fi
		done
		case $capability in pkgconfig\(*) echo pkgconf ;; esac
	done | sort -u
)
if [ -n "$found" ]; then
	# shellcheck disable=SC2086 # package names
	install_and_tell $found
fi

found=$(unmet "$@" | capabilities | by_file)
if [ -n "$found" ]; then
	# shellcheck disable=SC2086
	install_and_tell $found
fi
