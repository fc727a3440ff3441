# owned PATH OWNER MODE: gives a path its owner, unless the administrator has given it another (dpkg-statoverride(1), Policy 10.9.1)
owned() {
	if [ ! -L "$1" ] && ! dpkg-statoverride --list "$1" >/dev/null; then
		chown "$2" "$1"
		chmod "$3" "$1"
	fi
}
