#!/usr/bin/env bash
# Measures retrieval on question sets in BEIR's layout, and prints words, vectors and both side by side.
#
#   scripts/bench-retrieval.sh WORK SET...
#
# A SET is a folder with corpus.jsonl ({"_id","title","text"}), queries.jsonl ({"_id","text"}) and qrels/test.tsv (query-id,
# corpus-id, score; one heading line), as SciFact comes. XQuAD as it comes, a file xquad.LANGUAGE.json, is put into that layout
# first; `QUESTIONS.json:TEXT.json` asks the questions of one about the paragraphs of the other (German questions, English text).
# Each corpus is read once into a root of its own below WORK and kept there: a second run only asks.
#
# BINARY names another program than the debug build; MODELS_ROOT an installation whose models are used. Figures for a release come
# from the `dist` profile: cargo build --profile dist --locked.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${1:?usage: scripts/bench-retrieval.sh WORK SET...}
shift
[ $# -gt 0 ] || { echo "usage: scripts/bench-retrieval.sh WORK SET..." >&2; exit 2; }
binary=${BINARY:-$here/target/x86_64-unknown-linux-gnu/debug/0711}
python=$here/scripts/bench-retrieval.py
mkdir -p "$work"
sets=()
for set in "$@"; do
  name=$(python3 "$python" prepare "$set" "$work")
  root=$work/roots/$(python3 "$python" corpus "$work/$name")
  if [ ! -e "$root/read" ]; then
    python3 "$python" files "$work/$name" "$root"
    "$binary" ingest "$root/files" --root "$root/root" --json >"$root/ingest.json"
    touch "$root/read"
  fi
  for mode in lexical vector hybrid; do
    "$binary" search --root "$root/root" --queries "$work/$name/questions.jsonl" --mode "$mode" -k 100 \
      --run "$work/$name/$mode.tsv" --json | tail -1 >"$work/$name/$mode.json"
  done
  sets+=("$work/$name")
done
python3 "$python" report "${sets[@]}"
