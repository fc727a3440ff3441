#!/bin/sh
# NAME<TAB>VERSION<TAB>ARCH of every installed package
set -eu
dpkg-query --show --showformat='${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n' |
    sed -n 's/^installed\t//p' |
    LC_ALL=C sort
