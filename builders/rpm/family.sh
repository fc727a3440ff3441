#!/bin/sh -eu
# Sourced: what the scripts of builders/common ask about packages, answered by rpm.

# What becomes of a service when its package is installed (service.sh policy).
# shellcheck disable=SC2034 # of service.sh
service_policy=preset

# package_paths NAME: one path a line.
package_paths() {
	rpm -q "$1" >/dev/null 2>&1 || return 0
	rpm -q --qf '[%{FILENAMES}\n]' "$1"
}

# all_paths: PACKAGE<TAB>PATH for everything that any package owns; on a userland that is not made of rpm packages, of
# those as well.
all_paths() {
	rpm -qa --qf '[%{=NAME}\t%{FILENAMES}\n]'
	if [ -d /var/lib/dpkg/info ]; then
		awk '
			FNR == 1 { package = FILENAME; sub(/.*\//, "", package); sub(/(:[^:]*)?\.list$/, "", package) }
			{ print package "\t" $0 }
		' /var/lib/dpkg/info/*.list
	fi
}

# package_state: the records of `state` that come from the package database, each ended by a NUL. gpg-pubkey is a key, not a
# package.
package_state() {
	rpm -qa --qf 'package\t%{NAME}\tinstalled\n' | grep -v '^package	gpg-pubkey	' | LC_ALL=C sort | tr '\n' '\0'
}
