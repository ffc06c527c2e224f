#!/usr/bin/env bash
# Runs whole what scripts/test.sh samples: kills at 20 random moments of an install, the corpus of real files where it is at hand,
# and PEFT on torch as the judge of an adapter (which downloads about 5 GB). Takes hours on two cores; each word is a part.
#
#   scripts/soak.sh                 the kills, in containers too, updates that go wrong, a backup of 5,000 documents, chaos, the corpus, the bytes
#   scripts/soak.sh kill            the kills; with `docker` those in containers
#   scripts/soak.sh damaged         a thousand damaged and hostile files
#   scripts/soak.sh update          releases that are bad, killed, too large or too late, as processes and in containers
#   scripts/soak.sh corpus          the corpus
#   scripts/soak.sh chaos           half an hour of misfortune with the services as processes, and half an hour in containers
#   scripts/soak.sh bytes           ten thousand changed bytes of a bundle, in five minutes
#   scripts/soak.sh engines         the short story on Docker 20.10, and on an engine with its images in containerd
#   scripts/soak.sh roots           the program in an empty root, and in those of Debian 11, 12 and 13
#   scripts/soak.sh peft ROOT       PEFT against the adapter of the installation below ROOT
#   scripts/soak.sh tuf             the update client judged by python-tuf, and a line cut at 200 places
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ "${1:-}" = peft ]; then
    root=${2:?usage: scripts/soak.sh peft ROOT}
    venv="$here/target/peft-venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check torch transformers peft gguf safetensors
    loras=$(ls -d "$root"/var/*/loras | head -1)
    # The adapter that is served, or the newest where none is.
    adapter=$("$venv/bin/python" - "$loras" <<'PY'
import json, os, sys
registry = json.load(open(os.path.join(sys.argv[1], "registry.json"), encoding="utf-8"))
versions = registry["versions"]
served = [version for version in versions if version["name"] == registry.get("promoted")] or versions
print(os.path.join(sys.argv[1], served[-1]["dir"]))
PY
    )
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # transformers goes by the name's ending.
    for model in "$root"/var/models/sha256/*; do
        [ "$(head -c 4 "$model")" != GGUF ] || ln -sf "$(realpath "$model")" "$work/base.gguf"
    done
    "$venv/bin/python" "$here/tests/peft_check.py" "$work/base.gguf" "$adapter"
    exit
fi
case ${1:-} in
    engines) exec bash "$here/scripts/test-engines.sh" ;;
    roots) exec bash "$here/scripts/test-roots.sh" ;;
esac
export ZERO711_SOAK=1
if [ "${1:-}" = tuf ]; then
    bash "$here/scripts/setup.sh" build
    venv="$here/target/tuf-venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check tuf==7.0.1 'securesystemslib[crypto]==1.6.0'
    (cd "$here" && cargo build --workspace --locked && cargo test --workspace --locked --lib release::tests::fetch::network_cut)
    exec "$venv/bin/python" "$here/tests/tuf_conformance.py" "$here/target/x86_64-unknown-linux-gnu/debug/0711" 1000
fi
for story in ${1:-kill damaged docker airgap update backup chaos corpus bytes}; do
    case "$story" in
    bytes) (cd "$here" && cargo test --workspace --locked --lib a_changed_byte -- --nocapture) ;;
    *) bash "$here/scripts/test.sh" "$story" ;;
    esac
done
