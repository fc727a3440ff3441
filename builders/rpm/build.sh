#!/bin/sh -eu
# Builds binary and source packages from the spec file and the source tree.

umask "${PACKHOLD_UMASK:-022}"
# A source package holds its spec file with the macros expanded (RPMTAG_SPEC), and so the paths that these name. They are the same
# wherever it is built; only the folder in which is built is not.
top=/var/tmp/rpmbuild
build=$(dirname "$PACKHOLD_SOURCE")/rpmbuild
spec=$top/SPECS/$(basename "$PACKHOLD_PACKAGING")

die() {
	echo "packhold: $*" >&2
	exit 1
}

[ -f "$PACKHOLD_PACKAGING" ] || die "there is no spec file $PACKHOLD_PACKAGING: is it for a prepare script to make?"
rm -rf "$top" "$build"
mkdir -p "$build" "$top/BUILDROOT" "$top/RPMS" "$top/SOURCES" "$top/SPECS" "$top/SRPMS"
cp "$PACKHOLD_PACKAGING" "$spec"

# What every rpm command below must agree on. Reproducible output as in rpm's documentation of its build-time macros: the
# time of the build and of the files is SOURCE_DATE_EPOCH (never the changelog's newest date), the host has a fixed name.
# rpm 4.20 replaces clamp_mtime_to_source_date_epoch by build_mtime_policy. The number of jobs is a variable of the shell, as rpm's
# own default has it, and who builds owns nothing in the source package.
# shellcheck disable=SC2016 # of the shell of the build
rpm_with_settings() {
	tool=$1
	shift
	"$tool" \
		--define "_topdir $top" \
		--define "_builddir $build" \
		--define '_smp_mflags -j${RPM_BUILD_NCPUS}' \
		--define '_srcdefattr (-,root,root)' \
		--define "_smp_build_ncpus $PACKHOLD_JOBS" \
		--define '_buildhost packhold' \
		--define 'source_date_epoch_from_changelog 0' \
		--define 'use_source_date_epoch_as_buildtime 1' \
		--define 'clamp_mtime_to_source_date_epoch 1' \
		--define 'build_mtime_policy clamp_to_source_date_epoch' \
		"$@"
}
query() {
	rpm_with_settings rpmspec -q --srpm --qf "$1" "$spec"
}

# --- Version and Release ---

# tag NAME: the value of a tag of the main package, as it is written.
tag() {
	awk -v tag="$1" '
		/^%(description|package|prep)/ { exit }
		tolower($0) ~ "^" tolower(tag) "[ \t]*:" { sub(/^[^:]*:[ \t]*/, ""); sub(/[ \t]+$/, ""); print; exit }
	' "$spec"
}

# set_tag NAME VALUE: gives a tag of the main package a value. Where the tag only names a macro that the spec itself
# defines (Version: %{upstream}), the definition is changed, since other lines may use it too. %{?dist} stays where it is.
set_tag() {
	written=$(tag "$1")
	macro=$(printf '%s\n' "$written" | sed -n 's/%{?*dist}$//; s/^%{*?*\([A-Za-z_][A-Za-z0-9_]*\)}*$/\1/p')
	awk -v tag="$1" -v macro="$macro" -v value="$2" '
		function with_dist(old) { return value (old ~ /%\{\??dist\}/ ? "%{?dist}" : "") }
		{ lines[NR] = $0 }
		macro != "" && $0 ~ "^[ \t]*%(define|global)[ \t]+" macro "[ \t]" { defined = 1 }
		END {
			for (n = 1; n <= NR; n++) {
				line = lines[n]
				if (line ~ /^%(description|package|prep)/) body = 1
				if (defined && match(line, "^[ \t]*%(define|global)[ \t]+" macro "[ \t]+"))
					line = substr(line, 1, RLENGTH) with_dist(line)
				else if (!defined && !body && match(tolower(line), "^" tolower(tag) "[ \t]*:[ \t]*"))
					line = substr(line, 1, RLENGTH) with_dist(line)
				print line
			}
		}
	' "$spec" >"$spec.new"
	mv "$spec.new" "$spec"
}

dist=$(rpm --eval '%{?dist}')
release=${PACKHOLD_REVISION:-1}
if [ "$(query '%{VERSION}')" != "$PACKHOLD_VERSION" ]; then
	set_tag Version "$PACKHOLD_VERSION"
fi
case $(query '%{RELEASE}') in
"$release" | "$release$dist") ;;
*) set_tag Release "$release" ;;
esac
case $(query '%{VERSION}-%{RELEASE}') in
"$PACKHOLD_VERSION-$release" | "$PACKHOLD_VERSION-$release$dist") ;;
*) die "the spec file says $(query '%{VERSION}-%{RELEASE}') although its Version and Release were set to" \
	"$PACKHOLD_VERSION-$release; write them as plain tags" ;;
esac
# %changelog, unlike debian/changelog, has no version that rpm reads: without an entry for it, it stays as it is.
if [ -n "${PACKHOLD_CHANGELOG-}" ]; then
	query '[%{CHANGELOGTIME} %{CHANGELOGNAME}\n]' >"$top/changelog"
	sh -eu /packhold/changelog.sh "$spec" "$PACKHOLD_CHANGELOG" "$top/changelog" "$(query '%{EPOCH}')"
	rm -f "$top/changelog"
fi

# --- Sources ---

# The spec with its macros expanded. %setup and %autosetup are kept as lines of text, so that their arguments can be read
# whatever they expand to in this version of rpm.
sed 's/^[[:space:]]*%\(auto\)\{0,1\}setup/packhold-setup/' "$spec" >"$top/expanded.spec"
rpm_with_settings rpmspec -P "$top/expanded.spec" >"$top/expanded"
source0=$(awk '
	/^%(description|package|prep)/ { exit }
	/^[Ss][Oo][Uu][Rr][Cc][Ee]0*[ \t]*:/ { sub(/^[^:]*:[ \t]*/, ""); sub(/[ \t]+$/, ""); sub(/.*\//, ""); print; exit }
' "$top/expanded")

# The folder inside the archive: %setup -n NAME, else NAME-VERSION (rpm's reference of spec files, "%setup"). With -c rpm
# creates the folder itself, because the archive has none.
folder=$(query '%{NAME}-%{VERSION}')
setup=$(sed -n '/^packhold-setup/{p;q;}' "$top/expanded")
rm -f "$top/expanded" "$top/expanded.spec"
named=$(printf '%s\n' "$setup" | sed -n 's/.*[[:space:]]-n[[:space:]]*\([^[:space:]]*\).*/\1/p' | tr -d "\"'")
if [ -n "$named" ]; then
	folder=${named%%/*}
fi
case " $setup " in
*' -c '*) folder= ;;
esac

# make_archive FILE: the source tree as a deterministic tar (reproducible-builds.org, "Archive metadata").
make_archive() {
	case $1 in
	*.tar.gz | *.tgz) compress='gzip -9 -n' ;;
	*.tar.bz2 | *.tbz2) compress='bzip2 -9' ;;
	*.tar.xz | *.txz) compress='xz -6 -T1' ;;
	*.tar.zst) compress='zstd -q -19 -T1' ;;
	*.tar) compress='cat' ;;
	esac
	tar --create --directory "$PACKHOLD_SOURCE" \
		--format=gnu --sort=name --owner=0 --group=0 --numeric-owner \
		--mtime="@$SOURCE_DATE_EPOCH" --mode='u+rwX,go+rX,go-w,a-s,-t' \
		--transform="s,^\\.\$,${folder:-.},S" --transform="s,^\\./,${folder:+$folder/},S" \
		. >"$top/source.tar"
	$compress <"$top/source.tar" >"$top/SOURCES/$1"
	rm -f "$top/source.tar"
}

# find_source FILE: copies a source or patch from beside the spec file, from the outputs of the shared prepare stage or
# from the source tree.
find_source() {
	for found in "$(dirname "$PACKHOLD_PACKAGING")/$1" "$PACKHOLD_PREPARED/$1"; do
		if [ -f "$found" ]; then
			cp "$found" "$top/SOURCES/"
			return
		fi
	done
	found=$(find "$PACKHOLD_SOURCE" -type f -name "$1" | LC_ALL=C sort | head -n 1)
	[ -n "$found" ] || die "the spec file names $1, which is neither beside it nor in the source tree"
	cp "$found" "$top/SOURCES/"
}

query '[%{SOURCE}\n][%{PATCH}\n]' >"$top/sources"
while IFS= read -r file; do
	case $file in
	'' | '(none)') continue ;;
	"$source0")
		case $file in
		*.tar.gz | *.tgz | *.tar.bz2 | *.tbz2 | *.tar.xz | *.txz | *.tar.zst | *.tar) make_archive "$file" ;;
		*) find_source "$file" ;;
		esac
		;;
	*) find_source "$file" ;;
	esac
done <"$top/sources"
rm -f "$top/sources"

# rpm only lowers times that are too new, so older ones (none, or the copy's) are set here. Modes are those of the tar of the source.
find "$top/SOURCES" "$top/SPECS" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} + -type f -exec chmod u+rw,go+r,go-w,a-s,-t {} +

# --- Build: %check included, build dependencies checked by rpmbuild ---

export RPM_BUILD_NCPUS="$PACKHOLD_JOBS"
cd "$top"
rpm_with_settings rpmbuild -ba "$spec"

mkdir -p "$PACKHOLD_OUT"
find "$top/RPMS" "$top/SRPMS" -type f -name '*.rpm' -exec cp {} "$PACKHOLD_OUT/" \;
