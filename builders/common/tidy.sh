#!/bin/sh
# tidy.sh PATH…: the last step before an image is stored. Removes what served its making, and gives everything that was written
# since the container began one fixed time, so that an image which is made again of the same packages is the same image.
# Files of packages have the times that their packages say.

# 2000-01-01 00:00:00 UTC, as bootstrapped base images have it.
epoch=946684800

# When process 1 began, in seconds since 1970 (proc(5): stat has it after the name, which may hold spaces, in ticks of a
# hundredth of a second since boot, and uptime says when that was), and a second earlier to be sure.
began() {
    read -r up _ </proc/uptime
    read -r stat </proc/1/stat
    # shellcheck disable=SC2086 # words are meant
    set -- ${stat##*) }
    shift 19
    echo $(($(date +%s) - ${up%.*} + $1 / 100 - 1))
}

# Read as a whole before it runs, since it removes itself.
tidy() {
    since=$(began)
    rm -rf "$@"
    # Folders too: they were written when something in them was made or removed. What is mounted belongs to the engine.
    # A file that belongs to the engine may refuse, and is none of the image's.
    find / -xdev -newermt "@$since" ! -type s -exec touch --no-dereference --date="@$epoch" {} + 2>/dev/null || true
    exit 0
}
tidy "$@"
