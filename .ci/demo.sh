#!/usr/bin/env bash
# The demo: a git repository of the demo agent with two tagged commits, its pipeline for a deb and an rpm at the newest
# commit, and what the archive then holds.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=${PACKHOLD_DEMO:-target/demo}
packhold=target/debug/packhold
export PACKHOLD_ARCHIVE=${PACKHOLD_ARCHIVE:-$demo/archive}

if [ ! -d "$demo/hostpulse" ]; then
    mkdir -p "$demo"
    rm -rf "$demo/hostpulse.new"
    tests/fixtures/demo-agent/make-repository.sh "$demo/hostpulse.new"
    mv "$demo/hostpulse.new" "$demo/hostpulse"
fi

echo "demo: packhold run demo --source $demo/hostpulse"
"$packhold" run demo --source "$demo/hostpulse"
echo
echo "demo: packhold archive list"
"$packhold" archive list
echo
echo "demo: packhold archive show latest"
"$packhold" archive show latest
