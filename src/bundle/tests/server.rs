//! A web server on loopback that counts what it is asked and what it sends, and misbehaves on demand. It ends with the test process.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What a client asked, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Without the first slash.
    pub path: String,
    /// Where a `Range` begins.
    pub from: Option<usize>,
    pub if_range: Option<String>,
    pub sent_bytes: usize,
}

/// How the server answers one request.
#[derive(Clone, Debug, Default)]
pub(crate) enum Answer {
    #[default]
    Well,
    Status(&'static str),
    /// Closes after so many bytes of the body.
    Cut(usize),
    /// Sends so many bytes each time, and waits between.
    Drip(usize, Duration),
    /// Never ends, and says no length.
    Endless,
    /// The whole file, whatever range was asked.
    Whole,
    /// Says that the range begins elsewhere.
    WrongRange,
    /// Another file of another tag, from the place that was asked.
    Changed(Vec<u8>),
    /// Sends on to another address.
    Redirect(String),
}

type Content = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;
type Mood = dyn Fn(usize, &Asked) -> Answer + Send + Sync;

pub(crate) struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Serves what `content` returns for a path. `mood` hears the number of the request, from 1, and says how to answer.
    pub fn start(
        content: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
        mood: impl Fn(usize, &Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::with(Arc::new(content), Arc::new(mood), None)
    }

    /// The same behind TLS.
    pub fn secure(
        content: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
        tls: rustls::ServerConfig,
    ) -> Self {
        Self::with(Arc::new(content), Arc::new(|_, _| Answer::Well), Some(Arc::new(tls)))
    }

    fn with(content: Arc<Content>, mood: Arc<Mood>, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        // The program's `main` does this for the product.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (content, mood, log, tls) = (content.clone(), mood.clone(), log.clone(), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, &*content, &*mood, &log),
                    Some(tls) => {
                        let session = rustls::ServerConnection::new(tls).unwrap();
                        serve(rustls::StreamOwned::new(session, stream), &*content, &*mood, &log);
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// Serves the files of a folder.
    pub fn folder(dir: &std::path::Path, mood: impl Fn(usize, &Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(files_of(dir), mood)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The paths that were asked since the last time.
    pub fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().drain(..).map(|asked| asked.path).collect()
    }

    pub fn sent_bytes(&self) -> usize {
        self.asked().iter().map(|asked| asked.sent_bytes).sum()
    }
}

pub(crate) fn files_of(dir: &std::path::Path) -> impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static {
    let dir = dir.to_owned();
    move |path| std::fs::read(dir.join(path)).ok()
}

fn serve(mut stream: impl Read + Write, content: &Content, mood: &Mood, log: &Mutex<Vec<Asked>>) {
    let Some(asked) = read_request(&mut stream) else { return };
    let index = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len()
    };
    let answer = mood(index, &asked);
    let (head, body) = match (&answer, content(&asked.path)) {
        (Answer::Status(status), _) => (format!("{status}\r\ncontent-length: 0"), Vec::new()),
        (Answer::Redirect(to), _) => (format!("302 Found\r\ncontent-length: 0\r\nlocation: {to}"), Vec::new()),
        (_, None) => ("404 Not Found\r\ncontent-length: 0".to_owned(), Vec::new()),
        (Answer::Endless, Some(body)) => ("200 OK".to_owned(), body),
        (Answer::Whole, Some(body)) => (whole(&body, "one"), body),
        (Answer::Changed(other), Some(_)) => part(other, asked.from.unwrap_or(0), asked.from.unwrap_or(0), "two"),
        (Answer::WrongRange, Some(body)) => match asked.from {
            Some(from) => part(&body, from, from + 1, "one"),
            None => (whole(&body, "one"), body),
        },
        (_, Some(body)) => match asked.from.filter(|_| asked.if_range.as_deref().is_none_or(|tag| tag == "\"one\"")) {
            Some(from) => part(&body, from, from, "one"),
            None => (whole(&body, "one"), body),
        },
    };
    let mut sent = 0;
    let mut send = |bytes: &[u8]| {
        let written = stream.write_all(bytes).and_then(|()| stream.flush()).is_ok();
        sent += bytes.len() * usize::from(written);
        // Told at once: the client may be done before this thread is.
        if let Some(asked) = log.lock().unwrap().get_mut(index - 1) {
            asked.sent_bytes = sent;
        }
        written
    };
    if !send(format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes()) {
        return;
    }
    match answer {
        Answer::Cut(after) => {
            send(&body[..after.min(body.len())]);
        }
        Answer::Endless => while send(&[b' '; 4096]) {},
        Answer::Drip(bytes, pause) => {
            for piece in body.chunks(bytes) {
                if !send(piece) {
                    return;
                }
                thread::sleep(pause);
            }
        }
        _ => {
            for piece in body.chunks(16 << 10) {
                if !send(piece) {
                    return;
                }
            }
        }
    }
}

fn whole(body: &[u8], tag: &str) -> String {
    format!("200 OK\r\ncontent-length: {}\r\netag: \"{tag}\"", body.len())
}

fn part(body: &[u8], from: usize, said: usize, tag: &str) -> (String, Vec<u8>) {
    let Some(rest) = body.get(from..) else {
        return ("416 Range Not Satisfiable\r\ncontent-length: 0".to_owned(), Vec::new());
    };
    let range = format!("bytes {said}-{}/{}", body.len().saturating_sub(1), body.len());
    let head =
        format!("206 Partial Content\r\ncontent-length: {}\r\ncontent-range: {range}\r\netag: \"{tag}\"", rest.len());
    (head, rest.to_vec())
}

fn read_request(stream: &mut impl Read) -> Option<Asked> {
    let mut asked = Asked { path: String::new(), from: None, if_range: None, sent_bytes: 0 };
    // One byte at a time, so that nothing behind the request is taken from the stream.
    let mut lines = BufReader::with_capacity(1, stream);
    loop {
        let mut line = String::new();
        match lines.read_line(&mut line) {
            Ok(0) => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some(asked);
        }
        if asked.path.is_empty() {
            // A proxy is asked for a whole address.
            let target = line.split(' ').nth(1)?;
            let path =
                target.strip_prefix("http://").and_then(|rest| rest.split_once('/')).map_or(target, |(_, path)| path);
            asked.path = path.trim_start_matches('/').to_owned();
            continue;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                asked.from = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("if-range") => asked.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
}
