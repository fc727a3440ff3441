#!/usr/bin/env bash
# The demo of a release: a key, two tags of the demo agent released into one folder as a deb and an rpm, and what apt and dnf say when they install
# the first and upgrade to the second.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=$(realpath -m "${PACKHOLD_DEMO:-target/demo-release}")
packhold=$PWD/target/debug/packhold
export PACKHOLD_ARCHIVE=${PACKHOLD_ARCHIVE:-$demo/archive}
mkdir -p "$demo"

if [ ! -d "$demo/hostpulse" ]; then
    rm -rf "$demo/hostpulse.new"
    tests/fixtures/demo-agent/make-repository.sh "$demo/hostpulse.new"
    mv "$demo/hostpulse.new" "$demo/hostpulse"
fi
if [ ! -s "$demo/release.key" ]; then
    echo "demo: making a key that signs; a real one has a passphrase"
    rm -rf "$demo/gnupg"
    mkdir -m 700 "$demo/gnupg"
    gpg=(gpg --homedir "$demo/gnupg" --batch --quiet)
    "${gpg[@]}" --passphrase '' --quick-generate-key 'Demo <demo@example.org>' ed25519 sign 1y
    (umask 077 && "${gpg[@]}" --armor --export-secret-keys >"$demo/release.key.new")
    gpgconf --homedir "$demo/gnupg" --kill all
    mv "$demo/release.key.new" "$demo/release.key"
fi

for tag in v1.0.0 v1.1.0; do
    echo
    echo "demo: packhold release $tag demo --source $demo/hostpulse --to $demo/packages --key $demo/release.key"
    "$packhold" release "$tag" demo --source "$demo/hostpulse" --to "$demo/packages" --key "$demo/release.key" \
        --url https://packages.example.org --format plain
done
echo
echo "demo: what a web server would offer"
(cd "$demo/packages" && find . -type f ! -path '*/by-hash/*' ! -path './.packhold/*' | LC_ALL=C sort)
