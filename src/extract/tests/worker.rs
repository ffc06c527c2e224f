//! The pool against real processes. This program is also its own worker: called with `worker extract` it serves, called
//! with `probe` it tries what its sandbox forbids, called with `parent` it is a parent to be killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use extract::sandbox::{Hold, Policy};
use extract::worker::Pool;
use extract::{CatalogItem, Error, Limits, Outcome};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", "extract"] => extract::worker::main(),
        ["probe"] => probe(),
        ["parent", file] => parent(Path::new(file)),
        // What `cargo test` passes on: a filter or flags. The stories are few and always run.
        _ => run(),
    }
}

fn run() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    runtime.block_on(async {
        reads(directory.path()).await;
        println!("reads_files_and_says_what_holds ... ok");
        refuses(directory.path()).await;
        println!("refuses_what_is_no_file ... ok");
        survives(directory.path()).await;
        println!("survives_a_worker_that_dies_hangs_or_lies ... ok");
        memory(directory.path()).await;
        println!("memory_is_bounded ... ok");
        catalogs(directory.path()).await;
        println!("catalogues_of_any_size_are_streamed ... ok");
        orphans(directory.path());
        println!("no_worker_outlives_its_parent ... ok");
        confined();
        println!("the_sandbox_holds ... ok");
        corpus().await;
    });
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("a program")
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

async fn reads(directory: &Path) {
    let pool = Pool::new(this_program(), 2, Limits::default());
    let good = file(directory, "gut.txt", "Größe: 5,1 mm".as_bytes());
    let empty = file(directory, "leer.txt", b"");
    for _ in 0..5 {
        match pool.extract(&good).await {
            Ok(Outcome::Text(document)) => assert_eq!(document.blocks[0].text, "Größe: 5,1 mm"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(pool.extract(&empty).await, Ok(Outcome::Empty { .. })));
    }
    let sandbox = pool.sandbox().expect("a worker ran");
    println!("sandbox: {sandbox}");
    assert_eq!(sandbox.no_new_privileges, extract::sandbox::Hold::Full);
    assert_eq!(sandbox.resources, extract::sandbox::Hold::Full);
    let both = tokio::join!(pool.extract(&good), pool.extract(&good));
    assert_eq!(both.0, both.1);
}

async fn refuses(directory: &Path) {
    let limits = Limits { max_file_bytes: 10, ..Limits::default() };
    let pool = Pool::new(this_program(), 1, limits);
    let link = directory.join("link.txt");
    std::os::unix::fs::symlink(directory.join("gut.txt"), &link).expect("a link");
    let pipe = directory.join("rohr");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    for (path, expect) in [
        (link, "not a regular file but a symbolic link"),
        (pipe, "not a regular file but a pipe"),
        (directory.to_owned(), "not a regular file but a directory"),
        (PathBuf::from("/dev/null"), "not a regular file but a device"),
        (directory.join("gut.txt"), "the file (15 bytes) is larger than the limit of 10 bytes"),
        (directory.join("fehlt"), "the file cannot be read: no such file or directory"),
    ] {
        let started = Instant::now();
        let error = pool.extract(&path).await.expect_err("refused");
        assert_eq!(error.to_string(), expect);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

/// A worker made of a shell script that greets and then does `act`.
fn shell(act: &str, limits: Limits) -> Pool {
    let hello = r#"{"format":1,"sandbox":{"unprivileged":"full","no_new_privileges":"full","files_and_ports":"full","calls":"full","resources":"full"}}"#;
    // The length goes before as 8 bytes, little endian.
    // It takes a part of the setup first, as the parent writes that before it listens.
    let script = format!(
        r#"head -c 40 >/dev/null; printf '\{:03o}\000\000\000\000\000\000\000%s' '{hello}'; {act}"#,
        hello.len()
    );
    Pool::with_arguments(PathBuf::from("/bin/sh"), ["-c".to_owned(), script], 1, limits)
}

async fn survives(directory: &Path) {
    let path = directory.join("gut.txt");
    let limits = Limits { timeout_ms: 1_000, ..Limits::default() };
    for (act, expect) in [
        ("kill -SEGV $$", Error::Crashed { signal: Some(11) }),
        ("exit 3", Error::Crashed { signal: None }),
        ("exec sleep 600", Error::TimedOut { seconds: 1 }),
        ("printf 'Unfug, aber reichlich davon'; exec sleep 600", Error::Crashed { signal: None }),
        ("echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$", Error::OutOfMemory { limit_bytes: 2 << 30 }),
        ("head -c 9999999 /dev/zero >&2; exit 1", Error::Crashed { signal: None }),
    ] {
        let pool = shell(act, limits.clone());
        let started = Instant::now();
        assert_eq!(pool.extract(&path).await, Err(expect), "{act}");
        assert!(started.elapsed() < Duration::from_secs(20), "{act}");
    }
    let absent = Pool::new(directory.join("fehlt"), 1, limits);
    assert!(matches!(absent.extract(&path).await, Err(Error::NoWorker { .. })));
}

async fn memory(directory: &Path) {
    // 40 MB of text cannot be read, decoded and kept in so little address space; the next file can.
    let big = file(directory, "gross.txt", "wort\n\n".repeat(7_000_000).as_bytes());
    let small = directory.join("gut.txt");
    let limits = Limits { memory_bytes: 400 << 20, ..Limits::default() };
    let pool = Pool::new(this_program(), 1, limits);
    assert!(matches!(pool.extract(&big).await, Err(Error::OutOfMemory { .. })));
    assert!(matches!(pool.extract(&small).await, Ok(Outcome::Text(_))));
}

/// Prints one line per thing that still works.
fn probe() {
    let applied = extract::sandbox::apply(&Policy::worker(2 << 30, 60));
    println!("files {}", applied.files_and_ports == Hold::Full);
    println!("calls {}", applied.calls == Hold::Full);
    if std::fs::read("/etc/passwd").is_ok() {
        println!("could read");
    }
    if std::fs::write("/tmp/0711-sandbox-probe", b"x").is_ok() {
        println!("could write");
    }
    if std::process::Command::new("/bin/true").status().is_ok() {
        println!("could start a program");
    }
    let refused = std::net::TcpListener::bind("127.0.0.1:0").map(drop);
    if refused.map_err(|error| error.kind()) != Err(std::io::ErrorKind::PermissionDenied) {
        println!("could open a socket");
    }
}

fn confined() {
    let output = std::process::Command::new(this_program()).arg("probe").output().expect("a probe");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("files ") && said.contains("calls "), "{said}");
    if said.contains("files true") {
        assert!(!said.contains("could read") && !said.contains("could write"), "{said}");
    } else {
        println!("this kernel has no Landlock: files are not confined");
    }
    assert!(said.contains("calls true"), "{said}");
    assert!(!said.contains("could start") && !said.contains("could open"), "{said}");
}

/// Reads a file, says so, and waits to be killed.
fn parent(file: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let pool = Pool::new(this_program(), 1, Limits::default());
    runtime.block_on(pool.extract(file)).expect("text");
    println!("ready");
    std::thread::sleep(Duration::from_secs(600));
}

fn orphans(directory: &Path) {
    use std::io::BufRead;
    let mut parent = std::process::Command::new(this_program())
        .arg("parent")
        .arg(directory.join("gut.txt"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a parent");
    let mut line = String::new();
    std::io::BufReader::new(parent.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    let children: Vec<PathBuf> = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
            status.lines().any(|line| line == format!("PPid:\t{}", parent.id()))
        })
        .collect();
    assert_eq!(children.len(), 1, "{children:?}");
    parent.kill().expect("killed");
    parent.wait().expect("ended");
    let deadline = Instant::now() + Duration::from_secs(10);
    while children[0].exists() {
        assert!(Instant::now() < deadline, "the worker lives on");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every small file of the corpus, each with a result; the large ones are for the measurements.
async fn corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    if !root.is_dir() {
        println!("skipped: no corpus at {}", root.display());
        return;
    }
    let mut pending = vec![root];
    let mut files = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory").filter_map(Result::ok) {
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                pending.push(entry.path());
            } else if entry.metadata().is_ok_and(|metadata| metadata.len() <= CORPUS_BYTES) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    let pool = Pool::new(this_program(), 2, Limits::default());
    let mut reading = tokio::task::JoinSet::new();
    let count = files.len();
    for path in files {
        let pool = pool.clone();
        reading.spawn(async move { (pool.extract(&path).await, path) });
    }
    let mut results = std::collections::BTreeMap::new();
    while let Some(done) = reading.join_next().await {
        let (result, path) = done.expect("a result");
        let kind = match &result {
            Ok(Outcome::Text(_)) => "text",
            Ok(Outcome::Empty { .. }) => "empty",
            Err(
                error @ (Error::Crashed { .. }
                | Error::TimedOut { .. }
                | Error::OutOfMemory { .. }
                | Error::NoWorker { .. }),
            ) => {
                panic!("{}: {error}", path.display())
            }
            Err(error) => error.kind(),
        };
        *results.entry(kind).or_insert(0_usize) += 1;
    }
    println!("corpus: {results:?}");
    assert_eq!(results.values().sum::<usize>(), count);
    assert!(results["text"] * 100 >= count * 80, "{results:?}");
}

/// A catalogue far larger than the file limit, in a worker with little memory; and what is none.
async fn catalogs(directory: &Path) {
    let product = |number: usize| {
        let text = "Reihenklemme für Leiter ".repeat(200);
        format!(
            "<PRODUCT><SUPPLIER_PID>{number}</SUPPLIER_PID><PRODUCT_DETAILS><DESCRIPTION_LONG>{text}</DESCRIPTION_LONG></PRODUCT_DETAILS></PRODUCT>"
        )
    };
    let products: String = (0..4_000).map(product).collect();
    let text = format!("<BMECAT version=\"2005\"><HEADER/><T_NEW_CATALOG>{products}</T_NEW_CATALOG></BMECAT>");
    assert!(text.len() > 16 << 20);
    let catalog = file(directory, "katalog.xml", text.as_bytes());
    let cut = file(directory, "katalog-abgeschnitten.xml", &text.as_bytes()[..text.len() / 2]);
    let plain = file(directory, "gross.txt", &vec![b'x'; 4 << 20]);
    let limits =
        Limits { max_file_bytes: 1 << 20, max_text_bytes: 1 << 20, memory_bytes: 160 << 20, ..Limits::default() };
    let pool = Pool::new(this_program(), 1, limits);
    let mut ids = Vec::new();
    let take = |ids: &mut Vec<String>, item| {
        if let CatalogItem::Product(product) = item {
            ids.push(product.id);
        }
    };
    pool.catalog(&catalog, |item| take(&mut ids, item)).await.expect("a catalogue");
    assert_eq!(ids, (0..4_000).map(|number| number.to_string()).collect::<Vec<_>>());
    ids.clear();
    let error = pool.catalog(&cut, |item| take(&mut ids, item)).await.expect_err("it is cut");
    assert!(error.to_string().contains("damaged XML"), "{error}");
    assert!(ids.len() > 1_900, "what came before the cut is good: {}", ids.len());
    assert!(matches!(pool.catalog(&plain, |_| ()).await, Err(Error::Unsupported { .. })));
    assert!(matches!(pool.extract(&plain).await, Err(Error::TooLarge { .. })));
    match pool.extract(&catalog).await {
        Ok(Outcome::Text(document)) => {
            assert_eq!((document.format.as_str(), document.metadata["products"].as_str()), ("bmecat", "4000"));
            assert!(document.warnings[0].contains("left out here"), "{:?}", document.warnings);
        }
        other => panic!("{other:?}"),
    }
}

/// The largest file the test reads: an unoptimised build takes its time.
const CORPUS_BYTES: u64 = 40_000;
