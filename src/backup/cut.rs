//! Cuts files where their content says so: what is inserted or taken out changes the chunks around it and no others.

use std::io::{self, Read};

use fastcdc::v2020::{Normalization, StreamCDC};

use crate::pack::CHUNK_BYTES_MAX;

const LEAST: usize = 256 << 10;
const AVERAGE: usize = 1 << 20;

/// Calls `each` with the chunks of what `source` yields, `length` bytes at most.
///
/// `gear` comes from the repository's key: where a file is cut does not tell others which file it is.
pub(crate) fn cut<E: From<io::Error>>(
    source: impl Read,
    length: u64,
    gear: u64,
    mut each: impl FnMut(Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let mut source = Steady(source.take(length));
    if length <= LEAST as u64 {
        // Most files are small: they need no buffer of the largest chunk.
        let mut content = Vec::with_capacity(length as usize);
        source.read_to_end(&mut content)?;
        return if content.is_empty() { Ok(()) } else { each(content) };
    }
    let cuts = StreamCDC::with_level_and_seed(source, LEAST, AVERAGE, CHUNK_BYTES_MAX, Normalization::Level1, gear);
    for chunk in cuts {
        each(chunk.map_err(io::Error::from)?.data)?;
    }
    Ok(())
}

/// A signal is no error of the file's.
struct Steady<R>(R);

impl<R: Read> Read for Steady<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look like nothing in particular, the same for the same seed.
    pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| byte()).collect()
    }

    fn chunks(content: &[u8], gear: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        cut::<io::Error>(content, content.len() as u64, gear, |chunk| {
            all.push(chunk);
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn chunks_join_to_the_file() {
        for length in [0, 1, LEAST, LEAST + 1, 5 << 20, (9 << 20) + 17] {
            let content = noise(length as u64, length);
            let all = chunks(&content, 7);
            assert_eq!(all.concat(), content);
            assert!(all.iter().all(|chunk| (1..=CHUNK_BYTES_MAX).contains(&chunk.len())));
        }
    }

    #[test]
    fn an_insertion_changes_few_chunks_and_another_key_all() {
        let content = noise(1, 24 << 20);
        let before = chunks(&content, 7);
        let mut longer = content.clone();
        longer.splice(12 << 20..12 << 20, *b"inserted");
        let after = chunks(&longer, 7);
        let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(before.len() > 8 && new <= 3, "{new} of {} chunks are new", after.len());
        let other = chunks(&content, 8);
        assert!(other.iter().filter(|chunk| before.contains(chunk)).count() <= 1);
    }
}
