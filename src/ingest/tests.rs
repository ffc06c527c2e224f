//! The flow with a real lake, a real model and real files.

mod products;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

use base::{Clock, CustomerLayout, Digest, Layout, Rights, Slug};
use engine::{Embedder, Embedding};
use extract::{
    handler::{HandlerLimits, Runner, validate},
    worker::Pool,
};
use lake::{Access, DocumentRow, DocumentStatus, EmbedSpec, Lake, SearchMode, SearchRequest};
use tokio_util::sync::CancellationToken;

use crate::{Domain, Error, Event, FileStatus, FolderState, Job, Options, Report, correct, domain_of, limits, run};

const MODEL: &str = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f";

/// The model is opened once for all tests.
pub(crate) fn embedder() -> Embedder {
    static EMBEDDER: OnceLock<Embedder> = OnceLock::new();
    let open = || {
        let path = Layout::cached_model(&MODEL.parse::<Digest>().unwrap());
        assert!(
            path.is_file(),
            "the embedding model is not in `{}`: run `0711 models fetch multilingual-e5-small`",
            path.display()
        );
        Embedder::open(&path).unwrap()
    };
    EMBEDDER.get_or_init(open).clone()
}

/// Makes this test program a worker when it is started as one, before the test harness reads the arguments.
#[used]
#[unsafe(link_section = ".init_array")]
static WORKER: extern "C" fn() = worker;

extern "C" fn worker() {
    if std::env::args().skip(1).eq(["worker", "extract"]) {
        extract::worker::main();
    }
    if std::env::args().skip(1).eq(["worker", "handler"]) {
        extract::handler::main();
    }
}

fn pool() -> Pool {
    Pool::new(std::env::current_exe().unwrap(), 2, limits())
}

/// A share and an installation in a temporary folder.
pub(crate) struct World {
    pub dir: tempfile::TempDir,
    pub customer: CustomerLayout,
    access: Option<Access>,
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("share")).unwrap();
        let layout = Layout::rooted(dir.path().join("root"));
        let customer = layout.customer(&Slug::parse("kessler").unwrap());
        let access = open(&customer).await;
        Self { dir, customer, access: Some(access) }
    }

    /// Closes the lake, so that another process may open it.
    pub fn closed(mut self) -> Self {
        self.access = None;
        self
    }

    /// Closes the lake and opens it as the next process would.
    async fn reopened(self) -> Self {
        let closed = self.closed();
        Self { access: Some(open(&closed.customer).await), ..closed }
    }

    fn access(&self) -> &Access {
        self.access.as_ref().unwrap()
    }

    pub fn share(&self) -> PathBuf {
        self.dir.path().join("share")
    }

    pub fn write(&self, relative: impl AsRef<Path>, text: &str) {
        let path = self.share().join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        // As files are: written some time before they are read.
        age(&path, 60);
    }

    fn job(&self) -> Job {
        Job {
            folders: vec![self.share()],
            lake: self.access().clone(),
            embedding: Embedding::Local(embedder()),
            pool: pool(),
            readers: 2,
            max_file_bytes: limits().max_file_bytes,
            max_documents: 100,
            state_dir: self.customer.ingest_state(),
            options: Options::default(),
            handlers: Some(self.desk()),
            clock: Clock::system(),
        }
    }

    fn desk(&self) -> handlers::Desk {
        let runner = Runner::new(std::env::current_exe().unwrap(), HandlerLimits::default());
        handlers::Desk::open(&self.customer, runner, Clock::system()).unwrap()
    }

    async fn run(&self) -> Report {
        self.run_job(self.job()).await
    }

    async fn run_job(&self, job: Job) -> Report {
        run(job, &|_| {}, CancellationToken::new()).await.unwrap()
    }

    async fn documents(&self) -> BTreeMap<String, DocumentRow> {
        let rows = self.access().documents().await.unwrap();
        rows.into_iter().map(|row| (row.path.clone(), row)).collect()
    }

    async fn found(&self, words: &str) -> Vec<String> {
        self.found_by(words, Rights::All).await
    }

    async fn found_by(&self, words: &str, rights: Rights) -> Vec<String> {
        let request = SearchRequest { mode: SearchMode::Lexical, rights, ..SearchRequest::hybrid(words, None, 10) };
        let hits = self.access().search(request).await.unwrap();
        let mut found: Vec<String> =
            hits.into_iter().flat_map(|hit| std::iter::once(hit.document).chain(hit.copies)).collect();
        found.sort();
        found
    }
}

async fn open(customer: &CustomerLayout) -> Access {
    let spec = EmbedSpec { dimension: embedder().dimension(), model: embedder().digest() };
    Access::Local(Lake::open(customer, spec).await.unwrap())
}

fn age(path: &Path, seconds: u64) {
    let when = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
    fs::File::options().append(true).open(path).unwrap().set_modified(when).unwrap();
}

fn counts(report: &Report) -> [u64; 5] {
    [report.added, report.changed, report.moved, report.unchanged, report.removed]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_reads_only_what_changed_and_forgets_what_is_gone() {
    let world = World::new().await;
    world.write("a.txt", "Die Klemme trägt zweiunddreißig Ampere.");
    world.write("sub/b.md", "# Garantie\n\nSechsunddreißig Monate auf Netzteile.");
    world.write("c.csv", "Artikel;Preis\n7101040;1,42\n");
    let report = world.run().await;
    assert_eq!(counts(&report), [3, 0, 0, 0, 0], "{report:?}");
    assert_eq!((report.searchable, report.files.len()), (3, 0));
    assert_eq!(world.found("Ampere").await, ["a.txt"]);

    let world = world.reopened().await;
    let report = world.run().await;
    assert_eq!(counts(&report), [0, 0, 0, 3, 0]);
    assert_eq!((report.bytes_read, report.chunks_per_second), (0, 0.0));

    world.write("a.txt", "Die Klemme trägt vierzig Volt, mehr sagt niemand.");
    fs::remove_file(world.share().join("c.csv")).unwrap();
    fs::rename(world.share().join("sub/b.md"), world.share().join("sub/Garantie.md")).unwrap();
    let report = world.run().await;
    assert_eq!(counts(&report), [0, 1, 1, 0, 2], "{report:?}");
    assert_eq!(world.documents().await.into_keys().collect::<Vec<_>>(), ["a.txt", "sub/Garantie.md"]);
    assert_eq!(world.found("Ampere").await, Vec::<String>::new());
    assert_eq!(world.found("Monate").await, ["sub/Garantie.md"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_follows_the_files_without_reading_them_again() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let world = World::new().await;
    world.write("offen.txt", "Die Klemme trägt zweiunddreißig Ampere.");
    world.write("hr/gehalt.txt", "Das Gehalt der Klemme ist geheim.");
    world.write("hr/liste.csv", "Name;Gehalt\nAnna;1\n");
    let set = |path: &str, mode: u32| {
        fs::set_permissions(world.share().join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    set("", 0o755);
    set("hr", 0o750);
    for path in ["offen.txt", "hr/gehalt.txt", "hr/liste.csv"] {
        set(path, 0o644);
    }
    let group = fs::metadata(world.share().join("hr")).unwrap().gid();
    let group = crate::rights::Names::of_machine().group(group);
    let (nobody, member) = (Rights::Of(Vec::new()), Rights::Of(vec![group]));
    world.run().await;
    assert_eq!(world.found_by("Klemme", nobody.clone()).await, ["offen.txt"]);
    assert_eq!(world.found_by("Klemme", member.clone()).await, ["hr/gehalt.txt", "offen.txt"]);

    let check = async |regranted: u64, what: &str, readers: &[&str]| {
        let before = world.documents().await;
        let report = world.run().await;
        assert_eq!((report.regranted, report.unchanged), (regranted, 3), "{what}");
        assert_eq!((report.bytes_read, report.stages.embed, report.stages.extract), (0, 0.0, 0.0), "{what}");
        let after = world.documents().await;
        for path in ["hr/gehalt.txt", "hr/liste.csv"] {
            assert_eq!(after[path].readers, readers, "{what}: {path}");
            assert_eq!(
                DocumentRow { readers: Vec::new(), ..after[path].clone() },
                DocumentRow { readers: Vec::new(), ..before[path].clone() }
            );
        }
        report
    };
    check(
        0,
        "nothing changed",
        &world.documents().await["hr/gehalt.txt"].readers.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    set("hr", 0o755);
    check(2, "the folder is opened", &["*"]).await;
    assert_eq!(world.found_by("Klemme", nobody.clone()).await, ["hr/gehalt.txt", "offen.txt"]);
    fs::write(world.share().join("hr/.0711-acl"), "format: 1\nrules:\n- {files: '*', readers: [personal]}\n").unwrap();
    check(2, "a folder's own rules", &["personal"]).await;
    assert_eq!(world.found_by("Gehalt", nobody.clone()).await, Vec::<String>::new());
    assert_eq!(world.found_by("Gehalt", Rights::Of(vec!["personal".into()])).await, ["hr/gehalt.txt", "hr/liste.csv"]);
    fs::write(world.share().join("hr/.0711-acl"), "format: 1\nrules: everybody\n").unwrap();
    let report = check(2, "rules nobody understands", &[]).await;
    assert!(report.notes.iter().any(|note| note.contains("hr/.0711-acl")), "{:?}", report.notes);
    assert!(report.files.iter().any(|file| file.path == "hr/.0711-acl" && file.reason.contains("administrators")));
    assert_eq!(world.found_by("Klemme", member).await, ["offen.txt"]);
    assert_eq!(world.found("Klemme").await, ["hr/gehalt.txt", "offen.txt"]);
    // A copy of what is closed has the readers of its own place.
    fs::copy(world.share().join("hr/gehalt.txt"), world.share().join("kopie.txt")).unwrap();
    age(&world.share().join("kopie.txt"), 60);
    set("kopie.txt", 0o644);
    world.run().await;
    assert_eq!(world.found_by("Gehalt", nobody).await, ["kopie.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_touched_or_written_twice_in_a_tick_is_known_by_its_digest() {
    let world = World::new().await;
    world.write("a.txt", "Erstes Wort.");
    world.run().await;
    age(&world.share().join("a.txt"), 30);
    assert_eq!(counts(&world.run().await), [0, 0, 0, 1, 0]);
    let now = std::time::SystemTime::now();
    let write = |text: &str| {
        let path = world.share().join("a.txt");
        fs::write(&path, text).unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(now).unwrap();
    };
    write("Zweites Wort.");
    assert_eq!(counts(&world.run().await), [0, 1, 0, 0, 0]);
    write("Drittes Wort.");
    assert_eq!(counts(&world.run().await), [0, 1, 0, 0, 0], "same size, same time, other text");
    assert_eq!(world.found("Drittes").await, ["a.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_read_and_odd_entries_are_not() {
    let world = World::new().await;
    world.write("zwei\nzeilen.txt", "Zeilenumbruch im Namen.");
    world.write(OsStr::from_bytes(b"gr\xf6\xdfe.txt"), "Umlaut aus alter Zeit.");
    world.write("gr%F6%DFe.txt", "Wirklich so geschrieben.");
    world.write("~$offen.docx", "x");
    world.write("Thumbs.db", "x");
    world.write(".git/config", "x");
    rustix::fs::mkfifoat(rustix::fs::CWD, world.share().join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    std::os::unix::fs::symlink("/etc", world.share().join("link")).unwrap();
    let report = world.run().await;
    let documents = world.documents().await;
    assert_eq!(documents.into_keys().collect::<Vec<_>>(), ["gr%25F6%25DFe.txt", "gr%F6%DFe.txt", "zwei\nzeilen.txt"]);
    let skipped: Vec<_> = report.files.iter().map(|file| (file.path.as_str(), file.reason.as_str())).collect();
    let expect = [
        (".git", "hidden folder"),
        ("Thumbs.db", "system file"),
        ("link", "symbolic link, not followed"),
        ("pipe", "named pipe, not a file"),
        ("~$offen.docx", "lock file of an open document"),
    ];
    assert_eq!(skipped, expect);
    assert_eq!((report.searchable, report.skipped), (3, 5));
    assert_eq!(world.run().await.unchanged, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_twice_is_two_documents_and_read_once() {
    let world = World::new().await;
    for name in ["a.txt", "b.txt", "kopien/c.txt", "kopien/d.txt"] {
        world.write(name, "Derselbe Text an vier Orten.");
    }
    let report = world.run().await;
    assert_eq!((report.added, report.searchable, report.chunks), (4, 4, 4));
    assert!(report.chunks_per_second * report.seconds < 3.5, "embedded fewer than four: {report:?}");
    assert_eq!(world.found("Orten").await, ["a.txt", "b.txt", "kopien/c.txt", "kopien/d.txt"]);
    fs::remove_file(world.share().join("a.txt")).unwrap();
    world.run().await;
    assert_eq!(world.found("Orten").await, ["b.txt", "kopien/c.txt", "kopien/d.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_not_mounted_costs_nothing() {
    let world = World::new().await;
    world.write("a.txt", "Messwerte der Klemme.");
    world.run().await;
    let away = world.dir.path().join("away");
    fs::rename(world.share(), &away).unwrap();
    let report = world.run().await;
    assert_eq!((report.folders[0].state, report.kept, report.searchable), (FolderState::Missing, 1, 1));
    fs::create_dir(world.share()).unwrap();
    let report = world.run().await;
    assert_eq!((report.folders[0].state, report.kept, report.removed), (FolderState::Emptied, 1, 0));
    assert!(report.notes[0].contains("--prune"), "{:?}", report.notes);
    assert_eq!(world.found("Messwerte").await, ["a.txt"]);
    let mut job = world.job();
    job.options.prune = true;
    assert_eq!(world.run_job(job).await.removed, 1);
    fs::remove_dir(world.share()).unwrap();
    let error = run(world.job(), &|_| {}, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, Error::NoFolder { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_license_limits_searchable_documents() {
    let world = World::new().await;
    for name in ["a.txt", "b.txt", "c.txt", "d.txt"] {
        world.write(name, &format!("Inhalt von {name}"));
    }
    world.write("leer.txt", "");
    let limited = |max_documents| Job { max_documents, readers: 1, ..world.job() };
    let report = world.run_job(limited(2)).await;
    assert_eq!((report.searchable, report.over_limit, report.exit()), (2, 2, base::Exit::Limit));
    let left_out = report.files.iter().filter(|file| file.status == FileStatus::OverLimit);
    assert!(left_out.clone().all(|file| file.reason.contains("license limit")));
    assert_eq!(left_out.count(), 2);
    assert_eq!(world.run_job(limited(2)).await.searchable, 2);
    let report = world.run_job(limited(4)).await;
    assert_eq!((report.searchable, report.over_limit), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_keeps_what_it_committed_and_the_next_one_ends_the_same() {
    let (world, other) = (World::new().await, World::new().await);
    for index in 0..80 {
        for world in [&world, &other] {
            world.write(format!("{index:02}.txt"), &format!("Prüfprotokoll {index} über Klemme {index}."));
        }
    }
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let events = move |event| {
        if matches!(event, Event::Committed { .. }) {
            stop.cancel();
        }
    };
    let report = run(world.job(), &events, cancel).await.unwrap();
    assert!(report.interrupted && report.exit() == base::Exit::Interrupted);
    assert!((1..80).contains(&report.searchable), "{}", report.searchable);
    let world = world.reopened().await;
    let report = world.run().await;
    other.run().await;
    assert!(report.unchanged > 0 && report.searchable == 80);
    let state = |rows: BTreeMap<String, DocumentRow>| -> Vec<_> {
        rows.into_values().map(|row| (row.path, row.digest, row.chunk_count, row.status)).collect()
    };
    assert_eq!(state(world.documents().await), state(other.documents().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_in_the_report_and_not_tried_again_unless_asked() {
    let world = World::new().await;
    world.write("kaputt.pdf", "%PDF-1.7\n1 0 obj\n<< /Type /Cat");
    world.write("leer.txt", "");
    world.write("gut.txt", "Lesbar.");
    let giant = world.share().join("riesig.iso");
    fs::File::create(&giant).unwrap().set_len(40 << 30).unwrap();
    age(&giant, 60);
    let report = world.run().await;
    let status: Vec<_> = report.files.iter().map(|file| (file.path.as_str(), file.status)).collect();
    let expect =
        [("kaputt.pdf", FileStatus::Failed), ("riesig.iso", FileStatus::Failed), ("leer.txt", FileStatus::Empty)];
    assert_eq!(status, expect);
    assert!(report.files.iter().all(|file| !file.reason.is_empty()));
    assert_eq!(report.reasons.get("too large"), Some(&1));
    assert_eq!(counts(&world.run().await), [0, 0, 0, 4, 0]);
    let mut job = world.job();
    job.options.retry = true;
    let report = world.run_job(job).await;
    assert_eq!(counts(&report), [0, 2, 0, 2, 0]);
    assert_eq!(world.documents().await["gut.txt"].status, DocumentStatus::Searchable);
    let kept = crate::read_report(&world.customer.ingest_state()).unwrap();
    assert_eq!(kept, report);
    assert!(kept.render().contains("  leer.txt: "), "{}", kept.render());
}

const HANDLER: &str = r#"
# Messlauf: Kopf, dann Sätze aus Länge und Text
def handle(name, size):
    text(0, 4, "latin1")
    at = 4
    while at < size:
        length = integer(at, 1)
        if at + 1 + length > size:
            break
        emit({"seriennummer": text(at + 1, length, "latin1")})
        at += 1 + length
"#;

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_handler_are_found_once_somebody_approved_it() {
    let world = World::new().await;
    let numbers: String = (0..40).map(|number| format!("\u{8}SN-{:05}", 40_000 + number)).collect();
    world.write("lauf.mlog", &format!("MESS{numbers}"));
    world.write("gut.txt", "Lesbar.");
    let (file, registry) = (world.share().join("lauf.mlog"), handlers::Registry::new(&world.customer));

    let report = world.run().await;
    assert_eq!((report.searchable, report.files[0].status), (1, FileStatus::Failed));
    assert!(report.files[0].reason.contains("0711 handlers pending binary-mlog-"), "{}", report.files[0].reason);
    let waiting = handlers::Queue::new(&world.customer).list().unwrap();
    assert_eq!((waiting.len(), waiting[0].files.as_slice()), (1, &[file.clone()][..]));
    assert_eq!(counts(&world.run().await), [0, 0, 0, 2, 0], "nothing changed, and nothing is read again");

    let runner = Runner::new(std::env::current_exe().unwrap(), HandlerLimits::default());
    let validation = validate(&runner, HANDLER, &[file]).await;
    assert!(validation.passed(), "{}", validation.faults());
    let entry = handlers::Entry::by_person("messlauf", &waiting[0].kind, HANDLER, None, validation, Clock::system());
    registry.put(&entry, HANDLER).unwrap();
    let report = world.run().await;
    assert_eq!((report.searchable, report.files[0].status), (1, FileStatus::Quarantined));
    assert!(report.files[0].reason.starts_with("40 records are quarantined"), "{}", report.files[0].reason);
    assert!(report.render().contains("1 file quarantined:") && report.render().contains("handlers approve messlauf"));
    assert!(world.found("SN-40007").await.is_empty(), "nothing of it can be found");

    let decision = handlers::Decision { by: "erika".to_owned(), at: Clock::system().now() };
    registry.decide("messlauf", entry.digest, handlers::State::Approved, decision.clone()).unwrap();
    let report = world.run().await;
    assert_eq!((report.searchable, report.files.len()), (2, 0), "{report:?}");
    let found = world.found("SN-40007").await;
    assert!(!found.is_empty() && found.iter().all(|name| name == "lauf.mlog"), "{found:?}");
    let row = world.documents().await.remove("lauf.mlog").unwrap();
    assert_eq!((row.format.as_str(), row.metadata["handler"].as_str()), ("mlog", "messlauf"));
    assert_eq!(counts(&world.run().await), [0, 0, 0, 2, 0]);

    registry.decide("messlauf", entry.digest, handlers::State::Rejected, decision).unwrap();
    assert_eq!(world.run().await.searchable, 1);
    assert!(world.found("SN-40007").await.is_empty(), "what is rejected is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_read_as_text_stay_searchable_while_they_wait() {
    let world = World::new().await;
    let lines: String =
        (0..30).map(|number| format!("{number:010}Reihenklemme grau     {:>12}\n", number * 37)).collect();
    world.write("bestand.txt", &lines);
    let report = world.run().await;
    assert_eq!((report.searchable, report.files.len()), (1, 0));
    let waiting = handlers::Queue::new(&world.customer).list().unwrap();
    assert_eq!((waiting.len(), waiting[0].is_text), (1, true));
    assert_eq!(world.found("Reihenklemme").await, ["bestand.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_inside_a_folder_is_read_once() {
    let world = World::new().await;
    world.write("innen/a.txt", "Innen.");
    world.write("b.txt", "Außen.");
    let inner = |world: &World| Job { folders: vec![world.share().join("innen")], ..world.job() };
    assert_eq!(world.run_job(inner(&world)).await.added, 1);
    let mut both = inner(&world);
    both.folders.push(world.share());
    let report = world.run_job(both).await;
    assert_eq!((report.added, report.unchanged, report.folders.len()), (1, 1, 1));
    assert_eq!(world.run_job(inner(&world)).await.elsewhere, 1);
    assert_eq!(world.documents().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_and_only_one_run_goes_on() {
    let world = World::new().await;
    world.write("a.txt", "Ein Satz.");
    let events = Mutex::new(Vec::new());
    let second = Mutex::new(None);
    let listen = |event: Event| events.lock().unwrap().push(event);
    let (first, other) = tokio::join!(run(world.job(), &listen, CancellationToken::new()), async {
        run(world.job(), &|_| {}, CancellationToken::new()).await
    });
    *second.lock().unwrap() = Some(other);
    assert!(matches!(second.into_inner().unwrap(), Some(Err(Error::Locked { .. }))));
    let events = events.into_inner().unwrap();
    assert!(matches!(events[0], Event::Planned { files: 1, .. }), "{events:?}");
    let mut last = events.iter().filter_map(|event| match event {
        Event::Progress(progress) => Some((progress.files_done, progress.files_total)),
        _ => None,
    });
    assert_eq!(last.next_back(), Some((1, 1)));
    assert!(matches!(events.last(), Some(Event::Finished(report)) if **report == first.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_share_is_searchable_but_for_two_files() {
    let world = World::new().await;
    let share = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/share");
    let report = world.run_job(Job { folders: vec![share], ..world.job() }).await;
    let files: Vec<_> = report.files.iter().map(|file| (file.path.as_str(), file.status)).collect();
    let expect = [
        ("Archiv/Aushang_KX-16_abgebrochene_Kopie.docx", FileStatus::Failed),
        ("Archiv/Notiz_leer.txt", FileStatus::Empty),
    ];
    assert_eq!(files, expect, "{report:?}");
    assert_eq!(report.searchable, report.seen - 2);
    assert!(report.searchable >= 30 && report.chunks > report.searchable);
    println!("{}", report.render());
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_given_a_domain_and_a_person_is_right() {
    let world = World::new().await;
    world.write("Datenblatt_KX-4.txt", "Technische Daten der Klemme KX 4: Bemessungsstrom 32 A, Schutzart IP20.");
    world.write("Zoll.txt", "Zolltarifnummer 85369010, Ursprungserklärung und Intrastat-Meldung für Klemmen.");
    world.write(
        "Feier.txt",
        "Liebe Kolleginnen und Kollegen, am Freitag feiern wir ab 16 Uhr im Hof. Bringt Kuchen mit!",
    );
    run(world.job(), &|_| (), CancellationToken::new()).await.unwrap();
    let domains = async |world: &World| -> BTreeMap<String, (Option<Domain>, String)> {
        let rows = world.access().documents().await.unwrap();
        rows.into_iter().map(|row| (row.name.clone(), (domain_of(&row), row.metadata["domain_by"].clone()))).collect()
    };
    let first = domains(&world).await;
    let by = |domain, by: &str| (Some(domain), by.to_owned());
    assert_eq!(first["Datenblatt_KX-4.txt"], by(Domain::Product, "rules"));
    assert_eq!(first["Zoll.txt"], by(Domain::Ctax, "rules"));
    assert_eq!(first["Feier.txt"], by(Domain::None, "meaning"));

    let put = async |document: &str, domain| {
        let (embedding, state_dir) = (Embedding::Local(embedder()), world.customer.ingest_state());
        correct(world.access(), &embedding, &state_dir, document, domain, Clock::system()).await
    };
    let corrected = put("Feier.txt", Domain::Product).await.unwrap();
    assert_eq!((corrected.before, corrected.domain), (Some(Domain::None), Domain::Product));
    assert!(matches!(put("Fest.txt", Domain::None).await, Err(Error::NoDocument { .. })));
    assert!(
        matches!(put(".txt", Domain::None).await, Err(Error::NoDocument { why, .. }) if why.contains("3 documents"))
    );
    let report = run(world.job(), &|_| (), CancellationToken::new()).await.unwrap();
    assert_eq!((report.unchanged, report.changed), (2, 1), "the one that was put right is read again");
    assert_eq!(domains(&world).await["Feier.txt"], by(Domain::Product, "person"));
    let report = run(world.job(), &|_| (), CancellationToken::new()).await.unwrap();
    assert_eq!((report.unchanged, report.changed), (3, 0), "once");
    // Also when the file changes and is read anew.
    world.write("Feier.txt", "Liebe Kolleginnen und Kollegen, die Feier ist auf Montag verschoben.");
    run(world.job(), &|_| (), CancellationToken::new()).await.unwrap();
    assert_eq!(domains(&world).await["Feier.txt"], by(Domain::Product, "person"));
}
