#!/bin/sh -eu
# Build dependencies: the pipeline's own list (Debian package names here), then what the packaging declares (rpm names),
# provided by Debian packages and confirmed by rpm.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

apt_update
if [ -n "$PACKHOLD_DEPS" ]; then
	# shellcheck disable=SC2086 # a space-separated list
	apt_install $PACKHOLD_DEPS
	/bin/sh -eu /packhold/userland.sh
fi

if [ -s "$PACKHOLD_DECLARED" ]; then
	# A package that requires at run time what the spec requires at build time, for rpm to judge by its own rules.
	probe=$(
		empty_rpm <<-EOF
			Name: packhold-builddeps
			Version: 1
			Release: 1
			Summary: Build dependencies
			License: none
			BuildArch: noarch
			$(sed 's/^/Requires: /' "$PACKHOLD_DECLARED")
			%description
			Build dependencies.
			%files
		EOF
	)
	mv "$probe" /tmp/builddeps.rpm
	/bin/sh -eu /packhold/satisfy.sh /tmp/builddeps.rpm
	missing=$(unmet /tmp/builddeps.rpm)
	rm -f /tmp/builddeps.rpm
	if [ -n "$missing" ]; then
		printf '%s\n' "$missing" | sed 's/^/packhold: missing-dependency: /'
		exit 3
	fi
fi
apt_clean
