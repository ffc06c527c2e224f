#!/usr/bin/env bash
# Makes the one file a customer downloads: install-0711.sh with the program and a signed bundle behind it.
#
#   scripts/release.sh --bundle DIR --root root.json --out DIR [--binary FILE] [--key KEY.pem]
#
#   --bundle   a bundle signed with `0711 release sign` (or a published channel)
#   --root     the root.json it is proven with
#   --binary   the static program; default: the dist build, made when it is missing
#   --key      an Ed25519 private key (`openssl genpkey -algorithm ed25519`): also writes install-0711.sh.sig
#
# The customer checks the signature against the public key, obtained separately:
#
#   openssl pkeyutl -verify -pubin -inkey 0711-release.pem -rawin -in install-0711.sh -sigfile install-0711.sh.sig
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

main() {
    local bundle='' root='' out='' key='' binary=''
    while [ $# -gt 0 ]; do
        case $1 in
        --bundle) bundle=$2 ;;
        --root) root=$2 ;;
        --out) out=$2 ;;
        --key) key=$2 ;;
        --binary) binary=$2 ;;
        *) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
        esac
        shift 2
    done
    [ -n "$bundle" ] && [ -n "$root" ] && [ -n "$out" ] || { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2; }
    if [ -z "$binary" ]; then
        binary=$here/target/x86_64-unknown-linux-gnu/dist/0711
        [ -x "$binary" ] || (cd "$here" && cargo build --profile dist --workspace --locked)
    fi
    mkdir -p "$out"
    local work
    work=$(mktemp -d "$out/.release-XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    "$binary" bundle verify "$bundle" --trust-root "$root" --root "$work/none" >/dev/null

    # The same input gives the same bytes: fixed order, owners and times.
    cp "$binary" "$work/0711" && chmod 755 "$work/0711"
    cp "$root" "$work/root.json"
    cp -rL "$bundle" "$work/bundle"
    tar --create --file="$work/payload" --directory="$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u+rw,go=rX \
        0711 bundle root.json

    local bytes digest at
    bytes=$(stat -c %s "$work/payload")
    digest=$(sha256sum <"$work/payload" | cut -d ' ' -f 1)
    # The head's own length stands in the head: it is tried until it fits.
    fill() { sed "s/^payload_at=\$/payload_at=$1/; s/^payload_bytes=\$/payload_bytes=$bytes/; s/^payload_sha256=\$/payload_sha256=$digest/" "$here/install-0711.sh"; }
    at=$(fill 00000 | wc -c)
    fill "$at" >"$work/head"
    while [ "$(stat -c %s "$work/head")" != "$at" ]; do
        at=$(stat -c %s "$work/head")
        fill "$at" >"$work/head"
    done
    cat "$work/head" "$work/payload" >"$work/install-0711.sh"
    chmod 755 "$work/install-0711.sh"
    mv "$work/install-0711.sh" "$out/install-0711.sh"
    if [ -n "$key" ]; then
        openssl pkeyutl -sign -inkey "$key" -rawin -in "$out/install-0711.sh" -out "$out/install-0711.sh.sig"
    fi
    printf '%s\n' "$out/install-0711.sh: $(size "$out/install-0711.sh"): program $(size "$binary"), bundle $(du -sh --apparent-size "$bundle" | cut -f1)"
}

size() { numfmt --to=si --suffix=B "$(stat -L -c %s "$1")"; }

main "$@"
