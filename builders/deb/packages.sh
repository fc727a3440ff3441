#!/bin/sh
# NAME<TAB>VERSION<TAB>ARCH<TAB>SHA256 of every installed package.
set -eu
sh /packhold/dpkg.sh | LC_ALL=C sort
