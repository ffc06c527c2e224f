#!/usr/bin/env bash
# Sets up what is missing, builds 0711 from this checkout, and runs `0711 install` with the arguments given.
#
#   ./install-0711.sh --demo      the demo, without questions, below ./demo
#   ./install-0711.sh             the wizard
#
# Everything stands in one function, so that a file cut short does nothing.
set -euo pipefail

main() {
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

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

main "$@"
