#!/bin/sh
# verify.sh COMMAND ARGUMENT…: see builders/README.md
set -eu

# states NAME…: NAME<TAB>STATE for each that the package database knows (dpkg-query(1), db:Status-Status).
states() {
    { dpkg-query --show --showformat='${Package}\t${db:Status-Status}\n' "$@" 2>/dev/null || :; } |
        grep -v '	not-installed$' || :
}

# Why the files cannot be installed together, in one line; from what apt-get said; nothing if that was not the failure.
conflict() {
    awk '
        /^The following packages have unmet dependencies:/ { unmet = 1; next }
        /^E: Unable to satisfy dependencies/ { unmet = 1 }
        /^E: Unable to correct problems/ { unmet = 0 }
        unmet || /^ trying to overwrite / || /^E: (Unable to locate|Packages were downgraded|Essential packages)/ {
            gsub(/[ \t]+/, " ")
            sub(/^(E:)? /, "")
            reason = reason (reason ? "; " : "") $0
        }
        END { print reason }'
}

command=$1
shift
case $command in
install)
    # shellcheck source=/dev/null
    . /packhold/apt.sh
    # apt-get takes an argument for a file only if it has a slash.
    for file; do
        shift
        set -- "$@" "$(realpath "$file")"
    done
    any() { [ -e "$1" ]; }
    any /var/lib/apt/lists/*_Packages* || apt_update
    # Without --reinstall, a package that the image has in a version just like ours would be left as it is.
    if ! apt_get install --reinstall "$@"; then
        reason=$(apt_said | conflict)
        [ -n "$reason" ] || exit 1
        echo "packhold: install-conflict: $reason"
        exit 5
    fi
    apt-get clean
    ;;
installed)
    dpkg-query --show --showformat='${db:Status-Status}\t${Package}\t${Version}\n' "$@" 2>/dev/null |
        sed -n 's/^installed\t//p'
    ;;
remove | purge)
    # shellcheck source=/dev/null
    . /packhold/apt.sh
    # apt-get fails for a name that it has never heard of.
    known=$(states "$@" | cut -f 1)
    # shellcheck disable=SC2086 # a list
    [ -z "$known" ] || apt_get "$command" $known
    ;;
residue)
    states "$@"
    for name; do
        # dpkg-divert(1): a diversion outlives the package that forgets to take it back.
        dpkg-divert --list | grep " by $name\$" || :
    done
    ;;
info)
    # shellcheck disable=SC2016 # dpkg-deb's variables
    dpkg-deb --show --showformat='${Package}\t${Version}\t${Architecture}\n' "$1"
    ;;
*)
    echo "verify.sh: unknown command: $command" >&2
    exit 2
    ;;
esac
