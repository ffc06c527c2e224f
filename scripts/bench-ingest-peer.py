#!/usr/bin/env python3
"""The reference side of bench-ingest.sh: the same steps in Python, with kreuzberg, onnxruntime (int8) and lancedb.

    bench-ingest-peer.py export MODEL OUT        our model file as ONNX with int8 weights and a tokenizer.json, into the folder OUT
    bench-ingest-peer.py texts LAKE TEXTS        writes up to 128 passages of a table, evenly spread, as a JSON list
    bench-ingest-peer.py ingest OUT FOLDER LAKE  reads a folder into a lancedb table with a full-text index; prints one JSON line
    bench-ingest-peer.py embed OUT TEXTS         embeds the lines of a JSON file whenever a line comes in; answers a JSON line each

No hub is asked: the graph is built from the weights of the E5S1 file 0711 itself uses, taken out of their 4-bit blocks, with the fused
operators onnxruntime's own optimiser makes of BERT (Attention, SkipLayerNormalization, BiasGelu), then `quantize_dynamic` to int8. It takes
AMX where the processor has it.
"""

import hashlib
import json
import logging
import os
import re
import struct
import sys
import time

TARGET_TOKENS, MAX_TOKENS, MODEL_TOKENS = 200, 400, 512
FILES_AT_ONCE = 64
# Of these, `export` finds out which is fastest here.
BATCHES = [1, 4, 16]
THREADS = len(os.sched_getaffinity(0))


class File:
    """An E5S1 file: header, tokenizer, tensors of f32 or of ggml's Q4_0 blocks."""

    def __init__(self, path):
        import numpy as np

        self.bytes, self.at = np.fromfile(path, np.uint8), 0
        self.raw = self.bytes.tobytes()
        magic, version, *shape = self.take("<4sI7ifi")
        assert (magic, version) == (b"E5S1", 1), "not an E5S1 file of version 1"
        names = ["hidden", "layers", "heads", "wide", "vocabulary", "positions", "types", "epsilon", "block"]
        self.shape = dict(zip(names, shape))
        count, self.bos, self.eos, self.pad, self.unknown, size = self.take("<5iQ")
        offsets = self.array(np.uint32, count + 1)
        scores = self.array(np.float32, count)
        blob = self.raw[self.at : self.at + size]
        self.at += size
        pieces = [blob[a:b].decode("utf-8", "replace") for a, b in zip(offsets, offsets[1:])]
        self.pieces = [(piece, float(score)) for piece, score in zip(pieces, scores)]
        _, skipped = self.take("<iI")
        self.at += skipped
        self.tensors = {}
        for _ in range(self.take("<i")[0]):
            (length,) = self.take("<H")
            name = self.raw[self.at : self.at + length].decode()
            self.at += length
            self.tensors[name] = self.take("<BIQQ")

    def take(self, format):
        values = struct.unpack_from(format, self.raw, self.at)
        self.at += struct.calcsize(format)
        return values

    def array(self, kind, count):
        import numpy as np

        values = np.frombuffer(self.raw, kind, count, self.at)
        self.at += values.nbytes
        return values

    def tensor(self, name, *shape):
        import numpy as np

        kind, elements, offset, size = self.tensors[name]
        if kind == 0:
            return np.frombuffer(self.raw, np.float32, elements, offset).reshape(shape)
        blocks = self.bytes[offset : offset + size].reshape(-1, 18)
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        low, high = blocks[:, 2:] & 15, blocks[:, 2:] >> 4
        return ((np.concatenate([low, high], 1).astype(np.float32) - 8) * scales).reshape(shape)


def export(model, out):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    logging.disable(logging.WARNING)
    os.makedirs(out, exist_ok=True)
    file = File(model)
    hidden, wide, heads = (file.shape[name] for name in ("hidden", "wide", "heads"))
    nodes, weights = [], []

    def weight(name, value):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind, inputs, output, **attributes):
        domain = "com.microsoft" if kind in ("Attention", "SkipLayerNormalization", "BiasGelu") else ""
        nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def skip_norm(input, skip, part, bias):
        scale = [weight(f"{part}.w", file.tensor(f"{part}.w", hidden)), weight(f"{part}.b", file.tensor(f"{part}.b", hidden))]
        return node("SkipLayerNormalization", [input, skip, *scale, bias], f"{part}.out", epsilon=file.shape["epsilon"])

    word = node("Gather", [weight("words", file.tensor("emb.word", -1, hidden)), "ids"], "word")
    # The first token type's embedding belongs to every position.
    places = file.tensor("emb.pos", -1, hidden) + file.tensor("emb.type", -1, hidden)[0]
    length = node("Gather", [node("Shape", ["ids"], "shape"), weight("one", np.array([1]))], "length", axis=0)
    slice_inputs = [weight("places", places), weight("zero", np.array([0])), length, "zero"]
    place = node("Unsqueeze", [node("Slice", slice_inputs, "place_rows"), "zero"], "place_row")
    zeros = node("Expand", [place, node("Concat", ["shape", weight("width", np.array([hidden]))], "wanted", axis=0)], "place")
    rows = skip_norm(word, zeros, "emb.ln", weight("no_bias", np.zeros(hidden, np.float32)))
    for index in range(file.shape["layers"]):
        part = f"l{index}."
        matrix = lambda name, outputs, inputs: file.tensor(f"{part}{name}.w", outputs, inputs).T
        qkv = weight(f"{part}qkv", np.concatenate([matrix(name, hidden, hidden) for name in "qkv"], 1))
        bias = weight(f"{part}qkv.b", np.concatenate([file.tensor(f"{part}{name}.b", hidden) for name in "qkv"]))
        context = node("Attention", [rows, qkv, bias, "mask"], f"{part}context", num_heads=heads)
        attended = node("MatMul", [context, weight(f"{part}ao", matrix("ao", hidden, hidden))], f"{part}attended")
        rows = skip_norm(attended, rows, f"{part}aln", weight(f"{part}ao.b", file.tensor(f"{part}ao.b", hidden)))
        widened = node("MatMul", [rows, weight(f"{part}fi", matrix("fi", wide, hidden))], f"{part}widened")
        curved = node("BiasGelu", [widened, weight(f"{part}fi.b", file.tensor(f"{part}fi.b", wide))], f"{part}curved")
        narrowed = node("MatMul", [curved, weight(f"{part}fo", matrix("fo", hidden, wide))], f"{part}narrowed")
        rows = skip_norm(narrowed, rows, f"{part}oln", weight(f"{part}fo.b", file.tensor(f"{part}fo.b", hidden)))
    # The mean over a text's own tokens: a product with its mask.
    seen = node("Unsqueeze", [node("Cast", ["mask"], "float_mask", to=TensorProto.FLOAT), "one"], "seen")
    node("Squeeze", [node("MatMul", [seen, rows], "sums"), "one"], "sum")
    inputs = [helper.make_tensor_value_info(name, kind, ["texts", "tokens"]) for name, kind in (("ids", TensorProto.INT64), ("mask", TensorProto.INT32))]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["texts", hidden])
    graph = helper.make_graph(nodes, "e5", inputs, [output], weights)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), f"{out}/f32.onnx")
    quantize_dynamic(f"{out}/f32.onnx", f"{out}/int8.onnx", weight_type=QuantType.QInt8, per_channel=True,
                     extra_options={"DefaultTensorType": TensorProto.FLOAT})

    tokenizer = Tokenizer(models.Unigram(file.pieces, unk_id=file.unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", file.bos), ("</s>", file.eos)]
    )
    tokenizer.save(f"{out}/tokenizer.json")
    os.unlink(f"{out}/f32.onnx")
    words = "Die Reihenklemme ist für einen Bemessungsstrom von 24 A und eine Spannung von 800 V ausgelegt. ".split()
    texts, timed = [" ".join(words * 12)[: 40 + 37 * at] for at in range(24)], {}
    for batch in BATCHES * 2:
        model = Model(out, batch)
        model.embed(texts[:batch])
        began = time.monotonic()
        model.embed(texts)
        timed[batch] = min(timed.get(batch, 1e9), time.monotonic() - began)
    batch = min(timed, key=timed.get)
    json.dump({"batch": batch}, open(f"{out}/fastest.json", "w"))
    print(json.dumps({"batch": batch, "seconds": timed}))


class Model:
    def __init__(self, out, batch=None):
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        # Threads that wait by spinning take from the other stages, and from a machine that others use too.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(f"{out}/int8.onnx", options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(f"{out}/tokenizer.json")
        self.batch = batch or json.load(open(f"{out}/fastest.json"))["batch"]

    def counts(self, texts):
        return [len(one.ids) for one in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def embed(self, texts):
        import numpy as np

        encoded = [one.ids for one in self.tokenizer.encode_batch_fast([f"passage: {text}" for text in texts])]
        encoded = [ids if len(ids) <= MODEL_TOKENS else ids[: MODEL_TOKENS - 1] + ids[-1:] for ids in encoded]
        vectors = np.empty((len(texts), 384), np.float32)
        # Texts of like length together: little of a batch is padding.
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index]))
        for first in range(0, len(order), self.batch):
            some = order[first : first + self.batch]
            longest = len(encoded[some[-1]])
            ids, mask = np.ones((len(some), longest), np.int64), np.zeros((len(some), longest), np.int32)
            for row, index in enumerate(some):
                ids[row, : len(encoded[index])] = encoded[index]
                mask[row, : len(encoded[index])] = 1
            (found,) = self.session.run(None, {"ids": ids, "mask": mask})
            vectors[some] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return vectors


def chunk(text, model):
    """Paragraphs merged up to the target; those beyond the limit are cut into sentences, and sentences into words."""
    pieces = [piece for piece in (piece.strip() for piece in re.split(r"\n\s*\n|\n(?=#)", text)) if piece]
    for cut in (r"\n|(?<=[.!?]) +", r"\s+"):
        counts, finer = model.counts(pieces), []
        for piece, count in zip(pieces, counts):
            finer += [piece] if count <= MAX_TOKENS else [part for part in re.split(cut, piece) if part]
        pieces = finer
    chunks, current, tokens = [], [], 0
    for piece, count in zip(pieces, model.counts(pieces)):
        if current and tokens + count > TARGET_TOKENS:
            chunks.append("\n\n".join(current))
            current, tokens = [], 0
        current.append(piece)
        tokens += count
    return chunks + (["\n\n".join(current)] if current else [])


def ingest(out, folder, lake):
    import lancedb
    import pyarrow as pa
    from kreuzberg import ExtractionConfig, batch_extract_files_sync

    model = Model(out)
    kinds = [("id", pa.string()), ("path", pa.string()), ("digest", pa.string()), ("ordinal", pa.int32()), ("text", pa.string())]
    schema = pa.schema([*kinds, ("vector", pa.list_(pa.float32(), 384))])
    table = lancedb.connect(lake).create_table("chunks", schema=schema)
    wall, cpu = {}, {}
    state = [time.monotonic(), time.process_time()]

    def done(stage):
        now = [time.monotonic(), time.process_time()]
        wall[stage] = wall.get(stage, 0) + now[0] - state[0]
        cpu[stage] = cpu.get(stage, 0) + now[1] - state[1]
        state[:] = now

    paths = sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    done("walk")
    counts = {"documents": 0, "failed": 0, "chunks": 0}
    config = ExtractionConfig(use_cache=False)
    for first in range(0, len(paths), FILES_AT_ONCE):
        some = paths[first : first + FILES_AT_ONCE]
        digests = [hashlib.sha256(open(path, "rb").read()).hexdigest() for path in some]
        done("read")
        try:
            texts = [found.content for found in batch_extract_files_sync(some, config)]
        except Exception:  # one file spoils the batch: each alone then
            texts = [alone(path, config) for path in some]
        # A file that failed comes back as a text that says so.
        texts = ["" if text is None or text.startswith("Error:") else text for text in texts]
        done("extract")
        passages = [(path, digest, at, part) for path, digest, text in zip(some, digests, texts) for at, part in enumerate(chunk(text, model))]
        done("chunk")
        vectors = model.embed([part for *_, part in passages]) if passages else []
        done("embed")
        names = [hashlib.sha256(f"{path}\0{at}\0{part}".encode()).hexdigest() for path, _, at, part in passages]
        if passages:
            columns = [names, *map(list, zip(*passages)), pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 384)]
            table.add(pa.Table.from_arrays([pa.array(column) if isinstance(column, list) else column for column in columns], schema.names).cast(schema))
        done("commit")
        counts["documents"] += sum(1 for text in texts if text.strip())
        counts["failed"] += sum(1 for text in texts if not text.strip())
        counts["chunks"] += len(passages)
    table.create_fts_index("text", replace=True)
    table.optimize()
    done("commit")
    counts["found"] = len(table.search("000000", query_type="fts").limit(5).to_list())
    print(json.dumps({**counts, "seconds": sum(wall.values()), "stages": wall, "cpu": cpu}), flush=True)


def alone(path, config):
    from kreuzberg import extract_file_sync

    try:
        return extract_file_sync(path, config=config).content
    except Exception:
        return None


def texts(lake, out):
    import lancedb

    found = sorted(lancedb.connect(lake).open_table("chunks").to_arrow()["text"].to_pylist(), key=len)
    spread = found[:: max(1, -(-len(found) // 128))]
    # In no order: neither side may gain by how they come.
    spread.sort(key=lambda text: hashlib.sha256(text.encode()).digest())
    json.dump(spread, open(out, "w", encoding="utf-8"))
    print(json.dumps({"texts": len(spread)}))


def embed(out, texts):
    texts = json.load(open(texts, encoding="utf-8"))
    model = Model(out)
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        began = time.monotonic()
        vectors = model.embed(texts)
        print(json.dumps({"seconds": time.monotonic() - began, "vectors": vectors.tolist()}), flush=True)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    {"export": export, "ingest": ingest, "texts": texts, "embed": embed}[verb](*rest)
