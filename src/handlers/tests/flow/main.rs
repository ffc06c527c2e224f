//! From a file nobody reads to records, with recorded answers of the Messages API. This program is also the process of handlers.

mod files;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base::{Clock, CustomerLayout, Digest, Layout, Slug};
use extract::handler::{HandlerLimits, KIND_KEY, Kind, Runner};
use extract::{BlockKind, Document, Limits, Outcome};
use handlers::{
    Approval, Author, Call, CallLog, Claude, Decision, Desk, Entry, Error, Local, Queue, Registry, Settings, State,
    Verdict, Writer, Written,
};
use server::{Recorded, Server};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().map(String::as_str).eq(["worker", "handler"]) {
        extract::handler::main();
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        mainframe().await;
        println!("an_ebcdic_file_is_read_after_one_answer ... ok");
        sap().await;
        println!("a_fixed_width_export_becomes_a_table ... ok");
        datanorm().await;
        println!("a_file_of_tagged_lines_becomes_tables ... ok");
        tlv().await;
        println!("a_handler_is_mended_by_its_faults ... ok");
        local().await;
        println!("a_local_model_writes_too ... ok");
        refusals().await;
        println!("what_goes_wrong_has_a_name_and_nothing_is_registered ... ok");
        decisions().await;
        println!("a_decision_counts_and_a_changed_source_does_not_run ... ok");
        successors().await;
        println!("an_approved_handler_stays_in_force_until_another_is_approved ... ok");
        corpus().await;
    });
}

const KEY: &str = "sk-ant-api03-recorded";

struct World {
    dir: tempfile::TempDir,
    customer: CustomerLayout,
    runner: Runner,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::rooted(dir.path().join("root"));
        let customer = layout.customer(&Slug::parse("kessler").expect("a slug"));
        fs::create_dir_all(customer.ingest_state()).expect("a folder");
        let runner = Runner::new(std::env::current_exe().expect("a program"), HandlerLimits::default());
        Self { dir, customer, runner, settings: Settings::default() }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn desk(&self) -> Desk {
        Desk::open(&self.customer, self.runner.clone(), Clock::system()).expect("a desk")
    }

    fn registry(&self) -> Registry {
        Registry::new(&self.customer)
    }

    fn queue(&self) -> Queue {
        Queue::new(&self.customer)
    }

    /// As an ingestion does it: readers first, then the desk.
    async fn read(&self, path: &Path) -> Verdict {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = fs::read(path).expect("a file");
        match extract::read(&bytes, &name, &Limits::default()) {
            Ok(Outcome::Text(document)) => {
                let kind: Kind =
                    serde_json::from_str(document.metadata.get(KIND_KEY).expect("records")).expect("a kind");
                self.desk().text(path, &kind).await.expect("a verdict")
            }
            Err(error) if error.is_unknown_format() => self.desk().unknown(path).await.expect("a verdict"),
            other => panic!("{}: {other:?}", path.display()),
        }
    }

    async fn waits(&self, path: &Path) -> String {
        match self.read(path).await {
            Verdict::Waits { kind } => kind,
            other => panic!("{other:?}"),
        }
    }

    fn claude(&self, server: &Server) -> Author {
        let key_file = self.file("claude.key", format!("{KEY}\n").as_bytes());
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).expect("a mode");
        Author::claude(&Claude {
            base_url: server.url.clone(),
            model: Claude::MODEL.to_owned(),
            key_file,
            proxy: None,
            certificate_authority: None,
            allowed: Decision { by: "erika".to_owned(), at: Clock::system().now() },
        })
        .expect("an author")
    }

    async fn write(&self, kind: &str, author: &Author) -> Result<Written, Error> {
        let waiting = self.queue().get(kind)?;
        let log = CallLog::new(&self.customer);
        let told = |round: &handlers::Round| println!("  attempt {}: {}", round.number, round.faults.trim());
        let (settings, runner, registry, queue) = (&self.settings, &self.runner, &self.registry(), &self.queue());
        let clock = Clock::system();
        let writer = Writer { author, settings, runner, registry, queue, log: &log, clock, told: &told };
        writer.write(&waiting).await
    }

    async fn registered(&self, kind: &str, author: &Author) -> Entry {
        match self.write(kind, author).await.expect("an answer") {
            Written::Registered(entry) => *entry,
            Written::Failed(rounds) => panic!("{rounds:#?}"),
        }
    }

    fn approve(&self, entry: &Entry) {
        self.decide(entry, State::Approved).expect("a decision");
    }

    fn decide(&self, entry: &Entry, state: State) -> Result<Entry, Error> {
        let decision = Decision { by: "erika".to_owned(), at: Clock::system().now() };
        self.registry().decide(&entry.name, entry.digest, state, decision)
    }

    fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.customer.handler_calls()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a call")).collect()
    }
}

fn recorded(name: &str) -> Recorded {
    let status = match name {
        "overloaded" => 529,
        "bad-key" => 401,
        _ => 200,
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.json"));
    (status, fs::read_to_string(path).expect("a fixture"))
}

fn rows(document: &Document) -> Vec<String> {
    let tables = document.blocks.iter().filter_map(|block| match &block.kind {
        BlockKind::Table { rows, .. } => Some(rows),
        _ => None,
    });
    tables.flatten().map(|row| row.join("|")).collect()
}

fn document(verdict: Verdict) -> Document {
    match verdict {
        Verdict::Read { document, .. } => document,
        other => panic!("{other:?}"),
    }
}

async fn mainframe() {
    let world = World::new();
    let path = world.file("AUFTRAG.DAT", &files::ebcdic(1, 60));
    let kind = world.waits(&path).await;
    let waiting = world.queue().get(&kind).expect("it waits");
    assert_eq!(waiting.analysis.record_bytes, Some(60), "{}", waiting.analysis.describe());
    assert_eq!(waiting.analysis.code_page.as_deref(), Some("cp273"));
    let server = Server::start(vec![recorded("ebcdic")]);
    let entry = world.registered(&kind, &world.claude(&server)).await;
    assert_eq!((entry.state, entry.validation.records), (State::Waiting, 60));
    assert_eq!(entry.summary, "Aufträge des Großrechners: Sätze von 60 Byte, EBCDIC deutsch, Betrag gepackt");

    // What was sent: the key where it belongs, the contract, the sample that was shown, and nothing else of the file.
    let asked = &server.asked()[0];
    assert_eq!((asked.path.as_str(), asked.header("x-api-key")), ("/v1/messages", Some(KEY)));
    assert_eq!(asked.header("anthropic-version"), Some("2023-06-01"));
    let body: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
    let content = body["messages"][0]["content"].as_str().expect("a text");
    assert!(content.contains(&waiting.analysis.sample) && waiting.analysis.sample.len() <= 16 << 10);
    assert!(body["system"].as_str().is_some_and(|text| text.contains("packed(offset, length, scale=0)")));
    assert!(!String::from_utf8_lossy(&asked.body).contains(KEY));

    // The call is in the log, before and after, by digests somebody else can check.
    let calls = world.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.request == Digest::of(&asked.body) && call.kind == kind));
    assert_eq!(calls[1].response, Some(Digest::of(recorded("ebcdic").1.as_bytes())));
    assert_eq!((calls[0].response, calls[1].status, calls[1].output_tokens), (None, Some(200), Some(512)));
    assert_eq!(calls[1].sample, Digest::of(waiting.analysis.sample.as_bytes()));

    // Not searchable before somebody approves; afterwards the next file needs no model.
    match world.read(&path).await {
        Verdict::Quarantined { handler, records } => assert_eq!((handler.as_str(), records), (entry.name.as_str(), 60)),
        other => panic!("{other:?}"),
    }
    let before = world.registry().generation().expect("a number");
    world.approve(&entry);
    assert_ne!(world.registry().generation().expect("a number"), before);
    let next = world.file("AUFTRAG2.DAT", &files::ebcdic(100, 31));
    let read = document(world.read(&next).await);
    let found = rows(&read);
    assert_eq!(found.len(), 31);
    assert_eq!(found[0], "100|Süd-Kabel|Lörrach|2026-03-15|0.00|0|O");
    assert_eq!(found[3], "103|Schaltbau Köhler|Köln|2026-02-03|-99.50|-1|S");
    assert_eq!(found[5], "105|Anlagenbau Öztürk|Duisburg|2026-03-01|987654.32|40|O");
    assert_eq!((read.format.as_str(), read.metadata["records"].as_str()), ("dat", "31"));
    assert_eq!(server.asked().len(), 1);
    assert!(world.queue().list().expect("a list").is_empty());
}

async fn sap() {
    let world = World::new();
    let path = world.file("MARD_EXPORT.TXT", &files::sap(50));
    let kind = world.waits(&path).await;
    assert!(kind.starts_with("fixed-txt-") && world.queue().get(&kind).expect("it waits").is_text, "{kind}");
    let server = Server::start(vec![recorded("sap-fixed-width")]);
    let entry = world.registered(&kind, &world.claude(&server)).await;
    world.approve(&entry);
    let read = document(world.read(&path).await);
    let found = rows(&read);
    assert_eq!((found.len(), found[0].as_str()), (50, "1020000001|Überspannungsschutz Typ 2|ST|1007.125|1001"));
    assert_eq!(found[3], "1020000004|Überspannungsschutz Typ 2|ST|-4028.500|1001");
}

async fn datanorm() {
    let mut world = World::new();
    // A policy somebody chose: the validation approves.
    world.settings.approve = Approval::Automatic;
    let path = world.file("DATANORM.001", &files::datanorm(20));
    let kind = world.waits(&path).await;
    assert!(kind.starts_with("tagged-nnn-"), "{kind}");
    let server = Server::start(vec![recorded("datanorm")]);
    let entry = world.registered(&kind, &world.claude(&server)).await;
    assert_eq!((entry.state, entry.decision.map(|decision| decision.by)), (State::Approved, Some("policy".to_owned())));
    let next = world.file("DATANORM.002", &files::datanorm(3));
    let read = document(world.read(&next).await);
    let headings: Vec<&str> = read
        .blocks
        .iter()
        .filter(|block| matches!(block.kind, BlockKind::Heading(_)))
        .map(|block| block.text.as_str())
        .collect();
    assert_eq!(headings, ["Vorlauf", "Artikel", "Zusatz", "Preis"]);
    let found = rows(&read);
    assert_eq!((found.len(), found[1].as_str()), (10, "1000001|Klemme 1 grau für Tragschiene|St|1.15"));
    assert_eq!(found[9], "1000003|2.97");
}

async fn tlv() {
    let world = World::new();
    let path = world.file("lauf.mlog", &files::tlv(40));
    let kind = world.waits(&path).await;
    assert!(kind.starts_with("binary-mlog-"), "{kind}");
    // The server is busy, then a wrong attempt, then the right one.
    let server = Server::start(vec![recorded("overloaded"), recorded("tlv-wrong-order"), recorded("tlv")]);
    let entry = world.registered(&kind, &world.claude(&server)).await;
    assert!(matches!(entry.origin, handlers::Origin::Model { rounds: 2, .. }), "{:?}", entry.origin);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].body, asked[1].body);
    let body: serde_json::Value = serde_json::from_slice(&asked[2].body).expect("JSON");
    let turns = body["messages"].as_array().expect("turns");
    assert_eq!(
        (turns.len(), turns[1]["role"].as_str(), turns[2]["role"].as_str()),
        (3, Some("assistant"), Some("user"))
    );
    assert!(
        turns[2]["content"].as_str().is_some_and(|text| text.contains("does not pass") && text.contains("dry run")),
        "{turns:?}"
    );
    world.approve(&entry);
    let found = rows(&document(world.read(&path).await));
    assert_eq!((found.len(), found[1].as_str()), (40, "SN-40001|1767225660|230.125|Prüfung wiederholt"));
}

async fn local() {
    let world = World::new();
    let path = world.file("lauf.mlog", &files::tlv(12));
    let kind = world.waits(&path).await;
    let models =
        |room: u64| (200, format!(r#"{{"object":"list","data":[{{"id":"mixtral","max_model_len":{room}}}]}}"#));
    let settings =
        |server: &Server| Local { base_url: server.url.clone(), model: "mixtral".to_owned(), key_file: None };
    let small = Server::start(vec![models(2_048)]);
    let author = Author::local(&settings(&small)).expect("an author");
    match world.write(&kind, &author).await {
        Err(Error::Protocol { reason, .. }) => assert!(reason.contains("room for 2048 tokens"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let server = Server::start(vec![models(8_192), recorded("openai-tlv")]);
    let entry = world.registered(&kind, &Author::local(&settings(&server)).expect("an author")).await;
    assert_eq!(entry.origin.describe(), "local model (mixtral-8x7b)");
    let asked = server.asked();
    assert_eq!((asked[0].path.as_str(), asked[1].path.as_str()), ("/v1/models", "/v1/chat/completions"));
    let body: serde_json::Value = serde_json::from_slice(&asked[1].body).expect("JSON");
    assert_eq!(body["messages"][0]["role"], "system");
    // No room for the whole sample in so small a model.
    assert!(world.calls().last().is_some_and(|call| call.sample_bytes <= (8_192 - 4_500) * 2));
}

async fn refusals() {
    let world = World::new();
    let path = world.file("lauf.mlog", &files::tlv(12));
    let kind = world.waits(&path).await;
    let server = Server::start(vec![recorded("bad-key")]);
    match world.write(&kind, &world.claude(&server)).await {
        Err(Error::Refused { status: 401, message, .. }) => assert_eq!(message, "invalid x-api-key"),
        other => panic!("{other:?}"),
    }
    let server = Server::start(vec![recorded("cut-off")]);
    assert!(matches!(world.write(&kind, &world.claude(&server)).await, Err(Error::Protocol { .. })));
    let server = Server::start(vec![
        recorded("no-source"),
        recorded("tlv-wrong-order"),
        recorded("no-source"),
        recorded("tlv-wrong-order"),
    ]);
    match world.write(&kind, &world.claude(&server)).await {
        Ok(Written::Failed(rounds)) => assert_eq!(rounds.len(), 4),
        other => panic!("{other:?}"),
    }
    let server = Server::start(vec![recorded("overloaded"), recorded("overloaded"), recorded("overloaded")]);
    assert!(matches!(world.write(&kind, &world.claude(&server)).await, Err(Error::Refused { status: 529, .. })));
    let gone = Server::start(Vec::new());
    let unreachable = Author::open_ai("http://127.0.0.1:9", "x", None).expect("an author");
    assert!(matches!(world.write(&kind, &unreachable).await, Err(Error::Reach { .. })));
    drop(gone);
    assert!(world.registry().list().expect("a list").is_empty());
    assert_eq!(world.queue().list().expect("a list").len(), 1);
    // Every call has its lines, those that failed too.
    assert_eq!(world.calls().iter().filter(|call| call.response.is_none() && call.status.is_none()).count(), 8);
    // A key others may read is not used.
    let open = world.file("open.key", KEY.as_bytes());
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("a mode");
    let refused = Author::local(&Local {
        base_url: "http://127.0.0.1:9".to_owned(),
        model: "x".to_owned(),
        key_file: Some(open),
    });
    assert!(matches!(refused, Err(Error::Key(_))));
    fs::remove_file(&path).expect("removed");
    let server = Server::start(Vec::new());
    assert!(matches!(world.write(&kind, &world.claude(&server)).await, Err(Error::NoSamples { .. })));
}

async fn decisions() {
    let world = World::new();
    let path = world.file("lauf.mlog", &files::tlv(12));
    let kind = world.waits(&path).await;
    let server = Server::start(vec![recorded("tlv")]);
    let entry = world.registered(&kind, &world.claude(&server)).await;
    world.approve(&entry);
    assert!(matches!(world.read(&path).await, Verdict::Read { .. }));
    // A file of the same kind that the handler does not read: it waits, with the reason, and nothing of it is believed.
    let other =
        world.file("fremd.mlog", &[b"MESS\x02\x00".as_slice(), &[9, 250, 0, 1, 2, 3, 255, 255, 8].repeat(50)].concat());
    let waiting = world.queue().get(&world.waits(&other).await).expect("it waits");
    assert!(
        waiting.reason.as_deref().is_some_and(|reason| reason.contains("does not read it")),
        "{:?}",
        waiting.reason
    );
    world.decide(&entry, State::Rejected).expect("a decision");
    assert!(matches!(world.read(&path).await, Verdict::Waits { .. }));
    world.approve(&entry);
    // Somebody changes the approved source behind the registry's back.
    let source = world.registry().dir().join(&entry.name).join("handler.py");
    let mut text = fs::read_to_string(&source).expect("a source");
    text.push_str("\n# harmless?\n");
    fs::write(&source, text).expect("changed");
    assert!(matches!(world.registry().get(&entry.name), Err(Error::Changed { .. })));
    assert!(matches!(world.read(&path).await, Verdict::Waits { .. }));
    for name in ["", "../x", "a/b", "pending", "ü"] {
        assert!(matches!(world.registry().get(name), Err(Error::BadName { .. })), "{name}");
    }
    // Settings survive their file, and name their version.
    let mut settings = Settings { approve: Approval::Automatic, ..Settings::default() };
    settings.write(&world.customer).expect("written");
    assert_eq!(Settings::read(&world.customer).expect("read"), settings);
    settings.format = 99;
    settings.write(&world.customer).expect("written");
    assert!(matches!(Settings::read(&world.customer), Err(Error::Format { .. })));
}

async fn successors() {
    let world = World::new();
    let path = world.file("lauf.mlog", &files::tlv(12));
    let kind = world.waits(&path).await;
    let waiting = world.queue().get(&kind).expect("it waits");
    let server = Server::start(vec![recorded("tlv")]);
    let first = world.registered(&kind, &world.claude(&server)).await;
    world.approve(&first);
    let source = world.registry().get(&first.name).expect("a handler").source;
    let anew = |text: &str| {
        let source = format!("{source}\n{text}\n");
        let (validation, clock) = (first.validation.clone(), Clock::system());
        let entry = Entry::by_person(&first.name, &waiting.kind, &source, None, validation, clock);
        world.registry().put(&entry, &source).expect("registered");
        entry
    };
    let in_force = || world.registry().get(&first.name).expect("a handler").entry;
    let second = anew("# second");
    assert_eq!((in_force().digest, in_force().state), (first.digest, State::Approved));
    let states = world.registry().list().expect("a list").into_iter().map(|entry| (entry.digest, entry.state));
    let expect = [(first.digest, State::Approved), (second.digest, State::Waiting)];
    assert_eq!(states.collect::<Vec<_>>(), expect);
    assert!(matches!(world.read(&path).await, Verdict::Read { .. }), "the approved one goes on reading");
    // Somebody looked at the second while a third came: what was not seen is not approved.
    let third = anew("# third");
    for entry in [&first, &second] {
        assert!(
            matches!(world.decide(entry, State::Approved), Err(Error::AnotherSource { digest, .. }) if digest == third.digest)
        );
    }
    world.decide(&third, State::Rejected).expect("a decision");
    assert_eq!((world.registry().list().expect("a list").len(), in_force().digest), (1, first.digest));
    let fourth = anew("# fourth");
    world.approve(&fourth);
    assert_eq!((in_force().digest, in_force().state), (fourth.digest, State::Approved));
    assert_eq!(world.registry().list().expect("a list").len(), 1);
    assert_eq!(document(world.read(&path).await).metadata["handler_digest"], fourth.digest.to_string());
    // The one in force can be rejected beside one that waits, which is quarantined then as any other.
    let fifth = anew("# fifth");
    world.decide(&fourth, State::Rejected).expect("a decision");
    assert_eq!(world.registry().newest(&first.name).expect("a handler").entry.digest, fifth.digest);
    assert!(matches!(world.read(&path).await, Verdict::Quarantined { records: 12, .. }));
}

/// Real files of legacy systems: each is recognised as one that wants a handler, or read as what it is.
async fn corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    if !root.is_dir() {
        println!("skipped: no corpus at {}", root.display());
        return;
    }
    let world = World::new();
    // Printable throughout and without lines: text, as it stands.
    let text = root.join("legacy/ebcdic-cobol/test1_data/example.bin");
    if let Ok(bytes) = fs::read(&text) {
        let read = extract::read(&bytes, "example.bin", &Limits::default()).expect("a document");
        assert!(matches!(read, Outcome::Text(document) if !document.metadata.contains_key(KIND_KEY)));
    }
    for path in [
        "legacy/ebcdic-cobol/test3_data/TRAN2.AUG31.DATA.dat",
        "legacy/ebcdic-cobol/test16_data/ENTITY.DB.AUG12.DATA.FIX.LEN.dat",
        "catalog/datanorm/v4_with_texts.001",
        "catalog/datanorm/v5_first_texts_then_products.001",
        "betrieb/pruefstand7.wml",
        "betrieb/PRUEFDAT.001",
    ] {
        let path = root.join(path);
        if !path.is_file() {
            println!("skipped: {} is absent", path.display());
            continue;
        }
        let kind = world.waits(&path).await;
        println!("{}: {kind}", path.display());
    }
}
