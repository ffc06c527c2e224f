#!/usr/bin/env bash
# Measures a running installation: memory of each service, search latency, tokens per second of the language model, and what the
# last reading and training said of themselves.
#
#   scripts/bench-spine.sh ROOT [BINARY]
#
# Figures for a release come from the `dist` profile: cargo build --profile dist --locked, then give that binary here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=${1:?usage: scripts/bench-spine.sh ROOT [BINARY]}
binary=${2:-$here/target/x86_64-unknown-linux-gnu/debug/0711}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$binary" status --root "$root" --json >"$work/status.json"
"$binary" ingest --report --root "$root" --json >"$work/report.json"
"$binary" versions list --root "$root" --json >"$work/versions.json"

# Every question of the exam, five times over, is enough for a 95th percentile.
python3 - "$here/tests/fixtures/exam.jsonl" "$work/queries.jsonl" <<'PY'
import json, sys
questions = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
with open(sys.argv[2], "w", encoding="utf-8") as out:
    for turn in range(5):
        for question in questions:
            out.write(json.dumps({"id": f"{turn}-{question['id']}", "text": question["question"]}) + "\n")
PY
"$binary" search --root "$root" --queries "$work/queries.jsonl" -k 10 --run "$work/run.tsv" --json | tail -1 >"$work/search.json"

python3 - "$work" "$root" "$binary" <<'PY'
import glob, json, os, sys, time, urllib.request

work, root, binary = sys.argv[1:]
load = lambda name: json.load(open(os.path.join(work, name), encoding="utf-8"))
status, report, versions, search = (load(f"{name}.json") for name in ("status", "report", "versions", "search"))
print(f"binary            {os.path.getsize(os.path.realpath(binary)) / 1e6:.0f} MB")
for role in status["roles"]:
    print(f"memory {role['role']:<10} {(role.get('resident_bytes') or 0) / 1e6:.0f} MB")
print(f"reading           {report['files_per_second']:.1f} files/s, {report['chunks_per_second']:.1f} passages/s in the last run")
print(f"search            p50 {search['p50_ms']:.0f} ms, p95 {search['p95_ms']:.0f} ms over {search['queries']} queries")
for version in versions["versions"]:
    print("training         ", {key: version[key] for key in version if key not in ("dir",)})

config = glob.glob(os.path.join(root, "var/*/deployment/config.yaml"))[0]
port_base = next(int(line.split(":")[1]) for line in open(config) if line.startswith("port_base"))
token = open(os.path.join(os.path.dirname(config), "secrets/token")).read().strip()
rates = []
for turn in range(5):
    body = {"model": "base", "prompt": f"{turn}. Electrical terminals are", "max_tokens": 128, "temperature": 0}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port_base + 60}/v1/completions", json.dumps(body).encode(), headers)
    started = time.monotonic()
    usage = json.load(urllib.request.urlopen(request))["usage"]
    rates.append(usage["completion_tokens"] / (time.monotonic() - started))
print(f"llm               {sorted(rates)[2]:.0f} tokens/s decoding (median of 5)")
PY
