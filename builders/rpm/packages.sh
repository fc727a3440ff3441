#!/bin/sh -eu
# gpg-pubkey is a key in the package database, not a package.
rpm -qa --qf '%{NAME}\t%{EVR}\t%{ARCH}\t\t%{SHA256HEADER}\n' | grep -v '^gpg-pubkey	' | LC_ALL=C sort
