#!/bin/sh -eu
# Half of the -devel packages are in CRB, which is off by default (Rocky Linux wiki, "Notes on CRB").
dnf -y install 'dnf-command(config-manager)'
dnf config-manager --set-enabled crb
