# remove_user NAME: adduser may be gone by now; the user then stays, locked
remove_user() {
	if command -v deluser >/dev/null; then
		deluser --quiet --system "$1" || true
	fi
}
