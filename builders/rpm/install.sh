#!/bin/sh -eu
# install.sh FILE…: installs package files with their dependencies. verify.sh judges the outcome.
exec dnf -y install "$@"
