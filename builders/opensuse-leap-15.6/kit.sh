#!/bin/sh -eu
# builder image → image with /packhold-kit: what varies the conditions of a build

zypper --non-interactive install --no-recommends gcc glibc-devel glibc-i18ndata
# vary.sh says if there is none.
zypper --non-interactive install --no-recommends libfaketime || true
zypper clean --all
/bin/sh -eu /packhold/vary.sh kit
