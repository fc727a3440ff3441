# join_group NAME GROUP: makes a user a member of a group
join_group() {
	addgroup --quiet --system "$2"
	adduser --quiet "$1" "$2"
}
