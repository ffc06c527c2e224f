//! Handlers against real processes. This program is also their process: called with `worker handler` it serves.

mod hostile;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use extract::handler::{Check, HandlerLimits, Refusal, Run, Runner, faults_of_run, validate};
use extract::sandbox::Hold;
use hostile::{BODIES, Given, Hostile, SOURCES};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().map(String::as_str).eq(["worker", "handler"]) {
        extract::handler::main();
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    runtime.block_on(async {
        walls(directory.path()).await;
        println!("a_handler_runs_behind_walls ... ok");
        hostile_handlers(directory.path()).await;
        println!("hostile_handlers_escape_nothing ... ok");
        validation(directory.path()).await;
        println!("a_handler_has_to_prove_itself ... ok");
        corpus().await;
    });
}

fn runner(limits: HandlerLimits) -> Runner {
    Runner::new(std::env::current_exe().expect("a program"), limits)
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

async fn walls(directory: &Path) {
    let path = file(directory, "walls.dat", b"KL0001");
    let runner = runner(HandlerLimits::default());
    let session = runner.open(&path, None).await.expect("a process");
    let sandbox = session.sandbox().expect("it said hello").clone();
    println!("sandbox: {sandbox}");
    assert_eq!(
        (&sandbox.no_new_privileges, &sandbox.resources, &sandbox.calls),
        (&Hold::Full, &Hold::Full, &Hold::Full)
    );
    let run = session.run("def handle(name, size):\n    emit({'a': text(0, size, 'latin1'), 'b': name})\n").await;
    assert_eq!((run.refusal, run.tables[0].rows[0].clone()), (None, vec!["KL0001".to_owned(), "walls.dat".to_owned()]));
    let gone = runner.run(&directory.join("fehlt"), "", None).await;
    assert!(matches!(gone.refusal, Some(Refusal::Unreadable { .. })), "{gone:?}");
    let absent = Runner::new(directory.join("kein-programm"), HandlerLimits::default());
    assert!(matches!(absent.run(&path, "", None).await.refusal, Some(Refusal::NoWorker { .. })));
}

/// Tight, so that a hundred of them take a minute.
fn tight() -> HandlerLimits {
    HandlerLimits {
        time_ms: 1_500,
        memory_bytes: 200 << 20,
        max_records: 2_000,
        max_output_bytes: 2 << 20,
        max_unpacked_bytes: 4 << 20,
        max_calls: 20_000,
        ..HandlerLimits::default()
    }
}

fn given(directory: &Path) -> BTreeMap<&'static str, PathBuf> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![0; 64 << 20]).expect("zeros");
    let gzip = gzip.finish().expect("a stream");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for member in 0..2_000 {
        zip.start_file(format!("{member}"), zip::write::SimpleFileOptions::default()).expect("a member");
    }
    let zip = zip.finish().expect("an archive").into_inner();
    let deep = format!("{}x", "<a>".repeat(50_000));
    let long = format!("<r>{}</r>", "<a/>".repeat(110_000));
    let mut entities = "<!DOCTYPE r [<!ENTITY a0 \"lol\">".to_owned();
    for level in 1..10 {
        entities.push_str(&format!("<!ENTITY a{level} \"{}\">", format!("&a{};", level - 1).repeat(10)));
    }
    entities.push_str("]><r>&a9;</r>");
    let text = "KL0001 Reihenklemme, grau 2,5 mm\n".repeat(32);
    BTreeMap::from([
        ("Text", file(directory, "text.dat", text.as_bytes())),
        ("GzipBomb", file(directory, "bomb.gz", &gzip)),
        ("ManyMembers", file(directory, "many.zip", &zip)),
        ("DeepXml", file(directory, "deep.xml", deep.as_bytes())),
        ("LongXml", file(directory, "long.xml", long.as_bytes())),
        ("EntityBomb", file(directory, "entities.xml", entities.as_bytes())),
    ])
}

fn file_of(files: &BTreeMap<&'static str, PathBuf>, given: Given) -> PathBuf {
    files[format!("{given:?}").as_str()].clone()
}

/// The name of the end a run came to: its refusal, or why nobody would believe it.
fn end_of(run: &Run) -> String {
    match (&run.refusal, faults_of_run(run).first()) {
        (Some(refusal), _) => refusal.name().to_owned(),
        (None, Some((check, _))) => check.name().to_owned(),
        (None, None) => "believed".to_owned(),
    }
}

async fn hostile_handlers(directory: &Path) {
    let files = given(directory);
    let runner = runner(tight());
    let body = |body: &str| format!("def handle(name, size):\n    {}\n", body.replace('\n', "\n    "));
    let all: Vec<(&Hostile, String)> = BODIES
        .iter()
        .map(|hostile| (hostile, body(hostile.2)))
        .chain(SOURCES.iter().map(|hostile| (hostile, hostile.2.to_owned())))
        .collect();
    assert!(all.len() >= 100, "{} handlers", all.len());
    let names: std::collections::BTreeSet<&str> = all.iter().map(|(hostile, _)| hostile.0).collect();
    let codes: std::collections::BTreeSet<String> =
        all.iter().map(|(hostile, code)| format!("{:?}{code}", hostile.1)).collect();
    assert_eq!((names.len(), codes.len()), (all.len(), all.len()), "two of them are the same");
    let (mut ends, mut wrong) = (BTreeMap::<String, usize>::new(), Vec::new());
    for (hostile, code) in &all {
        let (name, given, _, right) = **hostile;
        let started = Instant::now();
        let run = runner.run(&file_of(&files, given), code, None).await;
        let (end, took) = (end_of(&run), started.elapsed());
        // On a busy machine any of them may come to the end of its time first: that is an end it is meant to come to.
        let is_right = right.contains(&end.as_str()) || end == "time";
        if !is_right || took > Duration::from_secs(10) {
            wrong.push(format!("{name}: {end} after {took:?}, not {right:?}: {:?}", run.refusal));
        }
        // Whatever it did, its output kept to its limits.
        assert!(
            run.figures.records <= tight().max_records && run.figures.output_bytes <= tight().max_output_bytes + 70_000
        );
        *ends.entry(end).or_default() += 1;
    }
    let mut big = "x = 1\n".repeat(20_000);
    big.push_str("def handle(name, size):\n    pass\n");
    let run = runner.run(&file_of(&files, Given::Text), &big, None).await;
    assert!(matches!(run.refusal, Some(Refusal::TooLarge { .. })), "{run:?}");
    println!("{} hostile handlers: {ends:?}", all.len() + 1);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!Path::new("/tmp/0711-handler").exists(), "one of them wrote a file");
    // And the next one, which is none of them, runs as if nothing had been.
    let good = runner.run(&file_of(&files, Given::Text), &body("emit({'a': text(0, size, 'utf-8')})"), None).await;
    assert_eq!(end_of(&good), "believed", "{good:?}");
}

/// Records of 20 bytes: number, text, packed price.
fn records(count: u32) -> Vec<u8> {
    let record = |number: u32| {
        let mut bytes = format!("{number:06}Klemme    ").into_bytes();
        let price = format!("{:07}", number * 37 % 9_999_999);
        let digits: Vec<u8> = price.bytes().map(|digit| digit - b'0').collect();
        bytes.extend(digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0xc)));
        bytes
    };
    (1..=count).flat_map(record).collect()
}

const GOOD: &str = r#"
# Klemmen mit Preis
def handle(name, size):
    at = 0
    while at + 20 <= size:
        emit({"nummer": text(at, 6, "latin1"), "text": text(at + 6, 10, "latin1").strip(), "preis": packed(at + 16, 4, 2)})
        at += 20
"#;

async fn validation(directory: &Path) {
    let runner = runner(HandlerLimits::default());
    let samples = [file(directory, "a.dat", &records(40)), file(directory, "b.dat", &records(7))];
    let good = validate(&runner, GOOD, &samples).await;
    assert!(good.passed(), "{good:#?}");
    assert_eq!((good.records, good.samples, good.preview[0].rows.len()), (47, 2, 10));
    for (code, expect) in [
        (GOOD.replace("at += 20", "at += 25"), Check::Coverage),
        (GOOD.replace("packed(at + 16, 4, 2)", "None"), Check::NoEmptyColumns),
        (GOOD.replace("while at + 20 <= size", "while True"), Check::DryRun),
        (GOOD.replace("emit(", "str("), Check::DryRun),
        ("def handle(name, size):\n    text(0, size, 'latin1')\n    emit({'a': 1})\n".to_owned(), Check::Coverage),
        ("def handle(name, size):\n    skip(0, size)\n    emit({'a': 1})\n".to_owned(), Check::Coverage),
        (
            "def handle(name, size):\n    if size % 20 != 0:\n        while True:\n            pass\n    emit({'a': text(0, size, 'latin1')})\n"
                .to_owned(),
            Check::SurvivesTruncation,
        ),
    ] {
        let limits = HandlerLimits { time_ms: 1_000, ..HandlerLimits::default() };
        let found = validate(&Runner::new(std::env::current_exe().expect("a program"), limits), &code, &samples).await;
        let failed: Vec<Check> = found.findings.iter().filter(|finding| !finding.passed).map(|finding| finding.check).collect();
        assert!(failed.contains(&expect), "{expect:?}: {failed:?}\n{code}\n{}", found.faults());
    }
    let none = validate(&runner, GOOD, &[]).await;
    assert!(!none.passed());
}

/// The proprietary log and the mainframe's records of the corpus, with handlers written from their descriptions.
async fn corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    if !root.is_dir() {
        println!("skipped: no corpus at {}", root.display());
        return;
    }
    let runner = runner(HandlerLimits::default());
    for (path, code, records, has) in [
        ("betrieb/pruefstand7.wml", WMLOG, 7, "Relaiskoppler"),
        ("legacy/ebcdic-cobol/test3_data/TRAN2.AUG31.DATA.dat", TRANSDATA, 1_000, "Delta Pivovar"),
        ("betrieb/PRUEFDAT.001", PRUEFDAT, 14, "Überspannungsableiter"),
    ] {
        let path = root.join(path);
        if !path.is_file() {
            println!("skipped: {} is absent", path.display());
            continue;
        }
        let analysis = runner.analyse(&path).await.expect("an analysis");
        println!("{}{}", analysis.describe(), analysis.sample.lines().take(4).collect::<Vec<_>>().join("\n"));
        let found = validate(&runner, code, std::slice::from_ref(&path)).await;
        assert!(found.passed(), "{}: {}", path.display(), found.faults());
        let run = runner.run(&path, code, None).await;
        let text = format!("{:?}", run.tables);
        assert!(text.contains(has), "{}", path.display());
        println!(
            "{}: {} records, {:.1} % explained",
            path.display(),
            run.figures.records,
            run.figures.coverage() * 100.0
        );
        assert_eq!(run.figures.records, records, "{}", path.display());
    }
}

const WMLOG: &str = r#"
# Prüfprotokoll von Prüfstand 7: Sätze aus Feldern mit Länge
NAMES = {1: "artikelnummer", 2: "bezeichnung", 3: "zeitpunkt", 4: "messwert_a"}
def handle(name, size):
    head, version = unpack(">5sB", 0)
    skip(6, 1)
    at, record = 7, {}
    while at < size:
        tag = integer(at, 1)
        if tag == 255:
            emit(record)
            record = {}
            length = integer(at + 1, 2) if at + 3 <= size else 0
            at += 3 + length
            continue
        if at + 3 > size:
            break
        length = integer(at + 1, 2)
        if at + 3 + length > size:
            break
        if tag == 3:
            record[NAMES[tag]] = integer(at + 3, length)
        elif tag == 4:
            value = integer(at + 3, length)
            record[NAMES[tag]] = f"{value // 100}.{value % 100:02d}"
        else:
            record[NAMES.get(tag, f"feld_{tag}")] = text(at + 3, length, "latin1")
        at += 3 + length
"#;

const TRANSDATA: &str = r#"
# Transactions, fixed records of 45 bytes
def handle(name, size):
    at = 0
    while at + 45 <= size:
        amount = integer(at + 37, 8, signed=True)
        emit({"currency": text(at, 3, "cp037"), "signature": text(at + 3, 8, "cp037"), "company": text(at + 11, 15, "cp037").strip(),
              "company_id": text(at + 26, 10, "cp037"), "wealth": zoned(at + 36, 1), "amount": f"{amount / 100:.2f}"})
        at += 45
"#;

const PRUEFDAT: &str = r#"
# Prüfdaten: je Artikel ein Satz A (Bezeichnung, Wert) und ein Satz B (Prüfplatz, Ergebnis)
def handle(name, size):
    at = 0
    while True:
        found = line(at, "cp850")
        if found is None:
            break
        row, at = found
        if row[:1] == "A":
            emit({"artikel": row[1:11], "bezeichnung": row[11:43].strip(), "wert": row[43:].strip()}, "A")
        elif row[:1] == "B":
            emit({"artikel": row[1:11], "pruefplatz": row[11:27].strip(), "ergebnis": row[27:].strip()}, "B")
"#;
