#!/bin/sh -eu
# Tells rpm what Debian has installed: makes and installs the package packhold-userland, which holds no files and
# provides what is really there. Run again whenever Debian packages were added.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

work=$(mktemp -d)
isa=$(rpm --eval '%{?_isa}')

# Debian packages by their own name, by the names that rpm distros use for them (names.map, libNAME-dev → NAME-devel), and
# for this architecture. Versions are upstream's: no Debian revision, and an epoch only where rpm distros have one.
dpkg-query -W -f '${db:Status-Status} ${Package} ${Version} ${Architecture}\n' | awk -v isa="$isa" '
	function provide(name, epoch) {
		print name " = " epoch version
		if (arch != "all") print name isa " = " epoch version
	}
	FILENAME == "/packhold/names.map" {
		if ($0 !~ /^#/ && NF >= 2 && $1 !~ /\(/) { sub(/,.*/, "", $2); names[$2] = names[$2] " " $1; if (NF > 2) epochs[$1] = $3 ":" }
		next
	}
	$1 == "installed" {
		package = $2; version = $3; arch = $4
		sub(/^[0-9]+:/, "", version)
		sub(/-[^-]*$/, "", version)
		sub(/[+~.](dfsg|ds|repack).*$/, "", version)
		gsub(/-/, ".", version)
		provide(package, epochs[package])
		count = split(names[package], more, " ")
		for (n = 1; n <= count; n++) if (more[n] != package) provide(more[n], epochs[more[n]])
		if (package ~ /-dev$/) {
			devel = package "el"
			provide(devel)
			if (sub(/^lib/, "", devel)) provide(devel)
		}
	}
' /packhold/names.map - >"$work/provides"

{
	# Shared libraries and their symbol versions: those that the loader finds.
	ldconfig -p | sed -n 's/.*=> //p' | sort -u | /usr/lib/rpm/elfdeps --provides
	# glibc of every rpm distro says this of its loader (DT_GNU_HASH).
	echo 'rtld(GNU_HASH)'

	# Programs, under every name of their folder (/bin is /usr/bin in a merged /usr).
	for folder in /usr/bin /usr/sbin /bin /sbin /usr/local/bin; do
		find "$folder/" -maxdepth 1 \( -type f -o -type l \) -perm /111 | sed 's,//,/,'
	done

	# Users and groups, as rpm 4.19 and later names them.
	getent passwd | sed 's/^\([^:]*\):.*/user(\1)/'
	getent group | sed 's/^\([^:]*\):.*/group(\1)/'

	# Modules: found where each interpreter looks, named by rpm's own generators.
	perl -e 'print map { "$_/\n" } grep { -d } @INC' | xargs -I@ find @ -name '*.pm' | /usr/lib/rpm/perl.prov
	perl -e 'printf "perl(:VERSION) = %vd\nperl(:MODULE_COMPAT_%vd)\n", $^V, $^V'
	python3 -c 'import sys; print("python(abi) = %d.%d" % sys.version_info[:2])'
	find /usr/lib/*/pkgconfig /usr/lib/pkgconfig /usr/share/pkgconfig -name '*.pc' 2>/dev/null |
		/usr/lib/rpm/pkgconfigdeps.sh --provides

	# The macros that base.sh installed, for a spec to require by the package that has them elsewhere.
	echo 'systemd-rpm-macros'
} | grep -v '[%[:cntrl:]]' >>"$work/provides"

# shellcheck disable=SC1091
release=$(. /etc/os-release && echo "$VERSION_ID")
package=$(
	empty_rpm <<-EOF
		Name: packhold-userland
		Version: $release
		Release: 1
		Summary: What Debian has installed here, in rpm's words
		License: none
		$(sort -u "$work/provides" | sed 's/^/Provides: /')
		%description
		Provides what the Debian packages of this userland hold, so that dependencies are resolved truthfully.
		%files
		# What glibc does in rpm distros whenever a library is installed or removed.
		%transfiletriggerin -P 2000000 -- /lib /usr/lib /lib64 /usr/lib64
		ldconfig
		%transfiletriggerpostun -P 2000000 -- /lib /usr/lib /lib64 /usr/lib64
		ldconfig
	EOF
)
rpm -U --force-debian --replacepkgs --oldpackage "$package"
echo "packhold-userland provides $(rpm -q --provides packhold-userland | wc -l) capabilities"
rm -rf "$work" /tmp/packhold-rpm
