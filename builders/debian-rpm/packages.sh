#!/bin/sh -eu
# Both package databases: Debian's, which holds nearly everything, and rpm's, whose packages were made here and are in no index.
{
	sh /packhold/dpkg.sh
	# A bare userland has no rpm.
	! command -v rpm >/dev/null || rpm -qa --qf '%{NAME}\t%{EVR}\t%{ARCH}\t\t%{SHA256HEADER}\n'
} | LC_ALL=C sort
