#!/bin/sh -eu
# sysusers.generate-pre.sh FILE…: prints shell commands that create the users and groups of sysusers.d(5) files, for the %pre of
# a package (macro %sysusers_create_compat). They need no systemd at installation, only shadow-utils.
cat "$@" | awk '
	# Fields are separated by blanks; a quoted field may contain them.
	function field(   text) {
		sub(/^[ \t]+/, "")
		if (/^"/) { match($0, /^"[^"]*"/); text = substr($0, 2, RLENGTH - 2) }
		else { match($0, /^[^ \t]*/); text = substr($0, 1, RLENGTH) }
		$0 = substr($0, RLENGTH + 1)
		return text
	}
	function given(text) { return text != "" && text != "-" }
	function quoted(text) { gsub(/\047/, "\047\\\047\047", text); return "\047" text "\047" }
	/^[ \t]*(#|$)/ { next }
	{
		type = field(); name = field(); id = field(); comment = field(); home = field(); shell = field()
		sub(/!$/, "", type)
		if (type == "g") {
			print "getent group " quoted(name) " >/dev/null || groupadd -r " (id ~ /^[0-9]+$/ ? "-g " id " " : "") quoted(name)
		} else if (type == "u") {
			uid = id; group = name
			if (id ~ /:/) { split(id, ids, ":"); uid = ids[1]; group = ids[2] }
			else print "getent group " quoted(name) " >/dev/null || groupadd -r " (id ~ /^[0-9]+$/ ? "-g " id " " : "") quoted(name)
			print "getent passwd " quoted(name) " >/dev/null || useradd -r -M " (uid ~ /^[0-9]+$/ ? "-u " uid " " : "") \
				"-g " quoted(group) " -d " quoted(given(home) ? home : "/") \
				" -s " quoted(given(shell) ? shell : "/usr/sbin/nologin") \
				(given(comment) ? " -c " quoted(comment) : "") " " quoted(name)
		} else if (type == "m") {
			print "getent group " quoted(id) " >/dev/null || groupadd -r " quoted(id)
			print "if id -u " quoted(name) " >/dev/null 2>&1; then usermod -a -G " quoted(id) " " quoted(name) "; fi"
		}
	}
'
