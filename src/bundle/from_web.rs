//! A model's file from a web address, going on where an earlier attempt stopped (RFC 9110, range requests).

use std::{fs, time::Duration};

use base::file;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE},
};

use crate::{
    Error, Model,
    fetch::{Event, Miss, Watch},
    part::Part,
    store::Place,
};

/// Connections that may break in a row without a byte gained.
const MAX_IDLE_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_TAG_BYTES: usize = 1024;

pub(crate) async fn bring(model: &Model, address: &str, place: &Place, watch: Watch<'_>) -> Result<(), Miss> {
    let client = Client::builder()
        .user_agent(concat!("0711/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        .read_timeout(Duration::from_secs(60))
        .build()
        .map_err(|error| Miss::Source(chain(&error)))?;
    let mut part = Part::resume(place, model.size_bytes())?;
    let mut idle_attempts = 0;
    loop {
        let before_bytes = part.written_bytes();
        let broken = match attempt(&client, model, address, place, &mut part, watch).await? {
            Attempt::Whole => return Ok(()),
            Attempt::Refused(reason) => return Err(Miss::Source(reason)),
            Attempt::Broken(reason) => reason,
        };
        idle_attempts = if part.written_bytes() > before_bytes { 0 } else { idle_attempts + 1 };
        if idle_attempts >= MAX_IDLE_ATTEMPTS {
            return Err(Miss::Source(broken));
        }
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(idle_attempts)).await;
    }
}

enum Attempt {
    Whole,
    /// The server's answer will not change by asking again.
    Refused(String),
    /// The connection failed; what arrived is kept.
    Broken(String),
}

async fn attempt(
    client: &Client,
    model: &Model,
    address: &str,
    place: &Place,
    part: &mut Part,
    watch: Watch<'_>,
) -> Result<Attempt, Error> {
    if part.is_whole() {
        return Ok(Attempt::Whole);
    }
    let mut request = client.get(address);
    let resumes = part.written_bytes() > 0;
    if resumes {
        request = request.header(RANGE, format!("bytes={}-", part.written_bytes()));
        // With the tag a server whose file changed sends the whole anew; without one the digest will tell.
        if let Some(tag) = kept_tag(place) {
            request = request.header(IF_RANGE, tag);
        }
    }
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Ok(Attempt::Broken(chain(&error))),
    };
    match response.status() {
        StatusCode::OK => {
            part.restart()?;
            keep_tag(place, &response)?;
        }
        StatusCode::PARTIAL_CONTENT if resumes && starts_at(&response, part.written_bytes()) => {}
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if resumes => {
            part.restart()?;
            return Ok(Attempt::Broken("the server could not go on where the last attempt stopped".to_owned()));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Ok(Attempt::Broken(format!("the server answers {status}")));
        }
        status => return Ok(Attempt::Refused(format!("the server answers {status}"))),
    }
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                if !part.append(&bytes)? {
                    return Ok(Attempt::Refused("the server sends more than the model has".to_owned()));
                }
                watch(Event::Progress { done_bytes: part.written_bytes(), total_bytes: model.size_bytes() });
            }
            Ok(None) if part.is_whole() => return Ok(Attempt::Whole),
            Ok(None) => return Ok(Attempt::Refused(format!("the server sends only {} bytes", part.written_bytes()))),
            Err(error) => return Ok(Attempt::Broken(chain(&error))),
        }
    }
}

pub(crate) fn starts_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    start.is_some_and(|(start, _)| start.parse() == Ok(offset))
}

/// Keeps a strong validator only: a weak one does not promise the same bytes.
fn keep_tag(place: &Place, response: &Response) -> Result<(), Error> {
    let tag = response.headers().get(ETAG).and_then(|value| value.to_str().ok());
    let strong = tag.filter(|tag| tag.starts_with('"') && tag.len() <= MAX_TAG_BYTES);
    file::write_atomic(&place.part_tag, strong.unwrap_or("").as_bytes(), 0o644)
        .map_err(|source| Error::Write { path: place.part_tag.clone(), source })
}

fn kept_tag(place: &Place) -> Option<String> {
    fs::read_to_string(&place.part_tag).ok().filter(|tag| tag.starts_with('"'))
}

/// Returns an error with its causes: reqwest's own text alone does not name them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
