#!/bin/sh -eu
# The packaging tools, and the user that builds. rpmbuild itself is in the base image (Debian's package rpm has it); the rest
# is what the rpm family's prepare.sh installs, under Debian's names.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

apt_update
apt_install \
	binutils bzip2 cpio createrepo-c debugedit diffutils elfutils file findutils gawk grep gzip patch sed tar unzip \
	util-linux xz-utils zstd
apt_clean
/bin/sh -eu /packhold/userland.sh

groupadd --gid 10000 packhold
useradd --uid 10000 --gid 10000 --home-dir /build --no-create-home --no-log-init --shell /bin/sh packhold
mkdir -p /build
chown packhold:packhold /build
