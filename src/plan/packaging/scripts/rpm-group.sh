# join_group NAME GROUP: makes a user a member of a group
join_group() {
	getent group "$2" >/dev/null || groupadd -r "$2"
	usermod -a -G "$2" "$1"
}
