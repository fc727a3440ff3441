#!/bin/sh -eu
# builder image → image with /packhold-kit: what varies the conditions of a build

dnf -y --setopt=install_weak_deps=False install gcc glibc-devel glibc-locale-source
# Not every distro of the family has it; vary.sh then says so.
dnf -y --setopt=install_weak_deps=False install libfaketime || true
dnf clean all
/bin/sh -eu /packhold/vary.sh kit
