#!/bin/bash
# How fast a large catalogue is read, and in how much memory. Usage: bench-catalog.sh BINARY [MEGABYTES [FOLDER]]
#
# Makes a BMEcat 2005 and an ETIM xChange file of about that size (500) in FOLDER (a temporary one), streams each through `BINARY extract --as
# structured`, and prints for each: size, products, whether all came, seconds, MB/s, and the peak of resident memory of the program
# and of its worker.
set -euo pipefail
binary=$1 megabytes=${2:-500} folder=${3:-}
if [ -z "$folder" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi

python3 - "$binary" "$megabytes" "$folder" <<'PYTHON'
import json, os, resource, subprocess, sys, threading, time

binary, megabytes, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
size = megabytes * 1_000_000

FEATURE = ('<FEATURE><FNAME lang="deu">Bemessungsstrom {f}</FNAME><FNAME lang="eng">Rated current {f}</FNAME><FVALUE>{v},{f}</FVALUE>'
           '<FUNIT>AMP</FUNIT><FORDER>{f}</FORDER></FEATURE>')
PRODUCT = ('<PRODUCT mode="new"><SUPPLIER_PID>MK-{n}</SUPPLIER_PID><PRODUCT_DETAILS><DESCRIPTION_SHORT lang="deu">Reihenklemme {n}'
           '</DESCRIPTION_SHORT><DESCRIPTION_SHORT lang="eng">Terminal {n}</DESCRIPTION_SHORT><DESCRIPTION_LONG lang="deu">{long}'
           '</DESCRIPTION_LONG><INTERNATIONAL_PID type="gtin">{gtin:014d}</INTERNATIONAL_PID></PRODUCT_DETAILS><PRODUCT_FEATURES>'
           '<REFERENCE_FEATURE_SYSTEM_NAME>ETIM-9.0</REFERENCE_FEATURE_SYSTEM_NAME><REFERENCE_FEATURE_GROUP_ID>EC000897'
           '</REFERENCE_FEATURE_GROUP_ID>{features}</PRODUCT_FEATURES><PRODUCT_PRICE_DETAILS><PRODUCT_PRICE price_type="net_list">'
           '<PRICE_AMOUNT>{v}.{c:02d}</PRICE_AMOUNT><PRICE_CURRENCY>EUR</PRICE_CURRENCY></PRODUCT_PRICE></PRODUCT_PRICE_DETAILS>'
           '</PRODUCT>\n')
LONG = "Schutzleiter-Reihenklemme mit Schraubanschluss für Leiter bis 2,5 mm², grün / gelb. " * 4

def bmecat(path):
    products = 0
    with open(path, "w", encoding="utf-8") as out:
        out.write('<?xml version="1.0" encoding="UTF-8"?>\n<BMECAT version="2005"><HEADER><CATALOG><LANGUAGE>deu</LANGUAGE>'
                  '<CATALOG_ID>1</CATALOG_ID><CATALOG_VERSION>1</CATALOG_VERSION></CATALOG></HEADER><T_NEW_CATALOG>\n')
        while out.tell() < size:
            for _ in range(200):
                features = "".join(FEATURE.format(f=f, v=products % 97) for f in range(20))
                out.write(PRODUCT.format(n=products, long=LONG, gtin=products, features=features, v=products % 997, c=products % 100))
                products += 1
        out.write("</T_NEW_CATALOG></BMECAT>\n")
    return products

def etim(path):
    products = 0
    with open(path, "w", encoding="utf-8") as out:
        out.write('{"CatalogueId":"1","CatalogueType":"FULL","CatalogueValidityStart":"2026-01-01","Language":["de-DE"],'
                  '"Supplier":[{"SupplierName":"Muster","Product":[')
        while out.tell() < size:
            for _ in range(200):
                features = [{"EtimFeatureCode": f"EF{f:06d}", "EtimValueNumeric": f"{products % 97}.{f:04d}"} for f in range(20)]
                product = {
                    "ProductIdentification": {"ManufacturerProductNumber": f"MK-{products}", "ProductGtin": [f"{products:014d}"]},
                    "ProductDetails": {"ProductDescriptions": [{"DescriptionLanguage": "de-DE",
                        "MinimalProductDescription": f"Reihenklemme {products}", "FullProductDescription": LONG}]},
                    "EtimClassification": [{"EtimReleaseVersion": "9.0", "EtimClassCode": "EC000897", "EtimFeatures": features}],
                    "TradeItem": [{"ItemIdentification": {"SupplierItemNumber": f"{products}"},
                        "Pricing": [{"NetPrice": f"{products % 997}.{products % 100:02d}", "PriceQuantity": "1"}]}],
                }
                out.write(("," if products else "") + json.dumps(product, ensure_ascii=False))
                products += 1
        out.write("]}]}")
    return products


def peak(pid):
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0

def run(name, path, expected):
    started = time.monotonic()
    process = subprocess.Popen([binary, "extract", path, "--as", "structured"], stdout=subprocess.PIPE)
    peaks = {"program": 0.0, "worker": 0.0}
    stop = threading.Event()

    def watch():
        while not stop.wait(0.05):
            peaks["program"] = max(peaks["program"], peak(process.pid))
            for thread in os.listdir(f"/proc/{process.pid}/task") if os.path.exists(f"/proc/{process.pid}/task") else []:
                try:
                    found = open(f"/proc/{process.pid}/task/{thread}/children").read().split()
                except OSError:
                    continue
                for child in found:
                    peaks["worker"] = max(peaks["worker"], peak(int(child)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    products = 0
    end = None
    for line in process.stdout:
        if line.startswith(b'{"item":"product"'):
            products += 1
        elif line.startswith(b'{"item":"end"'):
            end = json.loads(line)
    code = process.wait()
    seconds = time.monotonic() - started
    stop.set()
    watcher.join()
    whole = code == 0 and products == expected and end is not None and end["products"] == expected and end["features"] == 20 * expected
    megabytes = os.path.getsize(path) / 1e6
    print(f"{name}: {megabytes:.0f} MB, {products} products, {'all there' if whole else 'NOT WHOLE'}, {seconds:.1f} s, "
          f"{megabytes / seconds:.0f} MB/s, peak {peaks['program']:.0f} MiB program, {peaks['worker']:.0f} MiB worker")
    return whole

good = True
for name, make, file in [("BMEcat", bmecat, "katalog.xml"), ("ETIM xChange", etim, "katalog.json")]:
    path = os.path.join(folder, file)
    products = make(path)
    good &= run(name, path, products)
    os.unlink(path)
sys.exit(0 if good else 1)
PYTHON
