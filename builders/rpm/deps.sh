#!/bin/sh -eu
# Build dependencies: what the packaging declares, then the pipeline's own list.

requires=$(cat "$PACKHOLD_DECLARED")

# One argument per line of $requires ("zlib-devel >= 1.2"), then one per word of $PACKHOLD_DEPS.
set -f
IFS='
'
# shellcheck disable=SC2086 # split on purpose
set -- $requires
IFS=' '
# shellcheck disable=SC2086
set -- "$@" $PACKHOLD_DEPS
unset IFS
if [ $# -gt 0 ]; then
	exec /bin/sh -eu /packhold/dependencies.sh "$@"
fi
