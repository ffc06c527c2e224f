#!/usr/bin/env bash
# Sets up what is missing and passes the tests: every room's own, the stories through the binary, and the judges from outside
# (official OpenAI client, Chromium, PEFT on torch). Kill matrices are sampled here; `scripts/soak.sh` runs them whole.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
bash scripts/setup.sh test
if ! command -v cargo >/dev/null; then . "$HOME/.cargo/env"; fi

export ZERO711_TEST_PYTHON="$here/target/test-venv/bin/python"
# The same command as in install-0711.sh, so that nothing compiles twice.
cargo build --workspace --locked
target/x86_64-unknown-linux-gnu/debug/0711 models fetch
cargo test --workspace --locked -- "$@"
