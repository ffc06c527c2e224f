//! Two questions to a Docker engine over its socket: who are you, and how are you set up.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The part of `GET /version` that matters (Engine API reference, from 1.24 on).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Version {
    /// Of the engine.
    pub(super) version: String,
    /// The newest interface it speaks.
    pub(super) api_version: String,
    pub(super) components: Option<Vec<Component>>,
}

/// A part of the engine; Podman answers as Docker and names itself here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Component {
    pub(super) name: String,
}

/// The part of `GET /info` that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Info {
    pub(super) docker_root_dir: String,
    /// The storage driver.
    pub(super) driver: String,
    /// Pairs of a name and a value.
    pub(super) driver_status: Option<Vec<(String, String)>>,
    pub(super) memory_limit: Option<bool>,
    pub(super) pids_limit: Option<bool>,
    /// By name.
    pub(super) runtimes: Option<std::collections::BTreeMap<String, serde_json::Value>>,
    /// For instance `name=rootless`.
    pub(super) security_options: Option<Vec<String>>,
}

impl Info {
    /// Returns whether images lie in containerd's own store.
    pub(super) fn has_containerd_store(&self) -> bool {
        let status = self.driver_status.as_deref().unwrap_or_default();
        status.iter().any(|(_, value)| value.starts_with("io.containerd.snapshotter"))
    }

    /// Returns whether the engine runs without root.
    pub(super) fn is_rootless(&self) -> bool {
        self.security_options.as_deref().unwrap_or_default().iter().any(|option| option.contains("name=rootless"))
    }
}

/// An engine that answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) version: Version,
    pub(super) info: Info,
}

/// Asks the engine behind `socket`.
pub(super) fn look(socket: &Path, deadline: Instant) -> io::Result<Facts> {
    Ok(Facts { version: parse(&get(socket, "/version", deadline)?)?, info: parse(&get(socket, "/info", deadline)?)? })
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    serde_json::from_slice(body).map_err(|error| odd(&format!("its answer is not what Docker says: {error}")))
}

/// An engine with thousands of containers says some hundred kilobytes about itself.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Asks in HTTP/1.0: the answer is not chunked, and ends where the connection does.
fn get(socket: &Path, path: &str, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: docker\r\nConnection: close\r\n\r\n").as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        // Each read gets what is left: an engine that says one byte a second does not get longer than one that is silent.
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > ANSWER_BYTES_MAX {
            return Err(odd("its answer does not end"));
        }
    }
    body(&answer).map(<[u8]>::to_vec)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

fn body(answer: &[u8]) -> io::Result<&[u8]> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| odd("it does not speak HTTP"))?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| odd("it does not speak HTTP"))?;
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") if status.starts_with("HTTP/1.") => {}
        _ => return Err(odd(&format!("it answers `{}`", status.chars().take(60).collect::<String>()))),
    }
    if head.to_ascii_lowercase().contains("\r\ntransfer-encoding:") {
        return Err(odd("it answers in chunks where none were allowed"));
    }
    Ok(&answer[end + 4..])
}

fn odd(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Serves one answer to every connection, slowly when `pause` says so.
    fn engine(answer: impl Fn(&str) -> Vec<u8> + Send + 'static, pause: Duration) -> (tempfile::TempDir, Box<Path>) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = [0; 512];
                let count = stream.read(&mut asked).unwrap();
                let asked = String::from_utf8_lossy(&asked[..count]).into_owned();
                for part in answer(&asked).chunks(7_000) {
                    thread::sleep(pause);
                    // The asker may have gone.
                    let _ = stream.write_all(part);
                }
            }
        });
        (dir, socket.into_boxed_path())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn ok(body: &str) -> Vec<u8> {
        format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn reads_what_an_engine_says() {
        let answer = |asked: &str| {
            assert!(asked.contains(" HTTP/1.0\r\n"), "{asked}");
            ok(match asked.split(' ').nth(1) {
                Some("/version") => {
                    r#"{"Version":"26.1.5","ApiVersion":"1.45","Components":[{"Name":"Engine"}],"Os":"linux"}"#
                }
                _ => {
                    r#"{"DockerRootDir":"/srv/docker","Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]],
                        "MemoryLimit":true,"PidsLimit":true,"Runtimes":{"runc":{"path":"runc"}},"SecurityOptions":null}"#
                }
            })
        };
        let (_dir, socket) = engine(answer, Duration::ZERO);
        let facts = look(&socket, soon()).unwrap();
        assert_eq!((facts.version.version.as_str(), facts.version.api_version.as_str()), ("26.1.5", "1.45"));
        assert_eq!((facts.info.docker_root_dir.as_str(), facts.info.driver.as_str()), ("/srv/docker", "overlay2"));
        assert_eq!((facts.info.memory_limit, facts.info.has_containerd_store()), (Some(true), false));
        assert!(facts.info.runtimes.unwrap().contains_key("runc"));
    }

    #[test]
    fn what_is_no_answer_is_an_error_that_says_so() {
        for (answer, expect) in [
            (b"HTTP/1.1 500 Internal Server Error\r\n\r\n{}".to_vec(), "it answers `HTTP/1.1 500"),
            (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "it does not speak HTTP"),
            (ok("<html>"), "not what Docker says"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}".to_vec(), "in chunks"),
            (ok(&" ".repeat(5 << 20)), "does not end"),
        ] {
            let (_dir, socket) = engine(move |_| answer.clone(), Duration::ZERO);
            let error = look(&socket, soon()).unwrap_err();
            assert!(error.to_string().contains(expect), "{error}, not {expect}");
        }
    }

    #[test]
    fn an_engine_that_hangs_or_drips_is_given_up() {
        for pause in [Duration::from_secs(30), Duration::from_millis(120)] {
            let (_dir, socket) = engine(|_| ok(&" ".repeat(1 << 20)), pause);
            let begun = Instant::now();
            let error = look(&socket, begun + Duration::from_millis(300)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(begun.elapsed() < Duration::from_secs(3), "{pause:?}");
        }
    }

    #[test]
    fn no_socket_is_told_from_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        assert_eq!(look(&socket, soon()).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(UnixListener::bind(&socket).unwrap());
        assert_eq!(look(&socket, soon()).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
