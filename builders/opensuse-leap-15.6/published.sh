#!/bin/sh -eu
# published.sh COMMAND ARGUMENT…: see builders/README.md. zypper instead of dnf.

command=$1
shift
case $command in
subscribe)
	cp /packhold/published/repository /etc/zypp/repos.d/packhold-published.repo
	chmod 644 /etc/zypp/repos.d/packhold-published.repo
	zypper --non-interactive --gpg-auto-import-keys refresh packhold-published
	;;
install | upgrade)
	for wanted; do
		shift
		set -- "$@" "${wanted%%=*}=${wanted#*=}"
	done
	zypper --non-interactive install --no-recommends "$@"
	;;
*)
	echo "published.sh: no such command: $command" >&2
	exit 2
	;;
esac
