#!/usr/bin/env python3
"""Our extraction beside markitdown, kreuzberg and pymupdf4llm, file by file, in one run.

    bench-extract.py --binary 0711 --corpus DIR [--only pdf,docx] [--losses N]

What is measured:

- words, numbers: compared as multisets. There is no written truth for most files, so what at least two of the tools found counts as being in the
  file, and a tool's recall is its share of that, over all files of the format. This rewards agreement: what one tool alone finds counts for
  nobody, an error two tools share counts as truth (our general reader and kreuzberg are of one family), and nothing is taken off for text
  that is not there.
- tables: rows of cells a second reading finds (csv, openpyxl, xlrd, python-docx, python-pptx, BeautifulSoup, OpenDocument's XML, pdfplumber's
  ruled tables; see bench-extract-tables.py). Each reference row is paired with the row of the output that shares most cells with it, in order;
  it counts 2 × shared / (its cells + that row's cells), each row of the output once. Rows of fewer than two filled cells are left out. Recall
  only: tables that are none cost nothing. Some peers use the same library as the second reading, which is to their advantage.
- speed: files, and for PDF pages, per second of processor time (user and system), so that other work on the machine counts less. Ours is a whole
  process for every file, start and sandbox included; the others are calls in one warm process. `start` says what ours costs for a file of three
  words.
- memory: the largest resident set of any process while reading that format; peers begin each format with a new process.
"""

import argparse
import collections
import html
import importlib.util
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading

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
    "txt": {"txt"},
    "md": {"md"},
    "xml": {"xml"},
    # Catalogues and invoices: read as products, prices and totals, which scripts/bench-catalog.sh and the tests compare exactly; the others print
    # the whole XML, its technical attributes as well.
    "xml-data": set(),
    "json": {"json", "jsonl", "ndjson"},
    "epub": {"epub"},
    "zip": {"zip"},
}
LIMIT_SECONDS = 60


def processor_seconds(usage):
    return usage.ru_utime + usage.ru_stime


def worker(tool):
    """Answers one path a line with a JSON line: the text, or why not."""
    if tool == "markitdown":
        from markitdown import MarkItDown

        converter = MarkItDown()
        read = lambda path: converter.convert(path).text_content
    elif tool == "kreuzberg":
        from kreuzberg import ExtractionConfig, extract_file_sync

        config = ExtractionConfig(output_format="markdown", use_cache=False)
        read = lambda path: extract_file_sync(path, config=config).content
    elif tool == "reference":
        tables = load_tables()
        read = tables.reference
    else:
        import pymupdf4llm

        read = lambda path: pymupdf4llm.to_markdown(path, show_progress=False)
    # Readers print as they like: the answers go where nobody else writes.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"ready": True}), file=out, flush=True)
    spent = lambda: sum(processor_seconds(resource.getrusage(who)) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    for line in sys.stdin:
        began = spent()
        try:
            answer = {"text": read(line.rstrip("\n"))}
        except BaseException as error:  # what a reader throws is its answer
            answer = {"error": str(error)[:200]}
        answer["seconds"] = spent() - began
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
        self.rest()
        return {"error": "died or took too long", "seconds": LIMIT_SECONDS}

    def rest(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Ours:
    def __init__(self, binary):
        import ctypes

        self.binary = binary
        # The program ends before its worker does; this makes the worker ours to wait for, so that its time and memory are counted.
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

    def read(self, path):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen([self.binary, "extract", path], stdout=out, stderr=errors, start_new_session=True)
            killer = threading.Timer(LIMIT_SECONDS, lambda: os.killpg(process.pid, signal.SIGKILL))
            killer.start()
            answer = {"seconds": 0.0, "peak_kb": 0}
            while True:
                try:
                    pid, status, usage = os.wait4(-process.pid, 0)
                except ChildProcessError:
                    break
                answer["seconds"] += processor_seconds(usage)
                answer["peak_kb"] = max(answer["peak_kb"], usage.ru_maxrss)
                if pid == process.pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
            killer.cancel()
            out.seek(0)
            errors.seek(0)
            if process.returncode == 0:
                answer["text"] = out.read().decode("utf-8", "replace")
            else:
                answer["error"] = errors.read().decode("utf-8", "replace")[:200]
            return answer

    def rest(self):
        pass


def words(text, of_json=False):
    # What cannot be seen parts no word.
    text = text.replace("\u00ad", "")
    if of_json:
        text = re.sub(r'"(?:[^"\\]|\\.)*"\s*:', " ", text)
    # Markup of one tool is no text: links' targets, images, and what draws tables.
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text)
    text = re.sub(r"\]\([^)]*\)", " ", text)
    text = re.sub(r"\bxmlns(:\w+)?=\"[^\"]*\"", " ", text)
    text = html.unescape(re.sub(r"<[^<>]{0,80}>", " ", text))
    # A file encoded into a text (an attachment in an invoice, an image in a page) is none.
    text = re.sub(r"[A-Za-z0-9+/=]{60,}", " ", text)
    return collections.Counter(re.findall(r"[^\W_]+(?:[.,][0-9]+)*", text.lower()))


def is_number(word):
    return any(character.isdigit() for character in word)


def recall(found, pool, keep):
    total = sum(count for word, count in pool.items() if keep(word))
    return sum(min(found[word], count) for word, count in pool.items() if keep(word)), total


def is_data(path):
    with open(path, "rb") as file:
        head = file.read(4096).decode("utf-8", "replace")
    root = re.search(r"<(?:[\w.-]+:)?(BMECAT|CrossIndustryDocument|CrossIndustryInvoice|Invoice|CreditNote|INVOICE|DISPATCHNOTIFICATION)[\s>]", head)
    return root is not None


def is_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError:
        return False
    if not text.lstrip().startswith(("{", "[")):
        return False
    for part in (text, *text.splitlines()[:1]):
        try:
            json.loads(part)
            return True
        except ValueError:
            continue
    return False


def load_tables():
    # The name has a dash, like the others of this folder.
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench-extract-tables.py")
    spec = importlib.util.spec_from_file_location("tables", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker")
    parser.add_argument("--binary")
    parser.add_argument("--corpus")
    parser.add_argument("--only", default=",".join(GROUPS))
    parser.add_argument("--tools", default="0711,markitdown,kreuzberg,pymupdf4llm")
    parser.add_argument("--losses", type=int, default=0, help="print the files on which we lose most")
    parser.add_argument("--json", help="write what was found of every file to this file")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker)
        return
    tables = load_tables()
    tools = {tool: Ours(args.binary) if tool == "0711" else Peer(tool) for tool in args.tools.split(",")}
    files = collections.defaultdict(list)
    for folder, _, names in sorted(os.walk(args.corpus)):
        # Damaged files have no text to compare.
        if "broken" in folder:
            continue
        for name in sorted(names):
            ending = name.rsplit(".", 1)[-1].lower()
            for group, endings in GROUPS.items():
                if ending in endings:
                    path = os.path.join(folder, name)
                    if group == "xml" and is_data(path):
                        group = "xml-data"
                    elif group == "txt" and is_json(path):
                        group = "json"
                    files[group].append(path)
                    break
    if "0711" in tools:
        with tempfile.NamedTemporaryFile(suffix=".txt") as small:
            small.write(b"three small words\n")
            small.flush()
            print(f"start of 0711: {tools['0711'].read(small.name)['seconds']:.3f} s of processor time\n")
    losses, record = [], []
    for group in args.only.split(","):
        of_pages = group == "pdf"
        sums = {tool: collections.Counter() for tool in tools}
        rows_known = 0
        # In a process of its own: what a large process starts is counted as large.
        second = Peer("reference")
        for path in files[group]:
            answers = {}
            for tool, reader in tools.items():
                if tool == "pymupdf4llm" and group not in ("pdf", "epub"):
                    continue
                answers[tool] = reader.read(path)
            texts = {tool: answer.get("text") or "" for tool, answer in answers.items()}
            bags = {tool: words(text, group == "json") for tool, text in texts.items()}
            pool = {}
            for word in set().union(*bags.values()):
                counts = sorted((bag[word] for bag in bags.values()), reverse=True)
                if len(counts) > 1 and counts[1]:
                    pool[word] = counts[1]
            known = second.read(path).get("text") or {"rows": [], "pages": 0}
            reference, pages = known["rows"], known["pages"]
            rows_known += len(reference)
            share, kept = {}, {}
            for tool, bag in bags.items():
                found, total = recall(bag, pool, lambda word: True)
                numbers, all_numbers = recall(bag, pool, is_number)
                kept[tool] = tables.kept(reference, texts[tool])
                one = sums[tool]
                one.update(found=found, total=total, numbers=numbers, all_numbers=all_numbers, files=1, pages=pages)
                one["seconds"] += answers[tool]["seconds"]
                one["rows"] += kept[tool]
                one["peak_kb"] = max(one["peak_kb"], answers[tool].get("peak_kb", 0))
                share[tool] = found / total if total else 1.0
            record.append(
                {
                    "path": os.path.relpath(path, args.corpus),
                    "group": group,
                    "words": share,
                    "rows": kept,
                    "rows_known": len(reference),
                    "seconds": {tool: answer["seconds"] for tool, answer in answers.items()},
                    "pages": pages,
                    "errors": {tool: answer["error"] for tool, answer in answers.items() if "error" in answer},
                }
            )
            others = [(value, tool) for tool, value in share.items() if tool != "0711"]
            if others and "0711" in bags:
                best = max(others)
                lost = {w: c - bags["0711"][w] for w, c in pool.items() if c > bags["0711"][w]}
                most = sorted(lost.items(), key=lambda item: -item[1])[:8]
                losses.append((best[0] - share["0711"], path, share["0711"], best, answers["0711"].get("error"), most))
        second.rest()
        for reader in tools.values():
            reader.rest()
        print(f"{group}: {len(files[group])} files, {rows_known} rows of tables known")
        unit = "pages/s" if of_pages else ""
        print(f"  {'':12} {'words':>7} {'numbers':>8} {'tables':>7} {'files/s':>8} {unit:>8} {'MB':>6}")
        part = lambda some, whole: f"{some / whole:.3f}" if whole else "–"
        for tool, one in sums.items():
            if one["files"]:
                seconds = max(one["seconds"], 1e-9)
                pages = f"{one['pages'] / seconds:.1f}" if of_pages else ""
                print(
                    f"  {tool:12} {part(one['found'], one['total']):>7} {part(one['numbers'], one['all_numbers']):>8} "
                    f"{part(one['rows'], rows_known):>7} {one['files'] / seconds:>8.1f} {pages:>8} {one['peak_kb'] / 1024:>6.0f}"
                )
        print(flush=True)
    if args.json:
        with open(args.json, "w") as out:
            json.dump(record, out, indent=1)
    losses.sort(key=lambda loss: (-loss[0], loss[1]))
    for behind, path, ours, best, error, most in losses[: args.losses]:
        if behind > 0:
            print(f"{behind:.3f}  {os.path.relpath(path, args.corpus)}  ours {ours:.3f}, {best[1]} {best[0]:.3f}  {error or most}")


main()
