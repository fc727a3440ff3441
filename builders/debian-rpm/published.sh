#!/bin/sh -eu
# published.sh COMMAND ARGUMENT…: see builders/README.md. What the packages need is Debian's: it is installed first, as their files ask.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

dnf() {
	command dnf -y --setopt=install_weak_deps=False "$@"
}

# satisfy NAME…: installs of Debian what these packages of the repository need.
satisfy() {
	rm -rf /tmp/packhold-published
	mkdir -p /tmp/packhold-published
	for address in $(dnf -q repoquery --location "$@"); do
		/usr/lib/apt/apt-helper download-file "$address" "/tmp/packhold-published/${address##*/}"
	done
	set -- /tmp/packhold-published/*.rpm
	if [ -n "$(unmet "$@")" ]; then
		apt_update
		/bin/sh -eu /packhold/satisfy.sh "$@"
		/bin/sh -eu /packhold/userland.sh
	fi
}

command=$1
shift
case $command in
subscribe)
	mkdir -p /etc/yum.repos.d
	cp /packhold/published/repository /etc/yum.repos.d/packhold-published.repo
	chmod 644 /etc/yum.repos.d/packhold-published.repo
	# By default dnf goes on without a repository that does not answer, or is not signed as it should be.
	dnf --setopt='*.skip_if_unavailable=0' makecache
	;;
install | upgrade)
	for wanted; do
		shift
		set -- "$@" "${wanted%%=*}-${wanted#*=}"
	done
	satisfy "$@"
	dnf "$command" "$@"
	;;
*)
	echo "published.sh: no such command: $command" >&2
	exit 2
	;;
esac
