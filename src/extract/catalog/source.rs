//! Bytes of any encoding → UTF-8, a piece at a time.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, Encoding, UTF_8, WINDOWS_1252};

/// A single value, a picture in base 64 included, is not larger than this: one value is all that is ever held.
const MAX_EVENT_BYTES: usize = 32 << 20;

const CHUNK_BYTES: usize = 64 << 10;

/// Decodes what it reads. The encoding is that of the byte order mark, else the declared one. Bytes that are no UTF-8 in a
/// file that says it is are read as Windows-1252, which is what they are in practice; the others around them stay as they are.
pub(super) struct Utf8Source<R> {
    inner: R,
    raw: Vec<u8>,
    /// Decoded text and how much of it was taken.
    text: Vec<u8>,
    taken: usize,
    /// `None` for UTF-8.
    decoder: Option<Decoder>,
    ended: bool,
    since_event: usize,
    repaired: u64,
}

impl<R: Read> Utf8Source<R> {
    pub(super) fn new(mut inner: R) -> io::Result<Self> {
        let mut raw = Vec::with_capacity(CHUNK_BYTES);
        inner.by_ref().take(4096).read_to_end(&mut raw)?;
        let encoding = match Encoding::for_bom(&raw) {
            Some((encoding, length)) => {
                raw.drain(..length);
                encoding
            }
            None => crate::read::declared_encoding(&raw)
                .and_then(|label| Encoding::for_label(label.as_bytes()))
                .unwrap_or(UTF_8),
        };
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_without_bom_handling());
        Ok(Self { inner, raw, text: Vec::new(), taken: 0, decoder, ended: false, since_event: 0, repaired: 0 })
    }

    /// A new value begins: the size of the one before no longer counts.
    pub(super) fn begin_event(&mut self) {
        self.since_event = 0;
    }

    /// How many bytes were no UTF-8 although they should have been.
    pub(super) fn repaired(&self) -> u64 {
        self.repaired
    }

    fn refill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.taken = 0;
        while self.text.is_empty() && !self.ended {
            let room = CHUNK_BYTES - self.raw.len().min(CHUNK_BYTES / 2);
            let before = self.raw.len();
            self.raw.resize(before + room, 0);
            let count = self.inner.read(&mut self.raw[before..])?;
            self.raw.truncate(before + count);
            self.ended = count == 0;
            match &mut self.decoder {
                Some(decoder) => {
                    let size = decoder.max_utf8_buffer_length(self.raw.len()).unwrap_or(CHUNK_BYTES * 4);
                    self.text.resize(size, 0);
                    let (_, read, written, _) = decoder.decode_to_utf8(&self.raw, &mut self.text, self.ended);
                    self.text.truncate(written);
                    self.raw.drain(..read);
                }
                None => self.utf8(),
            }
        }
        Ok(())
    }

    fn utf8(&mut self) {
        let mut at = 0;
        while at < self.raw.len() {
            match std::str::from_utf8(&self.raw[at..]) {
                Ok(text) => {
                    self.text.extend_from_slice(text.as_bytes());
                    at = self.raw.len();
                }
                Err(error) => {
                    let good = at + error.valid_up_to();
                    self.text.extend_from_slice(&self.raw[at..good]);
                    let bad = match error.error_len() {
                        Some(length) => length,
                        // A character cut by the end of the chunk: the rest of it is in the next.
                        None if !self.ended => {
                            at = good;
                            break;
                        }
                        None => self.raw.len() - good,
                    };
                    let (text, _) = WINDOWS_1252.decode_without_bom_handling(&self.raw[good..good + bad]);
                    self.text.extend_from_slice(text.as_bytes());
                    self.repaired += bad as u64;
                    at = good + bad;
                }
            }
        }
        self.raw.drain(..at);
    }
}

impl<R: Read> Read for Utf8Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Utf8Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.text.len() {
            if self.since_event > MAX_EVENT_BYTES {
                return Err(io::Error::other(format!("a single value is larger than {} MiB", MAX_EVENT_BYTES >> 20)));
            }
            self.refill()?;
        }
        Ok(&self.text[self.taken..])
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
        self.since_event += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, so that every character is cut.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(1);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn check(bytes: &[u8], expect: &str) {
        let mut text = String::new();
        Utf8Source::new(Drip(bytes)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, expect);
        let mut text = String::new();
        Utf8Source::new(bytes).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, expect);
    }

    #[test]
    fn every_encoding_becomes_utf8_whatever_the_chunks_are() {
        check("<a>Größe 2,5 mm² €</a>".as_bytes(), "<a>Größe 2,5 mm² €</a>");
        check(b"\xef\xbb\xbf<a>\xc3\xb6</a>", "<a>ö</a>");
        check(b"<?xml version='1.0' encoding='ISO-8859-1'?>\xf6", "<?xml version='1.0' encoding='ISO-8859-1'?>ö");
        check(b"\xff\xfe<\0a\0>\0\xf6\0", "<a>ö");
        check(
            b"<?xml version='1.0' encoding='UTF-8'?>Gr\xf6\xdfe f\xc3\xbcr",
            "<?xml version='1.0' encoding='UTF-8'?>Größe für",
        );
        check(b"ab\xc3", "abÃ");
        // Longer than a chunk, and odd, so that a chunk ends inside a character.
        let long = format!("x{}", "ä".repeat(100_000));
        let mut text = String::new();
        Utf8Source::new(long.as_bytes()).unwrap().read_to_string(&mut text).unwrap();
        assert!(text == long);
    }

    #[test]
    fn one_value_has_a_limit() {
        let mut source = Utf8Source::new(io::repeat(b'x')).unwrap();
        let error = io::copy(&mut source, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("larger than 32 MiB"), "{error}");
        source.begin_event();
        assert!(source.fill_buf().is_ok());
    }
}
