"""The parts of bench-retrieval.sh: question sets into one layout, a corpus into files, runs into figures."""
import hashlib, json, math, os, re, shutil, sys

MODES = ["lexical", "vector", "hybrid"]


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def write(path, rows):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def paragraphs(path):
    """XQuAD: its paragraphs in order, each with its questions. A text that stands there twice is one paragraph."""
    found = {}
    for article in json.load(open(path, encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            questions = found.setdefault(paragraph["context"], [])
            questions += [(answer["id"], answer["question"]) for answer in paragraph["qas"]]
    return list(found.items())


def prepare(source, work):
    """Puts a set into WORK/NAME and prints NAME."""
    if os.path.isdir(source):
        name = os.path.basename(os.path.normpath(source))
        corpus, queries = lines(f"{source}/corpus.jsonl"), lines(f"{source}/queries.jsonl")
        with open(f"{source}/qrels/test.tsv", encoding="utf-8") as file:
            judged = [line.rstrip("\n").split("\t") for line in file][1:]
    else:
        asked, _, told = source.partition(":")
        base = lambda path: os.path.basename(path).removesuffix(".json")
        name = base(asked) if not told else f"{base(asked)}-to-{base(told)}"
        texts = paragraphs(told or asked)
        where = {question: f"p{index}" for index, (_, questions) in enumerate(texts) for question, _ in questions}
        queries = [{"_id": id, "text": text} for _, questions in paragraphs(asked) for id, text in questions]
        corpus = [{"_id": f"p{index}", "title": "", "text": text} for index, (text, _) in enumerate(texts)]
        judged = [[query["_id"], where[query["_id"]], "1"] for query in queries if query["_id"] in where]
    known = {query for query, _, score in judged if int(score) > 0}
    to = f"{work}/{name}"
    write(f"{to}/corpus.jsonl", corpus)
    write(f"{to}/questions.jsonl", [{"id": query["_id"], "text": query["text"]} for query in queries if query["_id"] in known])
    write(f"{to}/judged.jsonl", [row for row in judged if int(row[2]) > 0])
    print(name)


def corpus(of):
    """Prints the digest of a set's corpus: sets that share one are read once."""
    print(hashlib.sha256(open(f"{of}/corpus.jsonl", "rb").read()).hexdigest()[:16])


def name_of(id):
    """An id as a file's name: itself where it can be, else in hexadecimal digits."""
    return id if re.fullmatch("[A-Za-z0-9_-]+", id) else "x." + id.encode().hex()


def id_of(name):
    return bytes.fromhex(name[2:]).decode() if name.startswith("x.") else name


def files(of, root):
    """One text file for each document, its title in the first line."""
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(f"{root}/files")
    for row in lines(f"{of}/corpus.jsonl"):
        text = "\n\n".join(part for part in (row.get("title"), row["text"]) if part)
        with open(f"{root}/files/{name_of(row['_id'])}.txt", "w", encoding="utf-8") as file:
            file.write(text + "\n")


def measure(of, mode):
    relevant = {}
    for query, document, score in lines(f"{of}/judged.jsonl"):
        relevant.setdefault(query, {})[document] = int(score)
    ranked = {query: [] for query in relevant}
    with open(f"{of}/{mode}.tsv", encoding="utf-8") as file:
        for line in file:
            query, document, *_ = line.split("\t")
            ranked[query].append(id_of(os.path.basename(document).removesuffix(".txt")))
    gain = lambda scores: sum((2**score - 1) / math.log2(rank + 2) for rank, score in enumerate(scores[:10]))
    ndcg = recall10 = recall100 = 0.0
    for query, documents in relevant.items():
        got = ranked[query]
        ndcg += gain([documents.get(one, 0) for one in got]) / gain(sorted(documents.values(), reverse=True))
        recall10 += len(set(got[:10]) & set(documents)) / len(documents)
        recall100 += len(set(got[:100]) & set(documents)) / len(documents)
    times = json.load(open(f"{of}/{mode}.json", encoding="utf-8"))
    total = len(relevant)
    return ndcg / total, recall10 / total, recall100 / total, times["p50_ms"], times["p95_ms"]


def report(sets):
    print(f"{'set':<28}{'questions':>10}  {'mode':<8}{'nDCG@10':>9}{'recall@10':>11}{'recall@100':>12}{'p50 ms':>8}{'p95 ms':>8}")
    worse = []
    for of in sets:
        name, asked = os.path.basename(of), len(lines(f"{of}/questions.jsonl"))
        found = {mode: measure(of, mode) for mode in MODES}
        for mode, (ndcg, recall10, recall100, p50, p95) in found.items():
            print(f"{name:<28}{asked:>10}  {mode:<8}{ndcg:>9.4f}{recall10:>11.4f}{recall100:>12.4f}{p50:>8.1f}{p95:>8.1f}")
        if found["hybrid"][0] < max(found["lexical"][0], found["vector"][0]):
            worse.append(name)
    print("hybrid is at least as good as the better of its parts" + (f", but not on {', '.join(worse)}" if worse else " on every set"))


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    report(rest) if verb == "report" else {"prepare": prepare, "corpus": corpus, "files": files}[verb](*rest)
