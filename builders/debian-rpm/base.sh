#!/bin/sh -eu
# Makes a Debian userland into one that rpm and dnf work on: their packages, their database, and in it the truth
# about what Debian has installed.

# shellcheck disable=SC1091 # in the container
. /packhold/debian.sh

# netbase: /etc/protocols and /etc/services are in every rpm distro's package `setup`, so no package requires them.
apt_update
apt_install rpm dnf netbase
apt_clean

# Nothing runs as a service in here (invoke-rc.d(8) asks policy-rc.d).
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

mkdir -p /usr/lib/rpm/macros.d /etc/rpm
cp /packhold/macros.systemd /usr/lib/rpm/macros.d/
cp /packhold/macros.userland /etc/rpm/
cp /packhold/rpmrc /etc/rpmrc
cp /packhold/sysusers.generate-pre.sh /usr/lib/rpm/sysusers.generate-pre.sh
chmod 755 /usr/lib/rpm/sysusers.generate-pre.sh

# Folders that belong to the package `filesystem` of rpm distros, so that they stay when a package with a file in them goes.
mkdir -p /etc/cron.d /etc/logrotate.d /etc/sysconfig /etc/sysctl.d /etc/tmpfiles.d /usr/lib/sysctl.d /usr/lib/systemd/system \
	/usr/lib/sysusers.d /usr/lib/tmpfiles.d /usr/share/licenses

# rpm distros leave services disabled until the administrator enables them (systemd.preset(5)); Debian has no preset.
mkdir -p /usr/lib/systemd/system-preset
echo 'disable *' >/usr/lib/systemd/system-preset/99-packhold.preset

# %{_libdir} is /usr/lib64, which Debian's loader does not search by itself.
echo /usr/lib64 >/etc/ld.so.conf.d/packhold-lib64.conf
ldconfig

rpm --initdb
/bin/sh -eu /packhold/userland.sh
