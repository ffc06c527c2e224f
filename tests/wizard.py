#!/usr/bin/env python3
"""Answers the wizard in a terminal of its own, as a person would.

    wizard.py --binary FILE --share DIR --root DIR

Goes back once, stops at the summary, and presses Ctrl-C in another run; in both cases nothing may be left behind.
"""

import argparse
import os
import pty
import select
import signal
import sys
import time

QUIET_SECONDS = 1.0
LIMIT_SECONDS = 90


def play(command, keys):
    """Types each of `keys` when the program has gone quiet; returns what it showed and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(command[0], command)
    shown, keys, list_passed = b"", list(keys), False
    started = spoke = time.monotonic()
    while time.monotonic() - started < LIMIT_SECONDS:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            try:
                part = os.read(terminal, 4096)
            except OSError:
                break
            if not part:
                break
            shown, spoke = shown + part, time.monotonic()
        elif keys and shown and time.monotonic() - spoke > QUIET_SECONDS:
            if "space picks".encode() in shown and not list_passed:
                # Folders of this machine are proposed first: none of them is picked.
                list_passed = True
                os.write(terminal, b"\r")
            else:
                os.write(terminal, keys.pop(0))
            spoke = time.monotonic()
    else:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return shown.decode(errors="replace"), os.waitstatus_to_exitcode(status)


def main():
    parser = argparse.ArgumentParser()
    for name in ("binary", "share", "root"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    command = [args.binary, "install", "--root", args.root]
    down = b"\x1b[B"
    name = "Müller & Söhne GmbH\r".encode()

    folders = [f"{args.share}\r".encode(), b"\r"]
    # The agent looks, a person approves; no address is one word.
    updates = [down + b"\r", b"nowhere\r", b"https://releases.example.com/stable\r", b"22:00-04:00\r"]
    shown, code = play(command, [name, b"<\r", b"\r", b"DEMO\r", *folders, b"\r", b"0\r", *updates, down + down + b"\r"])
    failures = []
    for words in ("mueller-soehne-gmbh", "37 files", "is no https address", "each approved by a person", "nothing was changed"):
        if words not in shown:
            failures.append(f"the wizard did not show {words!r}")
    if code != 0:
        failures.append(f"stopping at the summary ended with {code}")
    interrupted, code = play(command, [name, b"\x03"])
    if code != 130:
        failures.append(f"Ctrl-C ended with {code}")
    if os.path.exists(args.root):
        failures.append("something was left behind")
    for failure in failures:
        print(f"FAIL  {failure}")
    if failures:
        print(shown, interrupted, sep="\n---\n")
        sys.exit(1)
    print("ok    the wizard asks, goes back, stops, and leaves nothing behind")


main()
