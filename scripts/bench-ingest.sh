#!/usr/bin/env bash
# Reading from file to searchable, ours beside the same steps in Python (kreuzberg, onnxruntime int8, lancedb; from PyPI, about 0.8 GB), in
# one run with both sides in turns: seconds and share of each stage, documents and passages per second, processor time, peak memory, and the
# encoders alone on the same texts.
#
#   scripts/bench-ingest.sh                          a made-up set of 96 files: office, PDF, mail, tables, text
#   scripts/bench-ingest.sh DIR                      a folder of your own
#   scripts/bench-ingest.sh --documents 500 --rounds 5
#   scripts/bench-ingest.sh --flat 1000,3000,10000   ours alone: cost per document as the lake grows, small documents
#   scripts/bench-ingest.sh --search 200000          ours alone: how long a search among so many passages takes
#
# The demo license ends --flat at 10,000 documents; READER names the example `read_many` of the room `ingest`, which has no license to ask
# and goes on to 50,000. --search needs SEARCHER, the example `search_many` of the room `lake`:
#   cargo build --profile dist --locked -p zero711 -p ingest -p lake --bin 0711 --example read_many --example search_many
#
# PEER_WITHOUT_AMX=1 keeps AMX from onnxruntime alone: how it stands on processors without. 0711 goes on using it where it is.
#
# ZERO711_BINARY: another program than the debug build of this checkout. The debug build leaves our own rooms, DataFusion and Lance
# unoptimised, only the encoder is not: figures that count come from --profile dist on a machine that does nothing else.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$here/target/ingest-venv"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check kreuzberg onnx onnxruntime lancedb tokenizers numpy
exec "$venv/bin/python" "$here/scripts/bench-ingest.py" \
    --binary "${ZERO711_BINARY:-$here/target/x86_64-unknown-linux-gnu/debug/0711}" --reader "${READER:-}" --searcher "${SEARCHER:-}" "$@"
