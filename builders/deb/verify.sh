#!/bin/sh
# verify.sh COMMAND ARGUMENT…: see builders/README.md
set -eu
# shellcheck source=/dev/null
. /packhold/look.sh

# Where `provide` keeps what `left` may need.
kept=/var/cache/packhold/logrotate

# known NAME…: those that the package database knows, installed or with configuration left (dpkg-query(1), db:Status-Status).
known() {
    { dpkg-query --show --showformat='${Package}\t${db:Status-Status}\n' "$@" 2>/dev/null || :; } |
        sed -n '/\tnot-installed$/!s/\t.*//p' | sort -u
}

# names FILE…: the packages in these files.
names() {
    # shellcheck disable=SC2016 # dpkg-deb's variables
    for file; do dpkg-deb --show --showformat='${Package}\n' "$file"; done | sort -u
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

# name_script: which maintainer script failed, in dpkg's words: "installed NAME package post-installation script subprocess
# returned error exit status 1", with the script's name.
name_script() {
    apt_said | sed -nE 's/^ *(dpkg: warning: )?(.* script subprocess .*)/packhold: script-failed: \2/p' | head -n 1 |
        sed 's/pre-installation/preinst (&)/; s/post-installation/postinst (&)/; s/pre-removal/prerm (&)/
            s/post-removal/postrm (&)/'
}

fail_on_conflict() {
    reason=$(apt_said | conflict)
    [ -n "$reason" ] || {
        name_script
        exit 1
    }
    echo "packhold: install-conflict: $reason"
    exit 5
}

# dpkg goes on if a script of the old version fails and the new version's makes up for it, and says so (Policy 6.6).
fail_on_scripts() {
    failed=$(apt_said | sed -n '/trying script from the new package instead/{g;s/^.*warning: //p;};h' | head -n 1)
    [ -z "$failed" ] || {
        echo "packhold: scriptlet-failed: $failed"
        exit 6
    }
}

# install_files OPTION… -- FILE…
install_files() {
    # shellcheck source=/dev/null
    . /packhold/apt.sh
    silence "${scratch:?}"
    options=
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    # apt-get takes an argument for a file only if it has a slash.
    for file; do
        shift
        set -- "$@" "$(realpath "$file")"
    done
    # shellcheck disable=SC2046 # a list
    before=$(known $(names "$@"))
    # Without --reinstall, a package that is there in a version just like ours would be left as it is.
    # A configuration file that was changed stays, and nobody is asked (dpkg(1)).
    # shellcheck disable=SC2086 # a list
    apt_get install --reinstall $options \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" || fail_on_conflict
    fail_on_scripts
    # On a system that never had these packages there is nothing to ask: a question there is a fault of the package
    # (Policy 10.7.3), although the options above answered it.
    if [ -z "$before" ] && apt_said | grep -q 'File on system created by you or by a script'; then
        echo 'verify.sh: a script of the package made a configuration file before dpkg installed it' >&2
        exit 1
    fi
    apt-get clean
}

# needed: what apt-get would install beside the packages of the files, NAME=VERSION each.
# Inst NAME[:ARCH] [OLD VERSION] (VERSION ARCHIVE… [ARCH]) …
needed() {
    apt_said | sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\{0,1\}(\([^ ]*\) .*/\1 \3/p' |
        awk 'NR == FNR { own[$1]; next } { name = $1; sub(/:.*/, "", name) } !(name in own) { print $1 "=" $2 }' "${scratch:?}/own" -
}

command=$1
shift
case $command in
provide)
    # shellcheck source=/dev/null
    . /packhold/apt.sh
    for file; do
        shift
        set -- "$@" "$(realpath "$file")"
    done
    names "$@" >"$scratch/own"
    rotates=no
    for file; do
        ! dpkg-deb --fsys-tarfile "$file" | tar -t | grep -q '^\(\./\)\{0,1\}etc/logrotate\.d/.' || rotates=yes
    done
    # No mirror is asked for what is here already.
    if [ $rotates = no ] || [ -d "$kept" ]; then
        if apt_get install --simulate --reinstall --allow-downgrades "$@" >/dev/null 2>&1 && [ -z "$(needed)" ]; then exit 0; fi
    fi
    apt_update
    apt_get install --simulate --reinstall --allow-downgrades "$@" || fail_on_conflict
    needed=$(needed)
    # shellcheck disable=SC2086 # a list
    [ -z "$needed" ] || apt_get install --mark-auto $needed || fail_on_conflict
    if [ $rotates = yes ]; then
        mkdir -p "$kept/partial"
        apt_get install --download-only -o "Dir::Cache::archives=$kept/" logrotate || fail_on_conflict
        rm -rf "$kept/partial" "$kept/lock"
    fi
    apt_clean
    ;;
install) install_files -- "$@" ;;
install-without-docs)
    # dpkg(1), --path-exclude
    install_files -o 'Dpkg::Options::=--path-exclude=/usr/share/doc/*' \
        -o 'Dpkg::Options::=--path-exclude=/usr/share/man/*' \
        -o 'Dpkg::Options::=--path-exclude=/usr/share/info/*' -- "$@"
    ;;
downgrade) install_files --allow-downgrades -- "$@" ;;
installed)
    dpkg-query --show --showformat='${db:Status-Status}\t${Package}\t${Version}\n' "$@" 2>/dev/null |
        sed -n 's/^installed\t//p'
    ;;
remove | purge)
    # shellcheck source=/dev/null
    . /packhold/apt.sh
    silence "${scratch:?}"
    # apt-get fails for a name that it has never heard of.
    names=$(known "$@")
    # shellcheck disable=SC2086 # a list
    [ -z "$names" ] || apt_get "$command" $names || {
        name_script
        exit 1
    }
    ;;
info)
    # shellcheck disable=SC2016 # dpkg-deb's variables
    dpkg-deb --show --showformat='${Package}\t${Version}\t${Architecture}\n' "$1"
    ;;
compare)
    if dpkg --compare-versions "$1" lt "$2"; then
        echo lower
    elif dpkg --compare-versions "$1" eq "$2"; then
        echo equal
    else
        echo higher
    fi
    ;;
needs)
    # The version of one of the files is written as @, with its revision or without.
    # shellcheck disable=SC2016 # dpkg-deb's variables
    versions=$(for file; do dpkg-deb --show --showformat='${Version}\n' "$file"; done | sed 'p; s/-[^-]*$//' | sort -u)
    for file; do
        dpkg-deb --field "$file" Package Pre-Depends Depends Conflicts Breaks Replaces Provides
        ! dpkg-deb --fsys-tarfile "$file" | tar -t | grep -q '^\(\./\)\{0,1\}etc/logrotate\.d/.' || echo 'Files: /etc/logrotate.d'
    done | awk -v versions="$versions" '
        BEGIN { count = split(versions, list, "\n"); for (n = 1; n <= count; n++) own[list[n]] }
        /^[^ ]*:/ { field = $1 }
        {
            sub(/^[^ ]*:/, "")
            parts = split($0, relations, ",")
            for (n = 1; n <= parts; n++) {
                relation = relations[n]
                gsub(/[ \t]+/, " ", relation)
                gsub(/^ | $/, "", relation)
                if (relation == "") continue
                words = split(relation, word, " ")
                line = field
                for (w = 1; w <= words; w++) {
                    version = word[w]
                    sub(/\)$/, "", version)
                    line = line " " (word[w] ~ /\)$/ && version in own ? "@)" : word[w])
                }
                print line
            }
        }' | LC_ALL=C sort -u
    ;;
altered)
    # shellcheck disable=SC2046 # a list
    set -- $(known "$@")
    # "??5??????   PATH" or "missing     PATH"; c before the path of a configuration file (dpkg(1), --verify).
    [ $# -eq 0 ] || { dpkg --verify "$@" 2>/dev/null || :; } |
        sed -nE 's/^missing +(c +)?(\/.*)$/\2\tmissing/p; /^.{9,10} c /d; s/^..5[^ ]* +(\/.*)$/\1\tcontent/p'
    ;;
conffiles)
    # " PATH CHECKSUM[ obsolete]"
    { dpkg-query --show --showformat='${Conffiles}\n' "$@" 2>/dev/null || :; } |
        sed -nE 's/^ (\/.*) ([0-9a-f]{32}|newconffile)( remove-on-upgrade)?$/\1\t\2/p' | LC_ALL=C sort -u |
        while IFS="${tab:?}" read -r path sum; do
            if [ ! -f "$path" ]; then
                how=missing
            elif [ "$(md5sum <"$path" | cut -d ' ' -f 1)" = "$sum" ]; then
                how=same
            else
                how=changed
            fi
            printf '%s\t%s\n' "$path" "$how"
        done
    ;;
contents)
    for file; do dpkg-deb --fsys-tarfile "$file" | tar -t | sed 's,^\(\./\)\{0\,1\}/*,/,'; done | LC_ALL=C sort -u
    ;;
files) files "$@" ;;
shared) shared "$@" ;;
state) state ;;
waiting) waiting ;;
left) left "$@" ;;
*)
    echo "verify.sh: unknown command: $command" >&2
    exit 2
    ;;
esac
