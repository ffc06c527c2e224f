#!/usr/bin/env python3
"""The parts of bench-ingest.sh: runs both sides in turns, watches their processes, prints medians."""

import argparse
import base64
import collections
import ctypes
import json
import os
import secrets
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = "multilingual-e5-small"
# What the demo license allows.
DEMO_DOCUMENTS = 10_000
STAGES = ["walk", "read", "extract", "chunk", "embed", "commit"]
TICKS = os.sysconf("SC_CLK_TCK")
# Lance's index writer stops for ever on up to three processors where its queue is as short as by default; 0711 sets this itself.
LANCE = {"LANCE_FTS_WRITE_QUEUE_SIZE": "65536"}


def without_amx():
    """Has the kernel refuse `arch_prctl(ARCH_REQ_XCOMP_PERM)` to this process and all it starts: a program that is not given AMX must not use it."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Loads the call's number; not 158 (arch_prctl of x86-64): allowed; its first argument is not 0x1023: allowed; else EPERM.
    rules = [(0x20, 0, 0, 0), (0x15, 0, 3, 158), (0x20, 0, 0, 16), (0x15, 0, 1, 0x1023), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(code)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, "no filter for system calls can be set"


class Watched:
    """A command run to its end: what it printed last, its seconds, and what its processes took.

    `peak_mb` is the largest sum of resident memory over the command and its descendants (pages two of them share count twice), `anonymous_mb`
    that of memory no file stands behind. `threads` is processor time of the command itself by the names of its threads, `others` that of its
    descendants. Looked at ten times a second; `cpu` is exact. `cpu_by` is the command's processor time at a moment, looked at fifty times a second.
    """

    def __init__(self, command, **environment):
        self.peak_mb = self.anonymous_mb = 0.0
        self.threads, self.others = collections.Counter(), 0.0
        self.per_thread, self.per_child = {}, {}
        self.moments = []
        self.notes = []
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
        self.pid = process.pid
        reading = threading.Thread(target=self.listen, args=(process.stderr, began))
        reading.start()
        stop = threading.Event()
        watching = threading.Thread(target=self.watch, args=(stop,))
        watching.start()
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - began
        self.cpu = usage.ru_utime + usage.ru_stime
        stop.set()
        watching.join()
        reading.join()
        if process.returncode:
            sys.exit(f"error: `{' '.join(command[:3])} …` ended with {process.returncode}:\n" + "\n".join(line for _, line in self.notes[-20:]))
        for name, seconds in self.per_thread.values():
            self.threads[name] += seconds
        self.others = sum(self.per_child.values())
        self.answer = json.loads(out.strip().splitlines()[-1])

    def listen(self, stream, began):
        for line in stream:
            self.notes.append((time.monotonic() - began, line.rstrip()))

    def watch(self, stop):
        while not stop.wait(0.02):
            try:
                self.moments.append((time.time(), processor(f"/proc/{self.pid}/stat")[1]))
            except OSError:
                continue
            if len(self.moments) % 5:
                continue
            resident = anonymous = 0
            for pid in family(self.pid):
                try:
                    for line in open(f"/proc/{pid}/status"):
                        resident += int(line.split()[1]) if line.startswith("VmRSS") else 0
                        anonymous += int(line.split()[1]) if line.startswith("RssAnon") else 0
                    if pid != self.pid:
                        self.per_child[pid] = processor(f"/proc/{pid}/stat")[1]
                        continue
                    for task in os.listdir(f"/proc/{pid}/task"):
                        self.per_thread[task] = processor(f"/proc/{pid}/task/{task}/stat")
                except (OSError, ValueError):
                    continue
            self.peak_mb = max(self.peak_mb, resident / 1024)
            self.anonymous_mb = max(self.anonymous_mb, anonymous / 1024)

    def cpu_by(self, moment):
        return max((cpu for at, cpu in self.moments if at <= moment), default=0.0)


def family(root):
    children = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children[int(open(f"/proc/{entry}/stat").read().rpartition(")")[2].split()[1])].append(int(entry))
            except (OSError, IndexError):
                continue
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def processor(path):
    """The name of a process or thread, without the number at its end, and its processor time in seconds."""
    head, _, tail = open(path).read().rpartition(")")
    fields = tail.split()
    return head.partition("(")[2].rstrip("-0123456789"), (int(fields[11]) + int(fields[12])) / TICKS


class Ours:
    def __init__(self, binary, work):
        self.binary, self.work = binary, work
        subprocess.run([binary, "models", "fetch", MODEL], check=True, capture_output=True)
        listed = json.loads(subprocess.run([binary, "models", "list", "--json"], check=True, capture_output=True).stdout)
        self.models = {model["name"]: model for model in listed["models"]}
        self.model = self.models[MODEL]["path"]

    def ingest(self, folder, root):
        return Watched([self.binary, "ingest", folder, "--root", root, "--json"])

    def search(self, root, queries):
        """Searches a lake, and returns its times and the files found first."""
        asked = os.path.join(self.work, "queries.jsonl")
        with open(asked, "w", encoding="utf-8") as out:
            out.writelines(json.dumps({"id": str(at), "text": text}) + "\n" for at, text in enumerate(queries))
        run = os.path.join(self.work, "run.tsv")
        command = [self.binary, "search", "--root", root, "--queries", asked, "-k", "10", "--run", run, "--json"]
        return Watched(command).answer, open(run, encoding="utf-8").read()


class Service:
    """Our encoder as its service, the role `embed`, in a folder of its own: as an installation runs it, and nothing beside it."""

    def __init__(self, ours, work):
        root = os.path.join(work, "embed")
        deployment = os.path.join(root, "var/bench/deployment")
        os.makedirs(os.path.join(deployment, "secrets"), mode=0o700)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.token = f"http://127.0.0.1:{port}", secrets.token_hex(16)
        token = os.open(os.path.join(deployment, "secrets/token"), os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(token, self.token.encode())
        os.close(token)
        model = lambda name: {"name": name, "digest": ours.models[name]["digest"], "path": ours.models[name]["path"]}
        config = {
            "format": 1, "customer_name": "Bench", "slug": "bench", "bind": "127.0.0.1", "port_base": port - 1, "folders": [],
            "chat_model": model("smollm2-135m-instruct"), "embed_model": model(MODEL), "max_documents": 1, "training_minutes": 1,
            "threads": len(os.sched_getaffinity(0)), "console_hosts": [],
        }  # fmt: skip
        with open(os.path.join(deployment, "config.yaml"), "w") as out:
            json.dump(config, out)
        command = [ours.binary, "serve", "embed", "--customer", "bench", "--root", root]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    sys.exit(f"error: the service `embed` does not start: {self.process.stderr.read().decode()}")
                time.sleep(0.1)

    def embed(self, texts):
        before, began = processor(f"/proc/{self.process.pid}/stat")[1], time.monotonic()
        vectors = []
        # As many at a time as reading hands over.
        for first in range(0, len(texts), 64):
            body = {"model": MODEL, "input": texts[first : first + 64], "input_type": "passage", "encoding_format": "base64"}
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            rows = json.load(urllib.request.urlopen(urllib.request.Request(f"{self.url}/v1/embeddings", json.dumps(body).encode(), headers)))["data"]
            vectors += [struct.unpack("<384f", base64.b64decode(row["embedding"])) for row in rows]
        seconds = time.monotonic() - began
        cpu = processor(f"/proc/{self.process.pid}/stat")[1] - before
        return seconds, cpu, peak_mb(self.process.pid), vectors

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Onnx:
    def __init__(self, out, texts):
        command = [sys.executable, os.path.join(HERE, "bench-ingest-peer.py"), "embed", out, texts]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def embed(self, _):
        before = processor(f"/proc/{self.process.pid}/stat")[1]
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        cpu = processor(f"/proc/{self.process.pid}/stat")[1] - before
        return answer["seconds"], cpu, peak_mb(self.process.pid), answer["vectors"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def peak_mb(pid):
    return next(int(line.split()[1]) / 1024 for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM"))


median = statistics.median


def peer(*arguments):
    return Watched([sys.executable, os.path.join(HERE, "bench-ingest-peer.py"), *arguments], **LANCE)


def compare(ours, folder, work, rounds):
    onnx = os.path.join(work, "onnx")
    batch = peer("export", ours.model, onnx).answer["batch"]
    runs = {"0711": [], "python": []}
    for turn in range(rounds):
        for side in sorted(runs, reverse=turn % 2 == 1):
            place = os.path.join(work, f"{side}-{turn}")
            runs[side].append(ours.ingest(folder, place) if side == "0711" else peer("ingest", onnx, folder, place))
            one = runs[side][-1]
            print(f"  round {turn + 1}, {side}: {one.answer['seconds']:.1f} s, {one.cpu:.1f} s of processor time", flush=True)
    of = lambda side, value: median(value(run) for run in runs[side])
    answers = {side: side_runs[0].answer for side, side_runs in runs.items()}
    documents = {"0711": answers["0711"]["searchable"], "python": answers["python"]["documents"]}
    chunks = {side: answer["chunks"] for side, answer in answers.items()}
    print(f"\n{'':24}{'0711':>10}{'share':>8}{'python':>10}{'share':>8}{'python / 0711':>16}")
    sums = {side: of(side, lambda run: sum(run.answer["stages"].values())) for side in runs}
    for stage in STAGES:
        a, b = (of(side, lambda run: run.answer["stages"][stage]) for side in runs)
        print(f"{stage + ', s':24}{a:>10.2f}{a / sums['0711']:>8.0%}{b:>10.2f}{b / sums['python']:>8.0%}{b / max(a, 1e-9):>15.2f}×")
    embedding_cpu = {"0711": lambda run: run.threads["embed"], "python": lambda run: run.answer["cpu"]["embed"]}
    embedding = lambda run: run.answer["stages"]["embed"]
    # The steps alone: loading packages, program and model is not what is compared.
    begun = lambda run: run.cpu_by(run.answer["started"] / 1000)
    cpu = {"0711": lambda run: run.cpu - begun(run), "python": lambda run: sum(run.answer["cpu"].values())}
    rows = [
        ("whole, s", lambda side: of(side, lambda run: run.answer["seconds"]), 1),
        ("without embedding, s", lambda side: of(side, lambda run: run.answer["seconds"] - embedding(run)), 1),
        ("processor time, s", lambda side: of(side, cpu[side]), 1),
        ("… without embedding, s", lambda side: of(side, lambda run: cpu[side](run) - embedding_cpu[side](run)), 1),
        ("with program start, s", lambda side: of(side, lambda run: run.seconds), 1),
        ("documents/s", lambda side: documents[side] / of(side, lambda run: run.answer["seconds"]), -1),
        ("passages/s", lambda side: chunks[side] / of(side, lambda run: run.answer["seconds"]), -1),
        ("peak memory, MB", lambda side: of(side, lambda run: run.peak_mb), 1),
        ("… backed by no file, MB", lambda side: of(side, lambda run: run.anonymous_mb), 1),
    ]
    for name, value, direction in rows:
        a, b = value("0711"), value("python")
        print(f"{name:24}{a:>10.2f}{'':8}{b:>10.2f}{'':8}{(b / a) ** direction:>15.2f}×")
    print(f"documents: {documents['0711']} and {documents['python']}; passages: {chunks['0711']} and {chunks['python']}")
    print("Stages of 0711 run side by side, and several files at once: their sum is more than the whole, and `without embedding` is what embedding")
    print("did not hide. Python's run one after the other, each on all processors. The last column is above 1 where 0711 is better.")
    threads = collections.Counter()
    for run in runs["0711"]:
        threads.update({name: seconds / rounds for name, seconds in run.threads.items()})
        threads["(workers, their own processes)"] += run.others / rounds
    print("processor time of 0711 by thread: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in threads.most_common(6)))
    return onnx, batch


def encoders(ours, onnx, batch, work, rounds):
    """Both encoders on the same texts, in turns."""
    texts = os.path.join(work, "texts.json")
    peer("texts", os.path.join(work, "python-0"), texts)
    passages = json.load(open(texts, encoding="utf-8"))
    sides = {"0711": Service(ours, work), "onnxruntime int8": Onnx(onnx, texts)}
    found = {name: [] for name in sides}
    try:
        for turn in range(rounds + 1):
            for name in sorted(sides, reverse=turn % 2 == 1):
                found[name].append(sides[name].embed(passages))
    finally:
        for side in sides.values():
            side.stop()
    a, b = (values[0][3] for values in found.values())
    cosines = sorted(sum(x * y for x, y in zip(one, other)) for one, other in zip(a, b))
    # The first turn of each warmed it up.
    speed, cpu, memory = ({name: median(value[at] for value in values[1:]) for name, values in found.items()} for at in range(3))
    print(f"\nencoders alone: {len(passages)} passages of the set, median of {rounds} turns; onnxruntime with {batch} texts at a time, its fastest")
    for name in sides:
        print(f"  {name:18}{len(passages) / speed[name]:>8.1f} texts/s{1000 * cpu[name] / len(passages):>8.1f} ms of processor time a text{memory[name]:>8.0f} MB at most")
    if "amx_int8" in open("/proc/cpuinfo").read():
        print("  both were kept from AMX" if os.environ.get("WITHOUT_AMX") else "  both use AMX here")
    one, other = sides
    print(f"  0711 is {speed[other] / speed[one]:.2f}× as fast, by processor time {cpu[other] / cpu[one]:.2f}×, with {memory[one] / memory[other]:.0%} of the memory;")
    print(f"  the vectors' cosines: median {median(cosines):.4f}, least {cosines[0]:.4f}")


def flat(ours, reader, counts, work):
    print(f"{'documents':>10}{'passages':>10}{'s':>9}{'ms/document':>13}{'… CPU':>8}{'… commit':>10}{'last tenth':>12}{'peak MB':>9}{'search p50':>12}{'p95 ms':>8}{'again, s':>10}")
    first = None
    for count in counts:
        folder, root = (os.path.join(work, f"{name}-{count}") for name in ("small", "lake"))
        subprocess.run([sys.executable, os.path.join(HERE, "bench-ingest-files.py"), folder, str(count), "small"], check=True)
        if count <= DEMO_DOCUMENTS:
            run = ours.ingest(folder, root)
        elif reader:
            run = Watched([reader, ours.binary, ours.model, folder, root], **LANCE)
        else:
            print(f"{count:>10}  left out: the demo license ends at {DEMO_DOCUMENTS} documents; name READER")
            continue
        report = run.answer
        done = [(at, json.loads(line)["progress"]["done"]) for at, line in run.notes if '"files"' in line and '"progress"' in line]
        late = [(at, files) for at, files in done if files >= count * 0.9]
        # From the first word after nine tenths to the last one.
        tenth = 1000 * (late[-1][0] - late[0][0]) / max(late[-1][1] - late[0][1], 1) if len(late) > 1 else float("nan")
        per = lambda seconds: 1000 * seconds / count
        times, again = {"p50_ms": float("nan"), "p95_ms": float("nan")}, float("nan")
        if count <= DEMO_DOCUMENTS:
            times, _ = ours.search(root, [f"KX-{number * 7919 % count:06d} Reihenklemme Bemessungsstrom" for number in range(100)])
            again = ours.ingest(folder, root).answer["seconds"]
        print(
            f"{count:>10}{report['chunks']:>10}{report['seconds']:>9.1f}{per(report['seconds']):>13.2f}{per(run.cpu):>8.2f}{per(report['stages']['commit']):>10.2f}"
            f"{tenth:>12.2f}{run.peak_mb:>9.0f}{times['p50_ms']:>12.1f}{times['p95_ms']:>8.1f}{again:>10.2f}",
            flush=True,
        )
        cost = (per(report["seconds"]), per(run.cpu), run.anonymous_mb)
        first = first or (count, cost)
        time_ratio, cpu_ratio, _ = (now / then for now, then in zip(cost, first[1]))
        print(f"{'':10}a document costs {time_ratio:.2f}× of what it costs among {first[0]}, {cpu_ratio:.2f}× by processor time", end="")
        print(f"; memory no file stands behind: {run.anonymous_mb:.0f} MB" + (f", {1000 * (cost[2] - first[1][2]) / (count - first[0]):.1f} KB for each document more" if count > first[0] else ""))
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-ingest.sh")
    parser.add_argument("folder", nargs="?")
    for name in ("binary", "reader", "searcher"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--documents", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flat", metavar="N,…")
    parser.add_argument("--search", type=int, metavar="N")
    parser.add_argument("--work", help="keep everything in this folder")
    args = parser.parse_args()
    if os.environ.get("WITHOUT_AMX"):
        without_amx()
    work = args.work or tempfile.mkdtemp(prefix="bench-ingest-")
    os.makedirs(work, exist_ok=True)
    load = os.getloadavg()[0]
    print(f"{len(os.sched_getaffinity(0))} processors, load {load:.1f} before" + (": others work here, mind the ratios and the processor time" if load > 0.5 else ""))
    try:
        if args.search:
            if not args.searcher:
                sys.exit("error: --search needs the example `search_many`\n  remedy: build it, and name it in SEARCHER")
            ran = subprocess.run([args.searcher, os.path.join(work, "search"), str(args.search)], env={**os.environ, **LANCE})
            sys.exit(ran.returncode)
        ours = Ours(args.binary, work)
        if args.flat:
            flat(ours, args.reader, [int(count) for count in args.flat.split(",")], work)
            return
        folder = args.folder
        if folder is None:
            folder = os.path.join(work, "files")
            subprocess.run([sys.executable, os.path.join(HERE, "bench-ingest-files.py"), folder, str(args.documents), "mixed"], check=True)
        onnx, batch = compare(ours, os.path.abspath(folder), work, args.rounds)
        encoders(ours, onnx, batch, work, args.rounds)
        if args.folder is None:
            _, found = ours.search(os.path.join(work, "0711-0"), ["KX-000000"])
            assert "bericht_000000" in found, "what was read cannot be found"
    finally:
        if not args.work:
            shutil.rmtree(work, ignore_errors=True)


main()
