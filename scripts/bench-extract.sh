#!/usr/bin/env bash
# Our extraction beside markitdown, kreuzberg and pymupdf4llm (from PyPI, about 1 GB) on a folder of files, one table per run: the share of words
# and of numbers each finds of those at least two find, files per second, and peak memory.
#
#   scripts/bench-extract.sh DIR                    every format
#   scripts/bench-extract.sh DIR --only pdf,docx --losses 20
#
# ZERO711_BINARY: another program than the one of this checkout; figures of speed need one built with --profile dist.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
corpus=${1:?usage: scripts/bench-extract.sh DIR [--only FORMAT,…] [--losses N]}
shift
venv="$here/target/extract-venv"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check 'markitdown[all]' kreuzberg pymupdf4llm
exec "$venv/bin/python" "$here/scripts/bench-extract.py" \
    --binary "${ZERO711_BINARY:-$here/target/x86_64-unknown-linux-gnu/debug/0711}" --corpus "$corpus" "$@"
