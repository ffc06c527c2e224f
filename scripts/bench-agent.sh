#!/bin/bash
# What the resident agent takes at rest, and how fast it heals. Usage: bench-agent.sh BINARY ROOT [SECONDS [ROLE]]
#
# BINARY is the program, ROOT a running installation (`0711 install --demo --root ROOT`), SECONDS how long the processor's time is
# counted (60), ROLE whom to kill (lake). Prints one line a figure. Kills one role of that installation, which comes back.
set -euo pipefail
binary=$1 root=$2 seconds=${3:-60} role=${4:-lake}

exec python3 - "$binary" "$root" "$seconds" "$role" <<'PYTHON'
import json, os, signal, subprocess, sys, time

binary, root, seconds, role = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]

def ask(*words):
    out = subprocess.run([binary, *words, "--root", root, "--json"], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]

def status():
    return ask("status")[0]

def of(status, name):
    return next(found for found in status["roles"] if found["role"] == name)

def memory(pid):
    fields = {}
    for line in open(f"/proc/{pid}/smaps_rollup"):
        words = line.split()
        if words[0].rstrip(":") in ("Rss", "Pss", "Pss_Anon", "Private_Dirty", "Private_Clean", "Shared_Clean"):
            fields[words[0].rstrip(":")] = int(words[1])
    return fields

def ticks(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    return int(fields[11]) + int(fields[12])

before = status()
agent = before["agent"]["identity"]["pid"]
print(f"roles ready: {sum(found['state'] == 'ready' for found in before['roles'])} of {len(before['roles'])}")
for name, kib in memory(agent).items():
    print(f"agent {name}: {kib / 1024:.1f} MiB")
start = ticks(agent)
time.sleep(seconds)
used = (ticks(agent) - start) / os.sysconf("SC_CLK_TCK")
print(f"agent processor time: {used:.2f} s in {seconds:.0f} s = {100 * used / seconds:.2f} % of a core")

pid = of(before, role)["pid"]
killed = time.time()
os.kill(pid, signal.SIGKILL)
noticed = started = ready = None
while ready is None and time.time() - killed < 120:
    time.sleep(0.05)
    for event in ask("events", "--since", "2m"):
        at = event["at"] / 1000
        if event.get("role") != role or at < killed - 0.01:
            continue
        if noticed is None and "ended" in event["message"]:
            noticed = at - killed
        if started is None and event["message"].startswith("started"):
            started = at - killed
        if event["message"].startswith("ready after"):
            ready, own = at - killed, event["message"]
if ready is None:
    sys.exit(f"{role} did not come back within 120 s")
print(f"{role} killed: noticed after {noticed * 1000:.0f} ms, started again after {started * 1000:.0f} ms, ready after {ready * 1000:.0f} ms ({own})")
PYTHON
