#!/bin/sh
# service.sh COMMAND ARGUMENT…: asks systemd about the units of packages, see builders/README.md
set -eu
# shellcheck source=/dev/null
. /packhold/family.sh

export SYSTEMD_PAGER=cat SYSTEMD_COLORS=0

# unit_path UNIT: its file.
unit_path() {
    for folder in /etc/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
        [ ! -f "$folder/$1" ] || {
            echo "$folder/$1"
            return
        }
    done
}

command=$1
shift
case $command in
booted)
    # systemd answers only some time after it has begun.
    while ! [ -S /run/systemd/private ]; do sleep 0.1; done
    for pause in 0.2 0.5 1 2 0; do
        state=$(systemctl is-system-running --wait 2>&1 || :)
        case $state in running | degraded) break ;; esac
        sleep "$pause"
    done
    case $state in
    running | degraded) ;;
    *)
        echo "systemd is not up: $state"
        exit 1
        ;;
    esac
    systemctl list-units --state=failed --plain --no-legend --full | sed 's/^[^[:alnum:]]*//; s/[[:blank:]].*//; s/^/packhold: failed-unit: /'
    ;;
units)
    for name; do package_paths "$name"; done | LC_ALL=C sort -u |
        grep -E '^(/usr)?/lib/systemd/system/[^/]+$|^/etc/systemd/system/[^/]+$' |
        grep -E '\.(service|socket|timer|path|mount|automount|swap|target|slice)$' |
        while IFS= read -r path; do
            # A link is another name of a unit.
            [ -f "$path" ] && ! [ -L "$path" ] || continue
            installable=no
            ! grep -q '^[[:blank:]]*\[Install\]' "$path" || installable=yes
            printf '%s\t%s\t%s\n' "${path##*/}" "$path" "$installable"
        done || :
    ;;
check)
    for unit; do
        path=$(unit_path "$unit")
        if [ -z "$path" ]; then
            echo "$unit: there is no such unit"
            continue
        fi
        # Of a template an instance is looked at, NAME@….service: what begins as its name does.
        stem=${unit%@.*}
        [ "$stem" = "$unit" ] || stem=$stem@
        # What is said of the units it needs is not about this one.
        { systemd-analyze verify --man=no "$path" 2>&1 || :; } | grep -F -- "$stem" | LC_ALL=C sort -u || :
    done
    ;;
show)
    for unit; do
        { systemctl show --no-pager \
            --property=LoadState,ActiveState,SubState,UnitFileState,UnitFilePreset,MainPID,NRestarts,Type -- "$unit" 2>/dev/null || :; } |
            awk -F = -v unit="$unit" '
                { value[$1] = substr($0, length($1) + 2) }
                END {
                    count = split("LoadState ActiveState SubState UnitFileState UnitFilePreset MainPID NRestarts Type", names, " ")
                    line = unit
                    for (n = 1; n <= count; n++) line = line "\t" value[names[n]]
                    print line
                }'
    done
    ;;
start) systemctl start -- "$@" ;;
stop) systemctl stop -- "$@" ;;
journal)
    for unit; do
        shift
        set -- "$@" "--unit=$unit"
    done
    journalctl --boot --quiet --no-pager --priority=err --output=cat "$@"
    ;;
policy) echo "${service_policy:?}" ;;
*)
    echo "service.sh: unknown command: $command" >&2
    exit 2
    ;;
esac
