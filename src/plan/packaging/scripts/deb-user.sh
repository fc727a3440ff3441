# make_user NAME HOME SHELL DESCRIPTION: makes a user of the system and its group, unless they are there
make_user() {
	adduser --quiet --system --group --home "$2" --no-create-home --shell "$3" --gecos "$4" "$1"
}
