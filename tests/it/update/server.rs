//! A static web server on loopback: ranges, a count of what it sent, and what happens when so much was sent.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// What is done when so many bytes of blobs were sent.
type Act = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    sent_bytes: AtomicU64,
    is_cut: AtomicBool,
    acts: Mutex<Vec<(u64, Act)>>,
}

/// The folder of a channel, on the web until the test's process ends.
pub struct Server {
    pub address: String,
    state: Arc<State>,
}

impl Server {
    pub fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let (dir, shared) = (dir.to_owned(), Arc::clone(&state));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (dir, state) = (dir.clone(), Arc::clone(&shared));
                thread::spawn(move || answer(&dir, &state, stream));
            }
        });
        Self { address, state }
    }

    /// Bytes of blobs that were sent since the last time.
    pub fn take_sent_bytes(&self) -> u64 {
        self.state.sent_bytes.swap(0, Ordering::SeqCst)
    }

    /// Does `act` once when so many bytes of blobs were sent.
    pub fn when_sent(&self, bytes: u64, act: impl FnOnce() + Send + 'static) {
        self.state.acts.lock().unwrap().push((bytes, Box::new(act)));
    }

    /// Cuts the line when so many bytes of blobs were sent; nothing is answered from then on.
    pub fn cut_at(&self, bytes: u64) {
        let state = Arc::clone(&self.state);
        self.when_sent(bytes, move || state.is_cut.store(true, Ordering::SeqCst));
    }

    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

fn answer(dir: &Path, state: &State, mut stream: TcpStream) -> std::io::Result<()> {
    let (path, from) = request(&stream)?;
    if state.is_cut.load(Ordering::SeqCst) {
        return Ok(());
    }
    let Ok(mut file) = File::open(dir.join(&path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    let size = file.metadata()?.len();
    let head = match from {
        Some(from) if from < size => {
            file.seek(SeekFrom::Start(from))?;
            let range = format!("bytes {from}-{}/{size}", size - 1);
            format!("206 Partial Content\r\ncontent-length: {}\r\ncontent-range: {range}", size - from)
        }
        _ => format!("200 OK\r\ncontent-length: {size}"),
    };
    // A blob's name is its digest: the same name is the same file.
    let tag = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    write!(stream, "HTTP/1.1 {head}\r\netag: \"{tag}\"\r\nconnection: close\r\n\r\n")?;
    let is_blob = path.starts_with("blobs");
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 || state.is_cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        stream.write_all(&piece[..count])?;
        if is_blob {
            let sent = state.sent_bytes.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
            let mut acts = state.acts.lock().unwrap();
            while let Some(at) = acts.iter().position(|(bytes, _)| *bytes <= sent) {
                let (_, act) = acts.remove(at);
                act();
            }
        }
    }
}

/// Returns the path that is asked for, and where the range begins.
fn request(stream: &TcpStream) -> std::io::Result<(PathBuf, Option<u64>)> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let mut from = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        from = from.or_else(|| line.strip_prefix("range: bytes=")?.split('-').next()?.parse().ok());
    }
    Ok((path.into(), from))
}
