#!/usr/bin/env bash
# Our extraction beside markitdown, kreuzberg and pymupdf4llm (from PyPI, about 1 GB) on a folder of files, one table per format: the share of words
# and of numbers each finds of those at least two find, how well it keeps the rows of tables, files (for PDF also pages) per second of processor
# time, and peak memory.
#
#   scripts/bench-extract.sh DIR                    every format
#   scripts/bench-extract.sh DIR --only pdf,docx --losses 20
#
# What the figures say and do not say stands at the head of bench-extract.py. ZERO711_BINARY: another program than the one of this checkout; figures
# of speed need one built with --profile dist.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
corpus=${1:?usage: scripts/bench-extract.sh DIR [--only FORMAT,…] [--losses N]}
shift
venv="$here/target/extract-venv"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
# The newest of each; pymupdf4llm 2.0 is an empty package. Beside the peers: the second readings of tables.
"$venv/bin/pip" install --quiet --disable-pip-version-check 'markitdown[all]==0.1.9' kreuzberg==4.10.4 pymupdf4llm==1.28.2 \
    pdfplumber openpyxl xlrd python-docx python-pptx beautifulsoup4 lxml
exec "$venv/bin/python" "$here/scripts/bench-extract.py" \
    --binary "${ZERO711_BINARY:-$here/target/x86_64-unknown-linux-gnu/debug/0711}" --corpus "$corpus" "$@"
