//! A file from a web address, going on where an earlier attempt stopped (RFC 9110, range requests).

use std::fs;

use base::file;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE},
};
use tokio::time::Instant;

use crate::{
    Error,
    fetch::Miss,
    part::Part,
    store::Place,
    web::{Pace, Patience, chain},
};

const MAX_TAG_BYTES: usize = 1024;

/// One file to be brought. Dropping the future leaves a part the next one goes on with.
pub(crate) struct Download<'a> {
    pub client: &'a Client,
    pub address: &'a str,
    pub size_bytes: u64,
    pub place: &'a Place,
    pub pace: &'a Pace,
    pub patience: &'a Patience,
    /// Hears how many bytes of the whole are here.
    pub progress: &'a (dyn Fn(u64) + Send + Sync),
}

enum Attempt {
    Whole,
    /// The server's answer will not change by asking again.
    Refused(String),
    /// The connection failed; what arrived is kept.
    Broken(String),
}

impl Download<'_> {
    /// Returns when all bytes are in the part. That they are the right ones is still to be proven.
    pub async fn run(&self) -> Result<(), Miss> {
        let mut part = Part::resume(self.place, self.size_bytes)?;
        let mut in_vain = 0;
        loop {
            let before_bytes = part.written_bytes();
            let broken = match self.attempt(&mut part).await? {
                Attempt::Whole => return Ok(()),
                Attempt::Refused(reason) => return Err(Miss::Source(reason)),
                Attempt::Broken(reason) => reason,
            };
            let gained = part.written_bytes().saturating_sub(before_bytes);
            // A server that gives a byte each time is not asked for ever.
            let least_bytes = self.patience.least_bytes.min(self.size_bytes / 16).max(1);
            in_vain = if gained >= least_bytes { 0 } else { in_vain + 1 };
            if in_vain >= self.patience.attempts {
                return Err(Miss::Source(broken));
            }
            tokio::time::sleep(self.patience.pause(in_vain)).await;
        }
    }

    async fn attempt(&self, part: &mut Part) -> Result<Attempt, Error> {
        if part.is_whole() {
            return Ok(Attempt::Whole);
        }
        let mut request = self.client.get(self.address);
        let resumes = part.written_bytes() > 0;
        let tag = kept_tag(self.place).filter(|_| resumes);
        if resumes {
            request = request.header(RANGE, format!("bytes={}-", part.written_bytes()));
            // With the tag a server whose file changed sends the whole anew; without one the digest will tell.
            if let Some(tag) = &tag {
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
                self.keep_tag(&response)?;
            }
            StatusCode::PARTIAL_CONTENT if resumes && self.continues(&response, part, tag.as_deref()) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if resumes => {
                part.restart()?;
                return Ok(Attempt::Broken("the server could not go on where the last attempt stopped".to_owned()));
            }
            status if status.is_server_error() || is_passing(status) => {
                return Ok(Attempt::Broken(format!("the server answers {status}")));
            }
            status => return Ok(Attempt::Refused(format!("the server answers {status}"))),
        }
        let has_length = response.content_length().is_some();
        let least_bytes = self.pace.at_most(self.patience.least_bytes, self.patience.window);
        let (mut since, mut before_bytes) = (Instant::now(), part.written_bytes());
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    if !part.append(&bytes)? {
                        return Ok(Attempt::Refused(format!("the server sends more than {} bytes", self.size_bytes)));
                    }
                    (self.progress)(part.written_bytes());
                    self.pace.spend(bytes.len()).await;
                }
                Ok(None) if part.is_whole() => return Ok(Attempt::Whole),
                Ok(None) => {
                    let reason = format!("the server sends only {} bytes", part.written_bytes());
                    // An answer without a length ends like a cut line.
                    return Ok(if has_length { Attempt::Refused(reason) } else { Attempt::Broken(reason) });
                }
                Err(error) => return Ok(Attempt::Broken(chain(&error))),
            }
            if since.elapsed() >= self.patience.window {
                let brought = part.written_bytes() - before_bytes;
                if brought < least_bytes && !part.is_whole() {
                    let reason = format!("the server sent only {brought} bytes in {:?}", self.patience.window);
                    return Ok(Attempt::Broken(reason));
                }
                (since, before_bytes) = (Instant::now(), part.written_bytes());
            }
        }
    }

    /// Whether a partial answer begins where the part ends, and is of the same file.
    fn continues(&self, response: &Response, part: &Part, tag: Option<&str>) -> bool {
        let header =
            |name| response.headers().get(name).and_then(|value: &reqwest::header::HeaderValue| value.to_str().ok());
        let whole = header(CONTENT_RANGE).and_then(|range| range.rsplit_once('/')).map_or("", |(_, whole)| whole);
        let is_size = whole == "*" || whole.parse() == Ok(self.size_bytes);
        // A server may answer a range of another file than the part is of, although it was told the tag.
        let is_same = match (tag, header(ETAG)) {
            (Some(kept), Some(sent)) => kept == sent,
            _ => true,
        };
        starts_at(response, part.written_bytes()) && is_size && is_same
    }

    /// Keeps a strong validator only: a weak one does not promise the same bytes.
    fn keep_tag(&self, response: &Response) -> Result<(), Error> {
        let tag = response.headers().get(ETAG).and_then(|value| value.to_str().ok());
        let strong = tag.filter(|tag| tag.starts_with('"') && tag.len() <= MAX_TAG_BYTES);
        file::write_atomic(&self.place.part_tag, strong.unwrap_or("").as_bytes(), 0o644)
            .map_err(|source| Error::Write { path: self.place.part_tag.clone(), source })
    }
}

/// Whether a partial answer begins at this offset.
pub(crate) fn starts_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    start.is_some_and(|(start, _)| start.parse() == Ok(offset))
}

fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
}

fn kept_tag(place: &Place) -> Option<String> {
    fs::read_to_string(&place.part_tag).ok().filter(|tag| tag.starts_with('"'))
}
