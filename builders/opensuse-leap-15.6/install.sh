#!/bin/sh -eu
# install.sh ACTION FILE…: installs package files with zypper, and nothing but what is here: no repository is asked. ACTION is
# install, install-without-docs, reinstall or downgrade. verify.sh judges the outcome.

action=$1
shift
# Images from registries leave documentation out by default (zypp.conf, rpm.install.excludedocs).
docs=no
options=
case $action in
install-without-docs) docs=yes ;;
reinstall) options=--force ;;
downgrade) options=--oldpackage ;;
esac
ZYPP_CONF=$(mktemp)
export ZYPP_CONF
{
	grep -v '^[[:space:]]*rpm\.install\.excludedocs' /etc/zypp/zypp.conf
	echo "rpm.install.excludedocs = $docs"
} >"$ZYPP_CONF"

# zypper(8), exit codes: 102 and 103 ask for a restart after success. An empty folder of repositories: none is asked.
status=0
repositories=$(mktemp -d)
# shellcheck disable=SC2086 # none or one
zypper --non-interactive --reposd-dir "$repositories" install --no-recommends --allow-unsigned-rpm $options "$@" || status=$?
rm -rf "$ZYPP_CONF" "$repositories"
case $status in
102 | 103) ;;
*) exit "$status" ;;
esac
