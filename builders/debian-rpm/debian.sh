#!/bin/sh -eu
# Sourced: what the scripts of this builder share. apt without questions or recommended packages, and its failures told apart.
export DEBIAN_FRONTEND=noninteractive

apt() {
	apt-get -q -o Acquire::Retries=3 -o APT::Install-Recommends=false "$@"
}

mirror_unreachable() {
	echo 'packhold: mirror-unreachable'
	exit 4
}

# Lists that were fetched in this run already are in /packhold/lists. Error-Mode=any: by default apt goes on with old lists, or none, when a mirror does not answer. A
# mirror in the middle of its own update is tried again.
apt_update() {
	if [ -d /packhold/lists ]; then
		cp -a /packhold/lists/. /var/lib/apt/lists/
		return
	fi
	for pause in 2 10 0; do
		if apt -o APT::Update::Error-Mode=any update; then return; fi
		sleep "$pause"
	done
	mirror_unreachable
}

# apt_install PACKAGE…: resolve, then download, then install, so that the step which fails tells the reason.
apt_install() {
	if ! apt --simulate install "$@" >/tmp/apt.log 2>&1; then
		cat /tmp/apt.log
		unknown=$(sed -n "s/^E: Unable to locate package //p; s/^E: Package '\\(.*\\)' has no installation candidate/\\1/p; s/^E: Couldn't find any package by .* '\\(.*\\)'/\\1/p" /tmp/apt.log)
		if [ -n "$unknown" ]; then
			printf '%s\n' "$unknown" | sort -u | sed 's/^/packhold: missing-dependency: /'
		else
			# What cannot be installed together is named only in apt's explanation above.
			echo "packhold: missing-dependency: $*"
		fi
		exit 3
	fi
	rm -f /tmp/apt.log
	apt -y --download-only install "$@" >/dev/null || mirror_unreachable
	apt -y install "$@"
}

# What the base image may have is emptied and not removed: that a file is gone is kept with the time at which it went.
apt_clean() {
	apt-get clean
	find /var/lib/apt/lists -mindepth 1 -maxdepth 1 ! -name lock ! -name partial -exec rm -rf {} +
	# Lists of another container came with its times.
	find /var/lib/apt/lists -exec touch {} +
	for leftover in /var/log/apt/* /var/log/dpkg.log /var/log/alternatives.log /var/cache/debconf/*-old \
		/var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old; do
		[ ! -f "$leftover" ] || : >"$leftover"
	done
}

# empty_rpm: reads a spec file without %files from standard input, prints the path of the package made from it.
empty_rpm() {
	rm -rf /tmp/packhold-rpm
	mkdir -p /tmp/packhold-rpm
	cat >/tmp/packhold-rpm/spec
	rpmbuild -bb --quiet --define '_topdir /tmp/packhold-rpm' /tmp/packhold-rpm/spec >&2
	find /tmp/packhold-rpm/RPMS -name '*.rpm'
}

# unmet FILE…: what these package files require and nothing installed, nor one of them, provides; one per line.
unmet() {
	rpm -U --test --replacepkgs --oldpackage "$@" 2>&1 |
		sed -n '/ is needed by (installed) /d; s/^[[:space:]]*\(.*\) is needed by .*/\1/p' | sort -u
}
