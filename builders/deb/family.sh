#!/bin/sh
# Sourced: what the scripts of builders/common ask about packages, answered by dpkg.

# What becomes of a service when its package is installed (service.sh policy).
# shellcheck disable=SC2034 # of service.sh
service_policy=start

# package_paths NAME: one path a line, where they are after diversions (dpkg-query(1), -L).
package_paths() {
    { dpkg-query --listfiles "$1" 2>/dev/null || :; } | awk '
        function flush() { if (path != "" && path != "/.") print path }
        /^(diverted by .* to|locally diverted to): \// { sub(/^[^\/]*: /, ""); path = $0; next }
        /^package diverts others to: / { next }
        { flush(); path = $0 }
        END { flush() }'
}

# all_paths: PACKAGE<TAB>PATH for everything that any package owns. A diverted path is not that of the package whose file
# went elsewhere. /var/lib/dpkg/diversions: three lines each, the path, where it went, and the package that keeps the path.
all_paths() {
    [ -e /var/lib/dpkg/diversions ] || touch /var/lib/dpkg/diversions
    awk '
        FILENAME == "/var/lib/dpkg/diversions" {
            if (FNR % 3 == 1) path = $0
            else if (FNR % 3 == 2) { to[path] = $0 }
            else keeper[path] = $0
            next
        }
        FNR == 1 {
            package = FILENAME
            sub(/.*\//, "", package)
            sub(/\.list$/, "", package)
            sub(/:.*/, "", package)
        }
        { print package "\t" (($0 in to) && keeper[$0] != package ? to[$0] : $0) }
    ' /var/lib/dpkg/diversions /var/lib/dpkg/info/*.list
}

# package_state: the records of `state` that come from the package database, each ended by a NUL.
package_state() {
    dpkg-query --show --showformat='package\t${Package}\t${db:Status-Status}\n' |
        LC_ALL=C sort | tr '\n' '\0'
    if [ -s /var/lib/dpkg/diversions ]; then
        awk '
            NR % 3 == 1 { path = $0 }
            NR % 3 == 0 { print "diversion\t" path "\t" ($0 == ":" ? "" : $0) }
        ' /var/lib/dpkg/diversions | LC_ALL=C sort | tr '\n' '\0'
    fi
    # It fails if there is none.
    { dpkg-statoverride --list || :; } | awk '{ sub(/^[^ ]+ [^ ]+ [^ ]+ /, "override\t"); print }' |
        LC_ALL=C sort | tr '\n' '\0'
}
