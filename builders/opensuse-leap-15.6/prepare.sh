#!/bin/sh -eu
# The packaging tools, under openSUSE's names, and the user that builds.

zypper --non-interactive install --no-recommends \
	rpm-build \
	bzip2 cpio diffutils file findutils gawk grep gzip patch sed shadow tar unzip util-linux which xz zstd

groupadd --gid 10000 packhold
useradd --uid 10000 --gid 10000 --home-dir /build --no-create-home --no-log-init --shell /bin/sh packhold
mkdir -p /build
chown packhold:packhold /build

zypper clean --all
