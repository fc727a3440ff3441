# remove_empty FOLDER: removes a folder in which nothing is left
remove_empty() {
	if [ -d "$1" ]; then
		rmdir --ignore-fail-on-non-empty "$1"
	fi
}
