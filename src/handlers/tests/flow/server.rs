//! A server that answers with what was recorded, in order, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Status and body of an answer.
pub type Recorded = (u16, String);

pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers each request with the next of these, and then no more.
    pub fn start(answers: Vec<Recorded>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for (status, answer) in answers {
                let Ok((stream, _)) = listener.accept() else { return };
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                reader.read_line(&mut line).expect("a request");
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                let mut headers = Vec::new();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a header");
                    let Some((name, value)) = line.trim_end().split_once(':') else { break };
                    headers.push((name.to_lowercase(), value.trim().to_owned()));
                }
                let mut asked = Asked { path, headers, body: Vec::new() };
                let length = asked.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
                asked.body.resize(length, 0);
                reader.read_exact(&mut asked.body).expect("a body");
                kept.lock().expect("the list").push(asked);
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nretry-after: 0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.len()
                );
                reader.get_mut().write_all(head.as_bytes()).expect("sent");
                reader.get_mut().write_all(answer.as_bytes()).expect("sent");
            }
        });
        Self { url, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("the list").clone()
    }
}
