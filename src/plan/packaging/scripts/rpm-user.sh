# make_user NAME HOME SHELL DESCRIPTION: rpm 4.19 and newer have made the user from the sysusers file by now
make_user() {
	getent group "$1" >/dev/null || groupadd -r "$1"
	getent passwd "$1" >/dev/null || useradd -r -g "$1" -d "$2" -M -s "$3" -c "$4" "$1"
}
