#!/bin/sh
# Sourced by verify.sh of both families: the commands that look at files and processes. family.sh says what the package
# database has to say.

# shellcheck source=/dev/null
. /packhold/family.sh

tab='	'

# silence DIR: makes standard input one that never ends and never says anything: a pipe that we hold open for writing as well.
# Its name is what `waiting` knows it by, in /proc/PID/fd.
silence() {
    mkfifo "$1/packhold-silence"
    exec <>"$1/packhold-silence"
    rm "$1/packhold-silence"
}

# lineage PID: its ancestors, itself first.
lineage() {
    ancestor=$1
    while [ "${ancestor:-0}" -gt 0 ]; do
        echo "$ancestor"
        ancestor=$(sed -n 's/^PPid:[[:blank:]]*//p' "/proc/$ancestor/status" 2>/dev/null || :)
    done
}

# processes: PID<TAB>COMMAND for each that runs but the first one, the kernel's, our ancestors, ourselves and our children.
processes() {
    ours=" $(lineage $$ | tr '\n' ' ')"
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        case $ours in *" $pid "*) continue ;; esac
        [ "$pid" != 1 ] || continue
        state=$(sed -n 's/^State:[[:blank:]]*\(.\).*/\1/p' "$process/status" 2>/dev/null || :)
        case $state in '' | Z | X) continue ;; esac
        case " $(lineage "$pid" | tr '\n' ' ')" in *" $$ "*) continue ;; esac
        # Only the kernel's threads have no command line.
        line=$(tr '\000-\037' ' ' <"$process/cmdline" 2>/dev/null || :)
        [ -z "$line" ] || printf '%s\t%s\n' "$pid" "${line% }"
    done
}

# waiting: PID<TAB>COMMAND<TAB>WHY, see builders/README.md.
waiting() {
    processes | sort -n | while IFS="$tab" read -r pid line; do
        why=runs
        case $(readlink "/proc/$pid/fd/0" 2>/dev/null || :) in
        */packhold-silence*)
            # /proc/PID/syscall: number, then arguments in hexadecimal. read(2) is 0 on amd64, 63 on arm64 and riscv64, 3 on
            # the others.
            case "$(cat "/proc/$pid/syscall" 2>/dev/null || :)/$(cat "/proc/$pid/wchan" 2>/dev/null || :)" in
            "0 0x0 "* | "63 0x0 "* | "3 0x0 "* | */pipe_read* | */anon_pipe_read* | */pipe_wait*) why='reads standard input' ;;
            esac
            ;;
        esac
        printf '%s\t%s\t%s\n' "$pid" "$line" "$why"
    done
}

# state: see builders/README.md.
state() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT

    # What is not looked at, as arguments of find(1). Mounts are left out (-xdev), but for the point of the mount itself.
    set -f
    set -- -path "$work"
    for path in /proc /sys /dev /packhold /packages; do set -- "$@" -o -path "$path"; done
    # Of /run only what is no mount: an init system has a tmpfs there.
    if [ "$(stat -c %d /run)" != "$(stat -c %d /)" ]; then set -- "$@" -o -path /run; fi
    while IFS= read -r pattern || [ -n "$pattern" ]; do
        case $pattern in '' | '#'*) continue ;; esac
        set -- "$@" -o -path "$pattern"
    done </packhold/churn
    set +f

    # A file that goes away between its listing and its checksum makes two lists that do not match: once more.
    for attempt in 1 2 3 4 5; do
        find / -xdev \( "$@" \) -prune -o \
            -type d -printf 'file\t%y\t%m\t%u:%g\t\t%p\0' -o \
            -type l -printf 'file\t%y\t%m\t%u:%g\t%l\t%p\0' -o \
            -type f \( -path '/etc/*' -o -path '/var/*' -o -path '/opt/*' -o -path '/srv/*' -o -path '/root/*' \) \
            -fprintf "$work/heads" 'file\t%y\t%m\t%u:%g\t\0' -fprint0 "$work/hashed" -o \
            -type f -printf 'file\t%y\t%m\t%u:%g\t%s:%T@\t%p\0' -o \
            -printf 'file\t%y\t%m\t%u:%g\t\t%p\0' >"$work/plain" 2>/dev/null || :
        # -z: names are not escaped, records end with a NUL.
        xargs -0 -r sha256sum -z -- <"$work/hashed" 2>/dev/null |
            sed -z 's/^\([0-9a-f]*\)  /\1\t/' >"$work/sums" || :
        [ "$(tr -cd '\000' <"$work/sums" | wc -c)" -ne "$(tr -cd '\000' <"$work/heads" | wc -c)" ] || break
        [ "$attempt" -lt 5 ] || {
            echo 'packhold: files come and go all the time' >&2
            return 1
        }
    done
    {
        # Images keep whole seconds.
        sed -z 's/^\(file\tf\t[^\t]*\t[^\t]*\t[0-9]*:[0-9]*\)\.[0-9]*\t/\1\t/' "$work/plain"
        paste -z -d '\0' "$work/heads" "$work/sums"
    } | LC_ALL=C sort -z -t "$tab" -k 6

    cut -d : -f 1 /etc/passwd | LC_ALL=C sort | sed "s/^/user$tab/" | tr '\n' '\0'
    cut -d : -f 1 /etc/group | LC_ALL=C sort | sed "s/^/group$tab/" | tr '\n' '\0'
    package_state
    processes | sort -n | sed "s/^/process$tab/" | tr '\n' '\0'
}

# machine FILE: e_machine of an ELF file, in its own byte order (elf(5)).
machine() {
    case $(od -An -tx1 -j 5 -N 1 "$1") in
    *02) order=big ;;
    *) order=little ;;
    esac
    od -An -tu2 --endian=$order -j 18 -N 2 "$1" | tr -d ' '
}

# loader: the dynamic loader of this machine's own programs.
loader() {
    for candidate in /lib64/ld-linux-*.so.* /lib64/ld64.so.* /lib/ld-linux-*.so.* /lib/ld64.so.*; do
        if [ -x "$candidate" ] && [ "$(machine "$candidate")" = "$(machine /bin/sh)" ]; then
            echo "$candidate"
            return
        fi
    done
}

# missing_libraries FILE: what the loader does not find, separated by commas; a symbol version that is not there as
# LIBRARY(VERSION). The loader is asked for a list and runs nothing of the file (ld.so(8), --list).
missing_libraries() {
    [ -n "$loader" ] && [ "$(machine "$1")" = "$own_machine" ] || return 0
    { "$loader" --list "$1" 2>&1 || :; } | sed -n "
        s/^[[:blank:]]*\([^[:blank:]]*\) => not found\$/\1/p
        s/^.*: error while loading shared libraries: \([^:]*\): cannot open shared object file.*/\1/p
        s/^.*[/ ]\([^/ ]*\): version \`\([^']*\)' not found .*/\1(\2)/p" |
        LC_ALL=C sort -u | tr '\n' ',' | sed 's/,$//'
}

# interpreter FILE: of a script what is to run it, nothing of another file. A name without a slash is one that env(1) looks for.
interpreter() {
    head -c 512 "$1" | LC_ALL=C tr -d '\000\r' | sed -n '1s/^#![[:blank:]]*//p' | {
        read -r program arguments || :
        case $program in
        */env)
            for word in $arguments; do
                case $word in
                -* | *=*) ;;
                *)
                    program=$word
                    break
                    ;;
                esac
            done
            ;;
        esac
        echo "$program"
    }
}

# detail FILE: what `files` says of a regular file.
detail() {
    case $(od -An -tx1 -N 4 "$1" | tr -d ' ') in
    7f454c46) printf 'elf:%s:%s' "$(machine "$1")" "$(missing_libraries "$1")" ;;
    2321*)
        set -f
        program=$(interpreter "$1")
        set +f
        case $program in
        /*) if [ -x "$program" ]; then there=ok; else there=missing; fi ;;
        *) if [ -n "$program" ] && command -v -- "$program" >/dev/null; then there=ok; else there=missing; fi ;;
        esac
        # Without a path it is one only if someone means to run it: #![attribute] begins files of Rust.
        case $program in
        /*) ;;
        *) [ -x "$1" ] || return 0 ;;
        esac
        printf 'script:%s:%s' "$program" "$there"
        ;;
    esac
}

# files NAME…: see builders/README.md.
files() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    loader=$(loader)
    own_machine=$(machine /bin/sh)
    for name; do
        package_paths "$name" | tr '\n' '\0' >"$work/paths"
        head="%y\t%m\t%u:%g\t$(printf %s "$name" | sed 's/[%\\]/&&/g')"
        # What is not there any more is no error.
        {
            xargs -0 -r sh -c 'find "$@" -maxdepth 0 \
                '"-type f -fprint0 $work/part -o \
                -xtype l -printf '$head\t%l\tdangling\t%p\0' -o \
                -type l -printf '$head\t%l\tok\t%p\0' -o \
                -printf '$head\t\t%p\0' 2>/dev/null; cat $work/part >>$work/regular" sh <"$work/paths" || :
        }
        [ -e "$work/regular" ] || continue
        LC_ALL=C sort -z -u "$work/regular" >"$work/sorted"
        # Those that may be programs: some line begins as the first line of one does.
        { LC_ALL=C xargs -0 -r grep -lasZ -e '^.ELF' -e '^#!' -- <"$work/sorted" || :; } |
            LC_ALL=C sort -z -u >"$work/programs"
        LC_ALL=C comm -z -23 "$work/sorted" "$work/programs" |
            xargs -0 -r sh -c 'find "$@" -maxdepth 0 -printf '"'$head\t\t%p\0'" sh
        tr '\000' '\n' <"$work/programs" | while IFS= read -r path; do
            find "$path" -maxdepth 0 -printf "$head\t"
            detail "$path"
            printf '\t%s\0' "$path"
        done
        rm -f "$work/regular" "$work/part"
    done
}

# shared NAME…: see builders/README.md.
shared() {
    {
        for name; do package_paths "$name" | sed "s/^/$name$tab/"; done
        echo
        all_paths
    } | awk -F "$tab" '
        $0 == "" { rest = 1; next }
        !rest { owner[$2] = owner[$2] " " $1 " "; next }
        ($2 in owner) && index(owner[$2], " " $1 " ") == 0 { print $2 "\t" $1 }
    ' | LC_ALL=C sort -u | while IFS="$tab" read -r path package; do
        [ -d "$path" ] || printf '%s\t%s\n' "$path" "$package"
    done
}

# --- left: what cron and logrotate still find of a package that was removed ---

# quiet PATH COMMAND…: runs it as cron does; what it prints would be mailed to the administrator. $allowed is yes if only
# a status that says "cannot be run" counts.
quiet() {
    of=$1
    shift
    status=0
    "$@" >"$work/said" 2>&1 </dev/null || status=$?
    if [ -s "$work/said" ]; then
        echo "packhold: cron-fails: $of: it prints: $(head -n 1 "$work/said")"
    elif [ "$status" -eq 126 ] || [ "$status" -eq 127 ] || { [ "$status" -ne 0 ] && [ "$allowed" = no ]; }; then
        echo "packhold: cron-fails: $of: exit status $status"
    else
        return 0
    fi
    touch "$work/failed"
}

# crontab PATH: each command of a system crontab as its user (crontab(5)).
crontab() {
    set -- "$1" PATH=/usr/bin:/bin SHELL=/bin/sh
    allowed=yes
    while IFS= read -r line || [ -n "$line" ]; do
        line=$(printf '%s\n' "$line" | sed 's/^[[:blank:]]*//')
        case $line in
        '' | '#'*) continue ;;
        esac
        # NAME = VALUE, either in quotes.
        assigned=$(printf '%s\n' "$line" | sed -n "s/^[\"']\{0,1\}\([A-Za-z_][A-Za-z0-9_]*\)[\"']\{0,1\}[[:blank:]]*=[[:blank:]]*/\1=/p" |
            sed "s/[[:blank:]]*\$//; s/=\"\(.*\)\"\$/=\1/; s/='\(.*\)'\$/=\1/")
        if [ -n "$assigned" ]; then
            set -- "$@" "$assigned"
            continue
        fi
        case $line in
        @*) fields=1 ;;
        *) fields=5 ;;
        esac
        rest=$(printf '%s\n' "$line" | sed "s/^\([^[:blank:]]\{1,\}[[:blank:]]\{1,\}\)\{$fields\}//")
        user=${rest%%[[:blank:]]*}
        # An unescaped % ends the command: the rest is its standard input.
        text=$(printf '%s\n' "$rest" | sed 's/^[^[:blank:]]*[[:blank:]]*//; s/\\%/\x01/g; s/%.*//; s/\x01/%/g')
        home=$(getent passwd "$user" | cut -d : -f 6)
        if ! getent passwd "$user" >/dev/null; then
            echo "packhold: cron-fails: $1: there is no user $user"
            touch "$work/failed"
            continue
        fi
        path=$1
        shift
        # The environment that the lines above made, SHELL included.
        shell=$(printf '%s\n' "$@" | sed -n 's/^SHELL=//p' | tail -n 1)
        if [ "$(id -u "$user")" = 0 ]; then
            quiet "$path" env -i -C / "HOME=$home" "LOGNAME=$user" "$@" "$shell" -c "$text"
        else
            quiet "$path" env -C / setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
                env -i "HOME=$home" "LOGNAME=$user" "$@" "$shell" -c "$text"
        fi
        set -- "$path" "$@"
    done <"$1"
}

# rotate ARGUMENT…: runs logrotate; where there is none, from the files that `provide` kept. They are unpacked beside the
# system, so that nothing that is looked at later changes.
rotate() {
    if command -v logrotate >/dev/null; then
        logrotate "$@"
        return
    fi
    root=$work/logrotate
    if [ ! -d "$root" ]; then
        mkdir "$root"
        for kept in /var/cache/packhold/logrotate/*; do
            case ${kept##*/} in
            logrotate*.deb | lib*.deb) dpkg-deb -x "$kept" "$root" ;;
            *.rpm)
                rpm -U --nodeps --noscripts --noplugins --dbpath "$work/logrotate.db" --badreloc --relocate "/=$root" \
                    "$kept" >/dev/null 2>&1 || :
                ;;
            esac
        done
    fi
    if [ ! -x "$root/usr/sbin/logrotate" ]; then
        echo 'verify.sh: there is no logrotate to run' >&2
        exit 1
    fi
    # What logrotate runs in its turn must not get these libraries.
    folders=$(find "$root" -type d \( -path '*/lib/*' -o -name lib -o -name lib64 \) | tr '\n' ':')
    "$(loader)" --library-path "$folders" "$root/usr/sbin/logrotate" "$@"
}

# left PATH…: see builders/README.md.
left() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for file; do
        # cron and run-parts(8) pass over names with other characters.
        case ${file##*/} in *[!A-Za-z0-9_-]*) unread=yes ;; *) unread=no ;; esac
        [ -f "$file" ] || continue
        case $file in
        /etc/cron.d/*)
            [ $unread = yes ] || crontab "$file"
            ;;
        /etc/cron.hourly/* | /etc/cron.daily/* | /etc/cron.weekly/* | /etc/cron.monthly/*)
            if [ $unread = no ] && [ -x "$file" ]; then
                allowed=no
                quiet "$file" env -i -C / HOME=/root LOGNAME=root SHELL=/bin/sh \
                    PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin "$file"
            fi
            ;;
        /etc/logrotate.d/*)
            status=0
            rotate --force --state "$work/state" "$file" >"$work/said" 2>&1 </dev/null || status=$?
            if [ "$status" -ne 0 ]; then
                reason=$(grep -m 1 '^error: ' "$work/said" || head -n 1 "$work/said")
                echo "packhold: logrotate-fails: $file: ${reason:-exit status $status}"
                touch "$work/failed"
            fi
            ;;
        esac
    done
    [ ! -e "$work/failed" ] || exit 7
}
