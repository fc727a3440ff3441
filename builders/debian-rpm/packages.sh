#!/bin/sh -eu
# Both package databases: Debian's, which holds nearly everything, with the sha256 that the mirror's lists name (as in
# builders/deb/packages.sh), and rpm's, whose packages were made here and are in no index.
lists=/packhold/lists
[ -d "$lists" ] || lists=/var/lib/apt/lists

# NAME<TAB>VERSION<TAB>ARCH<TAB>SHA256 of every package in the lists (deb822(5) paragraphs), which apt may keep packed.
listed() {
	find "$lists" -maxdepth 1 -type f -name '*_Packages*' -exec /usr/lib/apt/apt-helper cat-file {} + 2>/dev/null | awk '
		/^Package: / { name = $2 }
		/^Version: / { version = $2 }
		/^Architecture: / { arch = $2 }
		/^SHA256: / { sum = $2 }
		/^$/ { if (sum != "") print name "\t" version "\t" arch "\t" sum; sum = "" }'
}

{
	{
		listed
		echo installed
		dpkg-query --show --showformat='${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n'
	} | awk -F '\t' '
	$0 == "installed" { installed = 1; next }
	!installed { sum[$1 "\t" $2 "\t" $3] = $4; next }
	$1 == "installed" { package = $2 "\t" $3 "\t" $4; print package "\t" sum[package] }
'
	# A bare userland has no rpm.
	! command -v rpm >/dev/null || rpm -qa --qf '%{NAME}\t%{EVR}\t%{ARCH}\n'
} | LC_ALL=C sort
