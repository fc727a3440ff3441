#!/bin/sh -eu
# published.sh COMMAND ARGUMENT…: see builders/README.md. The keys are taken from where the repository's description says.

command=$1
shift
case $command in
subscribe)
	cp /packhold/published/repository /etc/yum.repos.d/packhold-published.repo
	chmod 644 /etc/yum.repos.d/packhold-published.repo
	# By default dnf goes on without a repository that does not answer, or is not signed as it should be.
	dnf -y --setopt='*.skip_if_unavailable=0' makecache
	;;
install | upgrade)
	for wanted; do
		shift
		# NAME=VERSION is NAME-VERSION to dnf.
		set -- "$@" "${wanted%%=*}-${wanted#*=}"
	done
	dnf -y --setopt=install_weak_deps=False "$command" "$@"
	;;
*)
	echo "published.sh: no such command: $command" >&2
	exit 2
	;;
esac
