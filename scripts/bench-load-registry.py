"""A read-only registry on 127.0.0.1 over the blobs of a bundle: the transport `scripts/bench-load.sh` measures ours against."""

import http.server
import json
import pathlib
import re
import sys

bundle, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
blobs = bundle / "blobs" / "sha256"
index = json.loads((bundle / "index.json").read_text())
tags = {m["annotations"]["org.opencontainers.image.ref.name"]: m["digest"].split(":")[1] for m in index["manifests"]}


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def answer(self, with_body):
        if self.path == "/v2/":
            return self.send(200, b"{}", "application/json", None, with_body)
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(?:sha256:)?([0-9a-z.]+)", self.path)
        if not found:
            return self.send(404, b"{}", "application/json", None, with_body)
        name, kind, reference = found.groups()
        digest = tags.get(f"{name}:{reference}", reference)
        path = blobs / digest
        if not path.is_file():
            return self.send(404, b"{}", "application/json", None, with_body)
        media = json.loads(path.read_text())["mediaType"] if kind == "manifests" else "application/octet-stream"
        self.send(200, path, media, digest, with_body)

    def send(self, status, body, media, digest, with_body):
        size = body.stat().st_size if isinstance(body, pathlib.Path) else len(body)
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(size))
        if digest:
            self.send_header("Docker-Content-Digest", f"sha256:{digest}")
        self.end_headers()
        if not with_body:
            return
        if isinstance(body, pathlib.Path):
            with body.open("rb") as file:
                self.connection.sendfile(file)
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", port), Registry).serve_forever()
