#!/usr/bin/env bash
# Installs 0711. In a source checkout it sets up what is missing, builds, and runs `0711 install` with the arguments given; as the file
# `scripts/release.sh` makes, with program and bundle behind it, it unpacks those and runs `0711 install --bundle …`.
#
#   ./install-0711.sh --demo      the demo, without questions, below ./demo
#   ./install-0711.sh             the wizard
#
# Everything stands in one function, so that a file cut short does nothing.
set -euo pipefail

# Filled in by scripts/release.sh: where the payload begins, its size and its digest.
payload_at=
payload_bytes=
payload_sha256=

main() {
    if [ -n "$payload_at" ]; then
        from_payload "$@"
    else
        from_source "$@"
    fi
}

from_source() {
    local here started built
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    started=$(date +%s)
    say "1/3 setting up what is missing"
    bash "$here/scripts/setup.sh" build
    if ! command -v cargo >/dev/null; then . "$HOME/.cargo/env"; fi
    say "2/3 building 0711 (the first time some twenty minutes on two cores; afterwards seconds)"
    # Paths in the arguments are the caller's: only the build happens in the checkout, and in its own target folder.
    (cd "$here" && env -u CARGO_TARGET_DIR cargo build --workspace --locked)
    built=$(date +%s)
    say "    built in $(((built - started) / 60)) min $(((built - started) % 60)) s"
    say "3/3 installing"
    exec "$here/target/x86_64-unknown-linux-gnu/debug/0711" install "$@"
}

from_payload() {
    local folder place free mask status=0
    # /tmp may be full, or admit no programs.
    if [ "$(id -u)" = 0 ]; then folder=/var/lib/0711; else folder=${XDG_CACHE_HOME:-$HOME/.cache}/0711; fi
    place=$folder/release-${payload_sha256:0:16}
    mask=$(umask)
    umask 077
    mkdir -p "$folder"
    # What is read is what was opened, whatever happens to the name meanwhile.
    exec 3<"${BASH_SOURCE[0]}"
    if [ ! -f "$place/whole" ]; then
        [ "$(stat -L -c %s /dev/fd/3)" -eq $((payload_at + payload_bytes)) ] ||
            fail "this file is not whole" "copy it again, and compare its size and signature"
        free=$(($(df --output=avail --block-size=1 "$folder" | tail -1)))
        [ "$free" -gt "$payload_bytes" ] || fail "$folder has $((free / 1000000)) MB free, $((payload_bytes / 1000000)) are needed" "free space there"
        say "unpacking $((payload_bytes / 1000000)) MB to $place"
        rm -rf "$place.part" "$place"
        mkdir "$place.part"
        tail -c "+$((payload_at + 1))" <&3 | tee >(sha256sum >"$place.part/sum") | tar --extract --file=- --directory="$place.part" --no-same-owner ||
            { rm -rf "$place.part" && fail "the payload is damaged and cannot be unpacked" "copy the file again"; }
        # The process that digests may end a moment after the one that unpacks.
        local _
        for _ in $(seq 100); do
            [ ! -s "$place.part/sum" ] || break
            sleep 0.1
        done
        [ "$(cut -d ' ' -f 1 "$place.part/sum")" = "$payload_sha256" ] || {
            rm -rf "$place.part"
            fail "the payload is damaged" "copy the file again"
        }
        : >"$place.part/whole"
        # A file cut short by a power failure must not pass for a whole one.
        sync -f "$place.part"
        mv "$place.part" "$place"
    fi
    exec 3<&-
    umask "$mask"
    "$place/0711" install --bundle "$place/bundle" --trust-root "$place/root.json" "$@" || status=$?
    if [ $status = 0 ]; then
        rm -rf "$place"
    else
        say "the unpacked release is kept in $place: the same command goes on from there"
    fi
    return $status
}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

fail() {
    printf 'error: %s\n  remedy: %s\n' "$1" "$2" >&2
    exit 1
}

main "$@"
exit
