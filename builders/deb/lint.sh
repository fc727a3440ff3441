#!/bin/sh
# lint.sh prepare | check FILE…: lintian. See builders/README.md
set -eu

command=$1
shift
case $command in
prepare)
    # shellcheck source=/dev/null
    . /packhold/apt.sh
    apt_update
    apt_get install lintian
    apt_clean
    ;;
check)
    said=$(mktemp -d)
    trap 'rm -rf "$said"' EXIT
    # lintian(1). --no-cfg: no configuration file has a say. --fail-on none: any other status than 0 is a failure.
    # The changelog's newest entry is dated by the commit, which may be as old as the entry before it.
    if ! lintian --allow-root --no-cfg --fail-on none --tag-display-limit 0 --display-info --color never \
        --suppress-tags latest-changelog-entry-without-new-date "$@" \
        >"$said/findings" 2>"$said/errors"; then
        cat "$said/findings" "$said/errors" >&2
        exit 1
    fi
    # "W: PACKAGE[ TYPE]: TAG[ DETAIL]"; all other lines are commentary.
    awk -v OFS='\t' '
        BEGIN { levels["E"] = "error"; levels["W"] = "warning" }
        match($0, /^[A-MO-Z]: [a-z0-9][a-z0-9+.-]*( [a-z]+)?: [^ \t]+/) {
            count = split(substr($0, 1, RLENGTH), words, " ")
            level = substr($0, 1, 1)
            package = words[2]
            sub(/:$/, "", package)
            print level in levels ? levels[level] : "info", words[count], package, substr($0, RLENGTH + 2)
        }
    ' "$said/findings"
    ;;
*)
    echo "lint.sh: unknown command: $command" >&2
    exit 2
    ;;
esac
