#!/usr/bin/env python3
"""Drives `0711 release conformance-client` over real connections, against repositories made and signed by python-tuf.

The command line is that of theupdateframework/tuf-conformance (CLIENT-CLI.md), which is in no package index: whoever has a copy runs
`pytest tuf_conformance --entrypoint "0711 release conformance-client"`. The cases here are our own. The last part lets python-tuf's
own client look at several hundred spoilt repositories: both must take, and refuse, the same.

    tests/tuf_conformance.py BINARY [ROUNDS]
"""

import copy
import datetime
import hashlib
import http.server
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
from urllib import parse

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import Updater

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
TOP = ["root", "timestamp", "snapshot", "targets"]
SIGNERS = [CryptoSigner.generate_ed25519() for _ in range(10)]


class Repository:
    """Four roles, one key each; files are public once they were published."""

    def __init__(self, signer=None):
        signer = signer or CryptoSigner.generate_ed25519
        later = NOW + 30 * DAY
        self.roles = {
            "root": Metadata(Root(expires=later)),
            "timestamp": Metadata(Timestamp(expires=later)),
            "snapshot": Metadata(Snapshot(expires=later)),
            "targets": Metadata(Targets(expires=later)),
        }
        self.signers = {}
        self.files = {}
        self.asked = []
        for role in TOP:
            self.use(role, [signer()])
        self.publish("root")
        self.release()

    def __getitem__(self, role):
        return self.roles[role].signed

    def use(self, role, signers, threshold=1):
        """Names the keys of a top-level role, and signs with them from now on."""
        self["root"].roles[role].keyids.clear()
        for signer in signers:
            self["root"].add_key(signer.public_key, role)
        self["root"].roles[role].threshold = threshold
        self.signers[role] = list(signers)

    def publish(self, role):
        metadata = self.roles[role]
        metadata.signatures.clear()
        for signer in self.signers[role]:
            metadata.sign(signer, append=True)
        quoted = parse.quote(role, "")
        name = "timestamp.json" if role == "timestamp" else f"{metadata.signed.version}.{quoted}.json"
        self.files[f"/metadata/{name}"] = metadata.to_bytes()
        return self.files[f"/metadata/{name}"]

    def release(self, hashes=False):
        """Publishes what is, from the targets up."""
        for role in [role for role in self.roles if role not in ("root", "timestamp", "snapshot")]:
            data = self.publish(role)
            self["snapshot"].meta[f"{role}.json"] = self.listed(role, data, hashes)
        data = self.publish("snapshot")
        self["timestamp"].snapshot_meta = self.listed("snapshot", data, hashes)
        self.publish("timestamp")

    def listed(self, role, data, hashes):
        if not hashes:
            return MetaFile(self[role].version)
        return MetaFile(self[role].version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

    def next(self, hashes=False):
        for role in ["targets", "snapshot", "timestamp"]:
            self[role].version += 1
        self.release(hashes)

    def next_root(self, signers=None):
        self["root"].version += 1
        kept, self.signers["root"] = self.signers["root"], signers or self.signers["root"]
        self.publish("root")
        self.signers["root"] = kept

    def add(self, name, data, role="targets"):
        self[role].targets[name] = TargetFile.from_data(name, data, ["sha256"])
        folder, _, last = name.rpartition("/")
        path = f"{folder}/{hashlib.sha256(data).hexdigest()}.{last}".lstrip("/")
        self.files[f"/targets/{path}"] = data

    def delegate(self, by, name, paths=("*",), terminating=False):
        if name not in self.roles:
            self.roles[name] = Metadata(Targets(expires=NOW + 30 * DAY))
            self.signers[name] = [SIGNERS[9]]
        if self[by].delegations is None:
            self[by].delegations = Delegations({}, {})
        role = DelegatedRole(name, [], 1, terminating, list(paths))
        self[by].delegations.roles[name] = role
        self[by].add_key(SIGNERS[9].public_key, name)


class Client:
    """The client under test with a folder of its own, and the server it asks."""

    binary = ""

    def __init__(self, repository):
        self.repository = repository
        self.dir = tempfile.TemporaryDirectory()
        self.metadata = pathlib.Path(self.dir.name, "metadata")
        self.targets = pathlib.Path(self.dir.name, "targets")
        self.metadata.mkdir()
        self.targets.mkdir()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                repository.asked.append(handler.path)
                data = repository.files.get(handler.path)
                handler.send_response(404 if data is None else 200)
                handler.send_header("Content-Length", str(len(data or b"")))
                handler.end_headers()
                handler.wfile.write(data or b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def run(self, *words, days=0):
        environment = {**os.environ, "FAKETIME": f"+{days * 86400}"}
        command = [*self.binary, "release", "conformance-client", "--metadata-dir", self.metadata, *words]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    def init(self, root=None):
        path = pathlib.Path(self.dir.name, "trusted.json")
        path.write_bytes(root or self.repository.files["/metadata/1.root.json"])
        assert self.run("init", path) == 0
        return self

    def refresh(self, days=0):
        self.repository.asked.clear()
        return self.run("--metadata-url", f"{self.url}/metadata", "refresh", days=days)

    def download(self, name):
        self.repository.asked.clear()
        where = ["--target-name", name, "--target-base-url", f"{self.url}/targets", "--target-dir", self.targets]
        return self.run("--metadata-url", f"{self.url}/metadata", *where, "download")

    def downloaded(self):
        return sorted(path.read_bytes() for path in self.targets.rglob("*") if path.is_file())

    def version(self, role):
        path = self.metadata / f"{role}.json"
        return Metadata.from_file(str(path)).signed.version if path.exists() else None

    def versions(self):
        return [self.version(role) for role in TOP]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.dir.cleanup()


CASES = []


def case(function):
    CASES.append((function.__name__, function))
    return function


@case
def basic():
    client = Client(Repository()).init()
    assert client.refresh() == 0
    names = [path.removeprefix("/metadata/") for path in client.repository.asked]
    assert names == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"], names
    assert client.versions() == [1, 1, 1, 1]
    assert client.refresh() == 0 and len(client.repository.asked) == 2
    # Every file that ends so is metadata, byte for byte as it was sent.
    kept = sorted(path.name for path in client.metadata.glob("*.json"))
    assert kept == ["root.json", "snapshot.json", "targets.json", "timestamp.json"], kept
    assert (client.metadata / "targets.json").read_bytes() == client.repository.files["/metadata/1.targets.json"]


@case
def a_download_refreshes_first():
    client = Client(Repository()).init()
    assert client.download("nothing") == 1 and client.versions() == [1, 1, 1, 1]


@case
def every_kind_of_key():
    kinds = {
        "ed25519": CryptoSigner.generate_ed25519,
        "ecdsa": CryptoSigner.generate_ecdsa,
        "rsa-pss": lambda: CryptoSigner.generate_rsa(scheme="rsassa-pss-sha256"),
        "rsa-pkcs1": lambda: CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"),
    }
    for name, kind in kinds.items():
        repository = Repository(kind)
        client = Client(repository).init()
        assert client.refresh() == 0, name
        repository.next()
        path = "/metadata/timestamp.json"
        document = json.loads(repository.files[path])
        document["signed"]["spec_version"] = "1.0.0"
        repository.files[path] = json.dumps(document).encode()
        assert client.refresh() == 1, name


@case
def an_unusable_root_asks_nothing():
    for spoil in ["version", "signatures", "text"]:
        repository = Repository()
        root = json.loads(repository.files["/metadata/1.root.json"])
        if spoil == "version":
            del root["signed"]["version"]
        else:
            root["signatures"][0]["sig"] = "00" * 64
        client = Client(repository)
        trusted = pathlib.Path(client.dir.name, "trusted.json")
        trusted.write_bytes(b"{" if spoil == "text" else json.dumps(root).encode())
        client.run("init", trusted)
        assert client.refresh() == 1 and repository.asked == [], spoil


@case
def unknown_fields_are_signed_too():
    repository = Repository()
    client = Client(repository).init()
    repository["root"].unrecognized_fields["custom"] = {"ü": ["é", "e\u0301", 1, None, True]}
    key = next(iter(repository["root"].keys.values()))
    key.unrecognized_fields["x-owner"] = "@someone"
    repository.next_root()
    assert client.refresh() == 0 and client.version("root") == 2
    # Composed and decomposed letters are different texts.
    repository.next_root()
    path = "/metadata/3.root.json"
    repository.files[path] = repository.files[path].replace("\\u00e9".encode(), b"e\\u0301")
    assert client.refresh() == 1 and client.version("root") == 2


def keys(*numbers):
    return [SIGNERS[number] for number in numbers]


# What each root names (keys, threshold), who signed it, and whether the last is taken.
ROTATIONS = {
    "one key follows another": ([((1,), 1, (1,)), ((2,), 1, (2, 1)), ((2,), 1, (2,))], True),
    "strangers sign too": ([((1,), 1, (3, 1, 4)), ((2,), 1, (3, 2, 1, 4))], True),
    "three of five, any three": ([((0, 1, 2, 3, 4), 3, (0, 2, 4)), ((0, 1, 2, 3, 4), 3, (4, 1, 3))], True),
    "one of five is replaced": ([((0, 1, 2, 3, 4), 3, (0, 2, 4)), ((0, 1, 3, 4, 5), 3, (0, 4, 1))], True),
    "all five are replaced": ([((0, 1, 2, 3, 4), 3, (0, 2, 4)), ((5, 6, 7, 8, 9), 3, (0, 2, 4, 5, 6, 7))], True),
    "the threshold rises": ([((1, 2, 3), 1, (1,)), ((1, 2, 3), 2, (1, 2))], True),
    "the threshold falls": ([((1, 2, 3), 2, (1, 2)), ((1, 2, 3), 1, (1, 2)), ((1, 2, 3), 1, (1,))], True),
    "the old key did not sign": ([((1,), 1, (1,)), ((2,), 1, (2, 3, 4))], False),
    "the new key did not sign": ([((1,), 1, (1,)), ((2,), 1, (1, 3, 4))], False),
    "too few of the old": ([((0, 1, 2, 3, 4), 3, (0, 2, 4)), ((0, 1, 3, 4, 5), 3, (0, 4, 5))], False),
    "too few of the new": ([((0, 1, 2, 3, 4), 3, (0, 2, 4)), ((0, 1, 3, 4, 5), 3, (0, 2, 4))], False),
    "the new threshold is not met": ([((1, 2, 3), 1, (1,)), ((1, 2, 3), 2, (2,))], False),
    "the old threshold is not met": ([((1, 2, 3), 2, (1, 2)), ((1, 2, 3), 1, (1,))], False),
}


@case
def root_rotations():
    for name, (versions, is_taken) in ROTATIONS.items():
        repository = Repository()
        repository["root"].version = 0
        for named, threshold, signed in versions:
            repository.use("root", keys(*named), threshold)
            repository.next_root(keys(*signed))
        client = Client(repository).init()
        assert client.refresh() == (0 if is_taken else 1), name
        last = len(versions) - (0 if is_taken else 1)
        expected = repository.files[f"/metadata/{last}.root.json"]
        assert (client.metadata / "root.json").read_bytes() == expected, name


@case
def thresholds_of_other_roles():
    for role in ["timestamp", "snapshot", "targets"]:
        for signed, is_taken in [((0, 1, 2), True), ((2, 1, 0, 7), True), ((0, 1), False), ((0, 1, 7), False)]:
            repository = Repository()
            client = Client(repository).init()
            repository.use(role, keys(0, 1, 2, 3), 3)
            repository.next_root()
            repository.signers[role] = keys(*signed)
            repository.next()
            assert client.refresh() == (0 if is_taken else 1), (role, signed)


@case
def one_key_under_many_names():
    repository = Repository()
    client = Client(repository).init()
    signer = SIGNERS[0]
    repository.use("snapshot", [signer], 1)
    public = signer.public_key.to_dict()
    for number in range(3):
        name = f"{number:064x}"
        repository["root"].keys[name] = type(signer.public_key).from_dict(name, copy.deepcopy(public))
        repository["root"].roles["snapshot"].keyids.append(name)
    repository["root"].roles["snapshot"].threshold = 3
    repository.next_root()
    repository.next()
    snapshot = json.loads(repository.files["/metadata/2.snapshot.json"])
    sig = snapshot["signatures"][0]["sig"]
    names = repository["root"].roles["snapshot"].keyids
    snapshot["signatures"] = [{"keyid": name, "sig": sig} for name in names]
    repository.files["/metadata/2.snapshot.json"] = json.dumps(snapshot).encode()
    assert client.refresh() == 1 and client.version("snapshot") is None


@case
def rollbacks():
    for hashes in [False, True]:
        for role in ["timestamp", "snapshot", "targets"]:
            repository = Repository()
            client = Client(repository).init()
            repository.next(hashes)
            assert client.refresh() == 0
            for other in ["targets", "snapshot", "timestamp"]:
                repository[other].version += 0 if other == role else 1
            repository[role].version = 1
            repository.release(hashes)
            assert client.refresh() == 1, role
            assert client.version(role) == 2, role


@case
def another_timestamp_of_the_same_version():
    repository = Repository()
    client = Client(repository).init()
    assert client.refresh() == 0
    kept = (client.metadata / "timestamp.json").read_bytes()
    repository["timestamp"].snapshot_meta = MetaFile(100)
    repository.publish("timestamp")
    assert client.refresh() == 0 and (client.metadata / "timestamp.json").read_bytes() == kept


@case
def recovery_from_fast_forward():
    for role in ["timestamp", "snapshot", "targets"]:
        repository = Repository()
        client = Client(repository).init()
        repository[role].version = 99999
        repository.release()
        assert client.refresh() == 0 and client.version(role) == 99999
        rotated = {"timestamp": ["timestamp"], "snapshot": ["snapshot", "timestamp"], "targets": ["snapshot"]}[role]
        for number, other in enumerate(rotated):
            repository.use(other, keys(number))
        repository.next_root()
        repository[role].version = 1
        for other in {"timestamp", "snapshot"} - {role}:
            repository[other].version += 1
        repository.release()
        assert client.refresh() == 0 and client.version(role) == 1, role


@case
def expired_roles():
    for role in TOP:
        repository = Repository()
        client = Client(repository).init()
        assert client.refresh() == 0
        repository[role].expires = NOW - DAY
        if role == "root":
            repository.next_root()
        repository.next()
        assert client.refresh() == 1
        assert client.version(role) == (2 if role == "root" else 1), role


@case
def kept_metadata_may_expire():
    repository = Repository()
    repository["timestamp"].expires = NOW + 7 * DAY
    repository.release()
    client = Client(repository).init()
    assert client.refresh() == 0
    repository["timestamp"].expires = NOW + 21 * DAY
    repository.next()
    assert client.refresh(days=18) == 0 and client.versions() == [1, 2, 2, 2]
    # And the clock cannot be set back behind what was seen.
    assert client.refresh(days=22) == 1
    assert client.refresh() == 1


@case
def listed_is_not_what_is_sent():
    for role in ["snapshot", "targets"]:
        repository = Repository()
        client = Client(repository).init()
        repository.next(hashes=True)
        repository[role].unrecognized_fields["more"] = 1
        repository.publish(role)
        assert client.refresh() == 1 and client.version(role) is None, role


GRAPHS = {
    "one": ([("targets", "A")], ["A"]),
    "depth first": ([("targets", "A"), ("targets", "B"), ("A", "C"), ("C", "D")], ["A", "C", "D", "B"]),
    "terminating": ([("targets", "A"), ("targets", "B"), ("A", "C", ["*"], True), ("A", "D")], ["A", "C"]),
    "terminating and deeper": ([("targets", "A"), ("targets", "B"), ("A", "C", ["*"], True), ("C", "D")], ["A", "C", "D"]),
    "other paths": ([("targets", "A", ["*.py"]), ("targets", "B"), ("A", "C")], ["B"]),
    "a circle": ([("targets", "A"), ("targets", "B"), ("B", "C"), ("C", "D"), ("D", "B")], ["A", "B", "C", "D"]),
    "two ways": ([("targets", "A"), ("targets", "B"), ("B", "C"), ("A", "C")], ["A", "C", "B"]),
}


@case
def delegations():
    for name, (edges, order) in GRAPHS.items():
        repository = Repository()
        for edge in edges:
            repository.delegate(*edge)
        repository.next()
        client = Client(repository).init()
        assert client.download("missing") == 1, name
        visited = [path.split(".")[1] for path in repository.asked if path.startswith("/metadata/1.")]
        assert visited == order, (name, visited)


@case
def targets_of_delegated_roles():
    repository = Repository()
    repository.delegate("targets", "A", ["*.doc", "*.md"])
    repository.delegate("targets", "B", ["releases/*/*"])
    repository.delegate("B", "C", ["releases/x/*"])
    repository.add("README.md", b"readme", "A")
    repository.add("releases/x/v1", b"x", "C")
    repository.add("releases/y/v1", b"y", "C")
    repository.next()
    client = Client(repository).init()
    assert client.download("README.md") == 0 and client.download("releases/x/v1") == 0
    assert client.download("releases/y/v1") == 1 and client.downloaded() == [b"readme", b"x"]


@case
def odd_role_names():
    for name in ["?", "#", "/role", "../role"]:
        repository = Repository()
        repository.delegate("targets", name)
        repository.next()
        client = Client(repository).init()
        assert client.download("missing") == 1
        assert f"/metadata/1.{parse.quote(name, '')}.json" in repository.asked, name
        assert len(list(client.metadata.glob("*.json"))) == 5, name


@case
def downloads():
    repository = Repository()
    repository.add("a/b/file.txt", b"one")
    repository.next()
    client = Client(repository).init()
    assert client.refresh() == 0 and client.downloaded() == []
    assert client.download("a/b/file.txt") == 0 and client.downloaded() == [b"one"]
    # What is here already is not fetched again.
    assert client.download("a/b/file.txt") == 0
    assert not [path for path in repository.asked if path.startswith("/targets")]
    # A new content replaces the old one; another one than was signed does not.
    repository.add("a/b/file.txt", b"two")
    repository.next()
    assert client.download("a/b/file.txt") == 0 and client.downloaded() == [b"two"]
    repository.add("a/b/file.txt", b"three")
    repository.next()
    repository.files[f"/targets/a/b/{hashlib.sha256(b'three').hexdigest()}.file.txt"] = b"evil!"
    assert client.download("a/b/file.txt") == 1 and client.downloaded() == [b"two"]


def spoilt(rng):
    """A repository with up to three things wrong, or none."""
    repository = Repository()
    repository.delegate("targets", "A")
    repository.add("file", b"content", "A")
    for _ in range(rng.randrange(3)):
        repository.next(rng.random() < 0.5)
        if rng.random() < 0.3:
            repository.next_root()
    paths = sorted(repository.files)
    for _ in range(rng.randrange(4)):
        path = rng.choice(paths)
        data = repository.files.get(path)
        if data is None:
            continue
        kind = rng.randrange(6)
        if kind == 0:
            del repository.files[path]
        elif kind == 1:
            at = rng.randrange(len(data))
            repository.files[path] = data[:at] + bytes([data[at] ^ 1 << rng.randrange(7)]) + data[at + 1 :]
        elif kind == 2:
            repository.files[path] = repository.files.get(rng.choice(paths), b"")
        elif path.startswith("/metadata"):
            try:
                document = json.loads(data)
            except ValueError:  # It was spoilt before.
                continue
            if kind == 3:
                document["signatures"] = []
            elif kind == 4:
                document["signed"]["version"] += rng.choice([-1, 1])
            else:
                document["signed"]["expires"] = rng.choice(["2001-01-01T00:00:00Z", "later", "2999-01-01T00:00:00Z"])
            repository.files[path] = json.dumps(document).encode()
    return repository


def judge(client):
    """What python-tuf's own client says, from the same root and without a memory."""
    with tempfile.TemporaryDirectory() as folder:
        metadata, targets = pathlib.Path(folder, "metadata"), pathlib.Path(folder, "targets")
        metadata.mkdir()
        targets.mkdir()
        try:
            root = client.repository.files["/metadata/1.root.json"]
            updater = Updater(str(metadata), f"{client.url}/metadata/", str(targets), f"{client.url}/targets/", bootstrap=root)
            updater.refresh()
            found = updater.get_targetinfo("file")
            return found is not None and bool(updater.download_target(found))
        except Exception:  # noqa: BLE001 whatever it says, it is a refusal
            return False


def agree(rounds):
    rng = random.Random(711)
    taken = 0
    for number in range(rounds):
        repository = spoilt(rng)
        if "/metadata/1.root.json" not in repository.files:
            continue
        client = Client(repository)
        trusted = pathlib.Path(client.dir.name, "trusted.json")
        trusted.write_bytes(repository.files["/metadata/1.root.json"])
        ours = client.run("init", trusted) == 0 and client.download("file") == 0
        theirs = judge(client)
        if ours != theirs:
            for path, data in repository.files.items():
                print(path, data[:3000])
            raise AssertionError(f"round {number}: 0711 {'takes' if ours else 'refuses'} it, python-tuf does not agree")
        taken += ours
        client.close()
    return taken


def main():
    Client.binary = [sys.argv[1]]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    failed = 0
    for name, function in CASES:
        try:
            function()
            print(f"ok      {name}")
        except AssertionError as error:
            failed += 1
            line = error.__traceback__.tb_next.tb_lineno if error.__traceback__.tb_next else 0
            print(f"FAILED  {name}: line {line}: {error}")
    taken = agree(rounds)
    print(f"ok      python-tuf agrees about {rounds} repositories, of which both took {taken}")
    print(f"{len(CASES) + 1 - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
