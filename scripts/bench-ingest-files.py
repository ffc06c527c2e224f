#!/usr/bin/env python3
"""Makes the files bench-ingest.sh reads: the same bytes for the same arguments, of nothing but Python's own library.

    bench-ingest-files.py FOLDER COUNT mixed    docx, pdf, xlsx, pptx, html, eml, csv, md and txt, German and English, 1 to 12 passages
    bench-ingest-files.py FOLDER COUNT small    text files of one short passage
"""

import email.message
import os
import random
import sys
import zipfile
from xml.sax.saxutils import escape

FORMATS = ["docx", "pdf", "xlsx", "docx", "html", "pptx", "eml", "pdf", "md", "csv", "txt", "docx"]
PARAGRAPHS = [2, 3, 4, 6, 8, 12, 20, 32]

GERMAN = [
    "Die {noun} {code} ist für einen Bemessungsstrom von {number} A und eine Spannung von {other} V ausgelegt.",
    "Vor Arbeiten an der {noun} ist die Anlage spannungsfrei zu schalten und gegen Wiedereinschalten zu sichern.",
    "Der Kunde meldete am {day}.03.2024, dass die {noun} nach {number} Betriebsstunden ungewöhnliche Geräusche macht.",
    "Nach DIN EN 60947-{number} wird die {noun} einer Stückprüfung mit {other} V unterzogen.",
    "Die Lieferzeit der {noun} beträgt {number} Wochen ab Werk, Teillieferungen sind nach Absprache möglich.",
    "Ersatzteile zur {noun} {code} führen wir mindestens {number} Jahre nach Auslauf der Baureihe.",
]
ENGLISH = [
    "The {noun} {code} carries a rated current of {number} A at {other} V and an ambient temperature of 40 degrees.",
    "Tighten the clamping screws of the {noun} with {number} Nm and check them again after the first {other} hours.",
    "The customer reported that the {noun} tripped {number} times although the load stayed below {other} W.",
    "Certificates for the {noun} according to UL 508 and IEC 61439 are enclosed; they expire in {number} months.",
    "Our offer for {number} pieces of the {noun} {code} is valid until the end of the quarter.",
]
NOUNS = {
    True: ["Reihenklemme", "Kreiselpumpe", "Schaltschrankheizung", "Sicherungslasttrennschalter", "Dichtung", "Frequenzumrichterbaugruppe"],
    False: ["terminal block", "circuit breaker", "pump housing", "frequency converter", "cable gland", "power supply"],
}


class Writer:
    def __init__(self, number):
        self.random = random.Random(number)
        self.number = number
        self.german = number % 3 != 0

    def code(self):
        return f"{self.random.choice(['WDU', 'KX', 'NH', 'P'])} {self.random.randrange(1, 4000)}.{self.random.randrange(10)}"

    def sentence(self):
        pick = self.random
        return pick.choice(GERMAN if self.german else ENGLISH).format(
            noun=pick.choice(NOUNS[self.german]), code=self.code(), number=pick.randrange(2, 97), other=pick.randrange(12, 960), day=pick.randrange(10, 29)
        )

    def paragraph(self):
        return " ".join(self.sentence() for _ in range(self.random.randrange(2, 7)))

    def blocks(self):
        """Headings, which start with #, and paragraphs."""
        found = [f"# {'Prüfbericht' if self.german else 'Test report'} KX-{self.number:06d}"]
        for index in range(PARAGRAPHS[self.number % len(PARAGRAPHS)]):
            if index % 4 == 3:
                found.append(f"## {self.random.choice(NOUNS[self.german])} {self.code()}")
            found.append(self.paragraph())
        return found

    def table(self):
        yield ["Artikelnummer", "Bezeichnung", "Menge", "Preis"] if self.german else ["Part number", "Description", "Quantity", "Price"]
        for row in range(PARAGRAPHS[self.number % len(PARAGRAPHS)] * 3):
            name = f"{self.random.choice(NOUNS[self.german])} {self.code()}"
            yield [f"KX-{self.number:06d}-{row}", name, str(self.random.randrange(1, 500)), f"{self.random.randrange(1, 900)},{row % 100:02d}"]


def packed(path, parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, text in parts.items():
            out.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + text, zipfile.ZIP_DEFLATED)


PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
NAMES = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def types(parts):
    overrides = "".join(f'<Override PartName="/{name}" ContentType="application/vnd.openxmlformats-officedocument.{kind}+xml"/>' for name, kind in parts)
    rels = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    return f'<Types xmlns="{PACKAGE}/content-types">{rels}<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'


def relations(targets):
    rows = "".join(f'<Relationship Id="rId{at}" Type="{OFFICE}/{kind}" Target="{target}"/>' for at, (kind, target) in enumerate(targets, 1))
    return f'<Relationships xmlns="{PACKAGE}/relationships">{rows}</Relationships>'


def docx(path, writer):
    body = ""
    for block in writer.blocks():
        level = len(block) - len(block.lstrip("#"))
        style = f'<w:pPr><w:pStyle w:val="Heading{level}"/></w:pPr>' if level else ""
        body += f'<w:p>{style}<w:r><w:t xml:space="preserve">{escape(block.lstrip("# "))}</w:t></w:r></w:p>'
    styles = "".join(f'<w:style w:type="paragraph" w:styleId="Heading{level}"><w:name w:val="heading {level}"/></w:style>' for level in (1, 2))
    packed(path, {
        "[Content_Types].xml": types([("word/document.xml", "wordprocessingml.document.main"), ("word/styles.xml", "wordprocessingml.styles")]),
        "_rels/.rels": relations([("officeDocument", "word/document.xml")]),
        "word/_rels/document.xml.rels": relations([("styles", "styles.xml")]),
        "word/styles.xml": f"<w:styles {NAMES}>{styles}</w:styles>",
        "word/document.xml": f"<w:document {NAMES}><w:body>{body}</w:body></w:document>",
    })


def xlsx(path, writer):
    rows = ""
    for number, row in enumerate(writer.table(), 1):
        cells = "".join(f'<c r="{"ABCD"[at]}{number}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>' for at, cell in enumerate(row))
        rows += f'<row r="{number}">{cells}</row>'
    sheet = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    packed(path, {
        "[Content_Types].xml": types([("xl/workbook.xml", "spreadsheetml.sheet.main"), ("xl/worksheets/sheet1.xml", "spreadsheetml.worksheet")]),
        "_rels/.rels": relations([("officeDocument", "xl/workbook.xml")]),
        "xl/_rels/workbook.xml.rels": relations([("worksheet", "worksheets/sheet1.xml")]),
        "xl/workbook.xml": f'<workbook {sheet} xmlns:r="{OFFICE}"><sheets><sheet name="Liste" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": f"<worksheet {sheet}><sheetData>{rows}</sheetData></worksheet>",
    })


def pptx(path, writer):
    blocks = writer.blocks()
    slides = [blocks[at : at + 2] for at in range(0, len(blocks), 2)]
    names = f'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:r="{OFFICE}"'
    parts = {
        "[Content_Types].xml": types([("ppt/presentation.xml", "presentationml.presentation.main")] + [(f"ppt/slides/slide{at}.xml", "presentationml.slide") for at in range(1, len(slides) + 1)]),
        "_rels/.rels": relations([("officeDocument", "ppt/presentation.xml")]),
        "ppt/_rels/presentation.xml.rels": relations([("slide", f"slides/slide{at}.xml") for at in range(1, len(slides) + 1)]),
        "ppt/presentation.xml": f"<p:presentation {names}><p:sldIdLst>" + "".join(f'<p:sldId id="{255 + at}" r:id="rId{at}"/>' for at in range(1, len(slides) + 1)) + "</p:sldIdLst></p:presentation>",
    }
    head = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
    for at, slide in enumerate(slides, 1):
        text = "".join(f"<a:p><a:r><a:t>{escape(block.lstrip('# '))}</a:t></a:r></a:p>" for block in slide)
        shape = f'<p:sp><p:nvSpPr><p:cNvPr id="2" name="T"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>{text}</p:txBody></p:sp>'
        parts[f"ppt/slides/slide{at}.xml"] = f"<p:sld {names}><p:cSld><p:spTree>{head}{shape}</p:spTree></p:cSld></p:sld>"
    packed(path, parts)


def pdf(path, writer):
    lines = []
    for block in writer.blocks():
        line = ""
        for word in block.lstrip("# ").split():
            if len(line) + len(word) > 88:
                lines.append(line)
                line = ""
            line = f"{line} {word}".strip()
        lines += [line, ""]
    pages = [lines[at : at + 52] for at in range(0, len(lines), 52)]
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(len(pages)))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>".encode(), b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"]
    for at, page in enumerate(pages):
        shown = "".join("(" + line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") + ") Tj T*\n" for line in page)
        content = f"BT /F1 10 Tf 14 TL 56 780 Td\n{shown}ET".encode("cp1252", "replace")
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * at} 0 R /Resources << /Font << /F1 3 0 R >> >> >>".encode())
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    out, places = b"%PDF-1.4\n", []
    for at, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (at, body)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    tail = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    open(path, "wb").write(out + tail.encode())


def html(path, writer):
    tag = lambda block: f"<h{block.count('#', 0, 3)}>{escape(block.lstrip('# '))}</h{block.count('#', 0, 3)}>" if block.startswith("#") else f"<p>{escape(block)}</p>"
    text = "\n".join(tag(block) for block in writer.blocks())
    open(path, "w", encoding="utf-8").write(f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>KX-{writer.number:06d}</title></head><body>{text}</body></html>\n')


def eml(path, writer):
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Date"] = "a@example.com", "b@example.com", "Mon, 18 Mar 2024 09:00:00 +0100"
    message["Subject"] = f"KX-{writer.number:06d}"
    message.set_content("\n\n".join(block.lstrip("# ") for block in writer.blocks()))
    open(path, "wb").write(message.as_bytes())


def csv(path, writer):
    open(path, "w", encoding="utf-8").write("".join(";".join(row) + "\n" for row in writer.table()))


def text(path, writer):
    open(path, "w", encoding="utf-8").write("\n\n".join(writer.blocks()) + "\n")


def small(path, writer):
    open(path, "w", encoding="utf-8").write(f"KX-{writer.number:06d}. {writer.sentence()} {writer.sentence()}\n")


def main():
    folder, count, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    makers = {"docx": docx, "xlsx": xlsx, "pptx": pptx, "pdf": pdf, "html": html, "eml": eml, "csv": csv, "md": text, "txt": text}
    for number in range(count):
        place = os.path.join(folder, f"{number // 500:03d}")
        os.makedirs(place, exist_ok=True)
        ending = "txt" if kind == "small" else FORMATS[number % len(FORMATS)]
        maker = small if kind == "small" else makers[ending]
        maker(os.path.join(place, f"bericht_{number:06d}.{ending}"), Writer(number))


main()
