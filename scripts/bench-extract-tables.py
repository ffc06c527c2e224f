"""Tables of a file by a second reading, and how well a tool's text keeps their rows. Part of bench-extract.py."""

import collections
import csv
import datetime
import re
import zipfile


def reference(path):
    """Rows of filled cells, each with at least two, and the number of pages of a PDF; none where there is no second reading, or it fails."""
    name = path.lower()
    readers = {
        (".csv", ".tsv"): of_csv,
        (".xlsx", ".xlsm"): of_xlsx,
        (".xls",): of_xls,
        (".docx", ".docm"): of_docx,
        (".pptx", ".pptm"): of_pptx,
        (".html", ".htm"): of_html,
        (".odt", ".ods", ".odp"): of_odf,
        (".pdf",): of_pdf,
    }
    read = next((read for endings, read in readers.items() if name.endswith(endings)), None)
    try:
        rows, pages = ([], 0) if read is None else read(path) if read is of_pdf else (read(path), 0)
    except Exception:
        return {"rows": [], "pages": 0}
    cells = ([plain(cell) for cell in row] for row in rows)
    filled = ([cell for cell in row if cell] for row in cells)
    return {"rows": [row for row in filled if len(row) >= 2], "pages": pages}


def kept(rows, text):
    """The sum over the rows of how far a row of the text is that row (0 to 1)."""
    found = output_rows(text)
    by_cell = collections.defaultdict(list)
    for index, row in enumerate(found):
        for cell in set(row):
            by_cell[cell].append(index)
    used, sum_kept = set(), 0.0
    for row in rows:
        votes = collections.Counter()
        for cell in set(row):
            # A cell half the table has does not tell which row it is.
            for index in by_cell[cell][:2000]:
                if index not in used:
                    votes[index] += 1
        best = (0.0, None)
        for index, _ in votes.most_common(8):
            score = 2 * in_order(row, found[index]) / (len(row) + len(found[index]))
            best = max(best, (score, index), key=lambda pair: pair[0])
        if best[1] is not None:
            used.add(best[1])
            sum_kept += best[0]
    return sum_kept


def in_order(a, b):
    """The length of the longest common subsequence."""
    line = [0] * (len(b) + 1)
    for x in a:
        corner = 0
        for j, y in enumerate(b, 1):
            corner, line[j] = line[j], corner + 1 if x == y else max(line[j], line[j - 1])
    return line[-1]


def output_rows(text):
    """Rows of pipe tables and of HTML tables in Markdown."""
    rows = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("|") and line.count("|") >= 2 and not re.fullmatch(r"[|\s:-]+", line):
            cells = re.split(r"(?<!\\)\|", line)
            cells = [plain(cell.replace("\\|", "|")) for cell in cells]
            rows.append([cell for cell in cells if cell])
    if "<td" in text or "<th" in text:
        from bs4 import BeautifulSoup

        rows.extend([plain(cell) for cell in row if plain(cell)] for row in html_rows(BeautifulSoup(text, "lxml")))
    return [row for row in rows if row]


def plain(value):
    """A cell without what a rendering may change: white space, marks of Markdown, the ways to write one number or date."""
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        value = value.isoformat(" ")
    text = re.sub(r"<br\s*/?>", " ", str(value))
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"[*_`\\\u00ad]", "", text)
    text = text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    text = "".join(text.split()).lower()
    if text in ("nan", "nat", "none"):
        return ""
    date = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:t?00:00:00)", text)
    if date:
        return date[1]
    german = re.fullmatch(r"(\d\d?)\.(\d\d?)\.(\d{4})", text)
    if german:
        return f"{german[3]}-{int(german[2]):02}-{int(german[1]):02}"
    if re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text) and not re.match(r"-?0\d", text):
        return f"{float(text):.9g}"
    return text


def of_csv(path):
    raw = open(path, "rb").read()
    for encoding in ("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "cp1252"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    lines = text.splitlines()[:50]
    delimiter = max(";\t,|", key=lambda mark: sum(mark in line for line in lines) * 1000 + sum(line.count(mark) for line in lines))
    return list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter))


def of_xlsx(path):
    import openpyxl

    book = openpyxl.load_workbook(path, data_only=True)
    return [row for sheet in book.worksheets for row in sheet.iter_rows(values_only=True)]


def of_xls(path):
    import xlrd

    book = xlrd.open_workbook(path)
    rows = []
    for sheet in book.sheets():
        for number in range(sheet.nrows):
            row = []
            for cell in sheet.row(number):
                date = cell.ctype == xlrd.XL_CELL_DATE and cell.value >= 1
                row.append(xlrd.xldate_as_datetime(cell.value, book.datemode) if date else cell.value)
            rows.append(row)
    return rows


def of_docx(path):
    import docx

    rows = []
    for table in docx.Document(path).tables:
        for row in table.rows:
            seen, cells = set(), []
            for cell in row.cells:
                if id(cell._tc) not in seen:
                    seen.add(id(cell._tc))
                    cells.append(cell.text)
            rows.append(cells)
    return rows


def of_pptx(path):
    import pptx

    return [
        [cell.text for cell in row.cells if not cell.is_spanned]
        for slide in pptx.Presentation(path).slides
        for shape in slide.shapes
        if shape.has_table
        for row in shape.table.rows
    ]


def html_rows(soup):
    # A table that lays out the page holds others.
    return [
        [cell.get_text(" ") for cell in row.find_all(["td", "th"])] for row in soup.find_all("tr") if not row.find("tr")
    ]


def of_html(path):
    from bs4 import BeautifulSoup

    return html_rows(BeautifulSoup(open(path, "rb").read(), "lxml"))


def of_odf(path):
    from lxml import etree

    table = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
    paragraph = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}p"
    tree = etree.fromstring(zipfile.ZipFile(path).read("content.xml"))
    rows = []
    for row in tree.iter(f"{table}table-row"):
        cells = []
        for cell in row.findall(f"{table}table-cell"):
            text = " ".join("".join(part.itertext()) for part in cell.iter(paragraph))
            cells.extend([text] * min(int(cell.get(f"{table}number-columns-repeated", 1)), 64 if text else 1))
        rows.append(cells)
    return rows


def of_pdf(path):
    import pdfplumber

    rows = []
    with pdfplumber.open(path) as pdf:
        for page in pdf.pages:
            for found in page.find_tables():
                # One cell is a frame around text.
                if len(found.cells) >= 4 and len(found.rows) >= 2:
                    rows.extend(found.extract())
            page.close()
        return rows, len(pdf.pages)
