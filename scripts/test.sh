#!/usr/bin/env bash
# Sets up what is missing and passes the tests: every room's own, the stories through the binary, and the judges from outside
# (official OpenAI client, Chromium). Kill matrices and the corpus are sampled here; `scripts/soak.sh` runs them whole, and PEFT on torch.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
bash scripts/setup.sh test
if ! command -v cargo >/dev/null; then . "$HOME/.cargo/env"; fi

export ZERO711_TEST_PYTHON="$here/target/test-venv/bin/python"
# The same command as in install-0711.sh, so that nothing compiles twice.
cargo build --workspace --locked
target/x86_64-unknown-linux-gnu/debug/0711 models fetch
# The rooms first, then the stories one after the other: each of them installs, reads and trains on all cores.
if [ $# = 0 ]; then
    cargo test --workspace --locked --lib
    cargo test --workspace --locked --test worker --test handlers --test flow --test catalog --test invoice
fi
cargo test --workspace --locked --test it -- --test-threads=1 --nocapture "$@"
