#!/usr/bin/env bash
# Runs whole what scripts/test.sh samples: kills at 20 random moments of an install, the corpus of real files where it is at hand,
# and PEFT on torch as the judge of an adapter (which downloads about 5 GB). Takes about an hour on two cores.
#
#   scripts/soak.sh                 the kills, in containers too, a backup of 5,000 documents, and the corpus
#   scripts/soak.sh kill            the kills; with `docker` those in containers
#   scripts/soak.sh corpus          the corpus
#   scripts/soak.sh peft ROOT       PEFT against the adapter of the installation below ROOT
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
export ZERO711_SOAK=1
for story in ${1:-kill docker airgap backup corpus}; do
    bash "$here/scripts/test.sh" "$story"
done
