#!/usr/bin/env python3
"""Our extraction beside markitdown, kreuzberg and pymupdf4llm, file by file, in one run.

    bench-extract.py --binary 0711 --corpus DIR [--only pdf,docx] [--losses N]

Words and numbers are compared as multisets: what at least two of the tools found counts as being in the file (there is no written truth for
most files), and a tool's recall is its share of that. Seconds are whole processes for us and calls in one warm process for the others; memory is
the largest of any process.
"""

import argparse
import collections
import json
import os
import re
import resource
import subprocess
import sys
import time

GROUPS = {
    "pdf": {"pdf"},
    "docx": {"docx", "docm"},
    "doc": {"doc"},
    "xlsx": {"xlsx", "xlsm", "xlsb"},
    "xls": {"xls"},
    "pptx": {"pptx", "pptm"},
    "odf": {"odt", "ods", "odp"},
    "rtf": {"rtf"},
    "html": {"html", "htm"},
    "csv": {"csv", "tsv"},
    "mail": {"eml", "msg"},
    "md": {"md"},
    "xml": {"xml"},
    "json": {"json", "jsonl"},
    "epub": {"epub"},
}
LIMIT_SECONDS = 60


def worker(tool):
    """Answers one path a line with a JSON line: the text, or why not."""
    if tool == "markitdown":
        from markitdown import MarkItDown

        converter = MarkItDown()
        read = lambda path: converter.convert(path).text_content
    elif tool == "kreuzberg":
        from kreuzberg import extract_file_sync

        read = lambda path: extract_file_sync(path).content
    else:
        import pymupdf4llm

        read = lambda path: pymupdf4llm.to_markdown(path, show_progress=False)
    # Readers print as they like: the answers go where nobody else writes.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        began = time.monotonic()
        try:
            answer = {"text": read(line.rstrip("\n"))}
        except BaseException as error:  # what a reader throws is its answer
            answer = {"error": str(error)[:200]}
        answer["seconds"] = time.monotonic() - began
        answer["peak_kb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps(answer), file=out, flush=True)


class Peer:
    def __init__(self, tool):
        self.tool, self.process = tool, None

    def read(self, path):
        import select

        if self.process is None:
            command = [sys.executable, os.path.abspath(__file__), "--worker", self.tool]
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self.process.stdout.readline()
        try:
            self.process.stdin.write(path + "\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_SECONDS)
            line = self.process.stdout.readline() if ready else ""
        except OSError:
            line = ""
        if line:
            return json.loads(line)
        self.process.kill()
        self.process.wait()
        self.process = None
        return {"error": "died or took too long", "seconds": LIMIT_SECONDS}


class Ours:
    def __init__(self, binary):
        self.binary = binary

    def read(self, path):
        began = time.monotonic()
        try:
            ran = subprocess.run([self.binary, "extract", path], capture_output=True, timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return {"error": "took too long", "seconds": LIMIT_SECONDS}
        answer = {"seconds": time.monotonic() - began}
        answer["peak_kb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        if ran.returncode == 0:
            answer["text"] = ran.stdout.decode("utf-8", "replace")
        else:
            answer["error"] = ran.stderr.decode("utf-8", "replace")[:200]
        return answer


def words(text):
    # Markup of one tool is no text: links' targets, images, and what draws tables.
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text)
    text = re.sub(r"\]\([^)]*\)", " ", text)
    text = re.sub(r"<[^<>]{0,80}>", " ", text)
    return collections.Counter(re.findall(r"[^\W_]+(?:[.,][0-9]+)*", text.lower()))


def is_number(word):
    return any(character.isdigit() for character in word)


def recall(found, pool, keep):
    total = sum(count for word, count in pool.items() if keep(word))
    return sum(min(found[word], count) for word, count in pool.items() if keep(word)), total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker")
    parser.add_argument("--binary")
    parser.add_argument("--corpus")
    parser.add_argument("--only", default=",".join(GROUPS))
    parser.add_argument("--losses", type=int, default=0, help="print the files on which we lose most")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker)
        return
    tools = {"0711": Ours(args.binary)}
    tools.update((tool, Peer(tool)) for tool in ("markitdown", "kreuzberg", "pymupdf4llm"))
    files = collections.defaultdict(list)
    for folder, _, names in sorted(os.walk(args.corpus)):
        # Damaged files have no text to compare.
        if "broken" in folder:
            continue
        for name in sorted(names):
            ending = name.rsplit(".", 1)[-1].lower()
            for group, endings in GROUPS.items():
                if ending in endings:
                    files[group].append(os.path.join(folder, name))
    losses = []
    head = f"{'format':6} {'files':>5}  " + "  ".join(f"{tool:>30}" for tool in tools)
    print(head)
    print(f"{'':13}  " + "  ".join(f"{'words  numbers  files/s   MB':>30}" for _ in tools))
    for group in args.only.split(","):
        sums = {tool: [0, 0, 0, 0, 0.0, 0, 0] for tool in tools}
        for path in files[group]:
            answers = {}
            for tool, reader in tools.items():
                if tool == "pymupdf4llm" and group not in ("pdf", "epub"):
                    continue
                answers[tool] = reader.read(path)
            bags = {tool: words(answer.get("text") or "") for tool, answer in answers.items()}
            pool = {}
            for word in set().union(*bags.values()):
                counts = sorted((bag[word] for bag in bags.values()), reverse=True)
                if len(counts) > 1 and counts[1]:
                    pool[word] = counts[1]
            share = {}
            for tool, bag in bags.items():
                text, numbers = recall(bag, pool, lambda word: True), recall(bag, pool, is_number)
                one = sums[tool]
                for index, value in enumerate((*text, *numbers)):
                    one[index] += value
                one[4] += answers[tool]["seconds"]
                one[5] = max(one[5], answers[tool].get("peak_kb", 0))
                one[6] += 1
                share[tool] = text[0] / text[1] if text[1] else 1.0
            best = max((value, tool) for tool, value in share.items() if tool != "0711")
            lost = {w: c - bags["0711"][w] for w, c in pool.items() if c > bags["0711"][w]}
            most = sorted(lost.items(), key=lambda item: -item[1])[:8]
            losses.append((best[0] - share["0711"], path, share["0711"], best, answers["0711"].get("error"), most))
        cells = []
        for tool, (text, texts, numbers, all_numbers, seconds, peak_kb, count) in sums.items():
            if not count:
                cells.append(f"{'–':>30}")
                continue
            share = lambda part, whole: f"{part / whole:.3f}" if whole else "–"
            speed = count / max(seconds, 1e-9)
            cells.append(
                f"{share(text, texts):>7} {share(numbers, all_numbers):>8} {speed:>8.1f} {peak_kb / 1024:>5.0f}"
            )
        print(f"{group:6} {len(files[group]):>5}  " + "  ".join(cells), flush=True)
    losses.sort(key=lambda loss: (-loss[0], loss[1]))
    for behind, path, ours, best, error, most in losses[: args.losses]:
        if behind > 0:
            print(f"{behind:.3f}  {os.path.relpath(path, args.corpus)}  ours {ours:.3f}, {best[1]} {best[0]:.3f}  {error or most}")


main()
