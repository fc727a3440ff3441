#!/bin/sh -eu
# Both package databases: Debian's, which holds nearly everything, and rpm's.
{
	dpkg-query -W -f '${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n' | sed -n 's/^installed\t//p'
	rpm -qa --qf '%{NAME}\t%{EVR}\t%{ARCH}\n'
} | LC_ALL=C sort
