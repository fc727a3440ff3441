#!/bin/sh -eu
# The packaging tools of a dnf distro, and the user that builds.

# A builder whose build dependencies are spread over more repositories than are enabled by default says so in a
# file of its own; verify does without them, as an ordinary machine does.
if [ -f /packhold/repositories.sh ]; then
	/bin/sh -eu /packhold/repositories.sh
fi

# No weak dependencies: a build must say what it needs. Beside rpm-build stand the tools that Fedora's own build
# system puts into every build root (comps group "buildsys-build"). coreutils is left out: every image has it, some as
# coreutils-single, with which it conflicts.
dnf -y --setopt=install_weak_deps=False install \
	rpm-build \
	bzip2 cpio diffutils file findutils gawk grep gzip patch sed shadow-utils tar unzip util-linux which xz zstd

groupadd --gid 10000 packhold
useradd --uid 10000 --gid 10000 --home-dir /build --no-create-home --no-log-init --shell /bin/sh packhold
mkdir -p /build
chown packhold:packhold /build

dnf clean all
