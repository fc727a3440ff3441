#!/bin/sh -eu
# install.sh FILE…: installs package files with their dependencies. verify.sh judges the outcome.

# zypper(8), exit codes: 102 and 103 ask for a restart after success.
status=0
zypper --non-interactive install --allow-unsigned-rpm "$@" || status=$?
case $status in
102 | 103) ;;
*) exit "$status" ;;
esac
