#!/bin/sh -eu
# install.sh ACTION FILE…: installs package files with dnf, and nothing but what is here: no repository is asked. ACTION is
# install, install-without-docs, reinstall or downgrade. verify.sh judges the outcome.

action=$1
shift
# Images from registries leave documentation out by default (dnf.conf(5), tsflags).
flags=
if [ "$action" = install-without-docs ]; then
	action=install
	flags=nodocs
fi
exec dnf -y --disablerepo='*' --setopt=tsflags="$flags" "$action" "$@"
