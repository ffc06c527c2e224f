//! What is looked for, for all secrets at once.

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use super::values::{LEAST_BYTES, Value};

/// So many characters (or bytes) of a secret in a row are the secret.
pub(crate) const WINDOW: usize = 16;
/// Letters and digits of a secret that is shorter than a window; fewer are found as they stand only.
const LEAST_WORD: usize = 8;
/// Longer values are laid out in fewer windows: twice [`WINDOW`] characters in a row are then needed.
const DENSE_MAX: usize = 160;
/// A run of one letter, or zeros, says nothing.
const LEAST_VARIETY: usize = 5;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// All secrets, ready to be searched for.
pub(crate) struct Patterns {
    /// As bytes.
    exact: AhoCorasick,
    exact_of: Vec<usize>,
    /// As letters and digits in lower case.
    words: AhoCorasick,
    words_of: Vec<(usize, &'static str)>,
}

impl Patterns {
    pub(crate) fn new(named: &[(String, Vec<Value>)]) -> Result<Self, BuildError> {
        let (mut exact, mut exact_of, mut words, mut words_of) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (secret, (_, values)) in named.iter().enumerate() {
            for value in values {
                for window in windows(value, LEAST_BYTES) {
                    exact.push(window.to_vec());
                    exact_of.push(secret);
                }
                for (form, text) in forms(value) {
                    for window in windows(&word(&text), LEAST_WORD) {
                        words.push(window.to_vec());
                        words_of.push((secret, form));
                    }
                }
            }
        }
        let build = |patterns: Vec<Vec<u8>>| {
            AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .match_kind(MatchKind::Standard)
                .build(patterns)
        };
        Ok(Self { exact: build(exact)?, exact_of, words: build(words)?, words_of })
    }

    /// Returns whether a secret is looked for at all.
    pub(crate) fn has(&self, secret: usize) -> bool {
        self.exact_of.contains(&secret)
    }

    /// Returns the first secret in `content`, and the form it was in.
    pub(crate) fn find(&self, content: &[u8]) -> Option<(usize, &'static str)> {
        if let Some(found) = self.exact.find(content) {
            return Some((self.exact_of[found.pattern().as_usize()], "as it is"));
        }
        let found = self.words.find(&word(content))?;
        Some(self.words_of[found.pattern().as_usize()])
    }
}

/// The texts a value is written as by programs that encode bytes. Quoting and escaping are taken off the content instead.
fn forms(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("hexadecimal", hex::encode(value).into_bytes())];
    if std::str::from_utf8(value).is_ok() {
        forms.push(("spelled another way", value.to_vec()));
    }
    // Where a value begins within its group of bytes decides over every letter.
    forms.extend(
        (0..3).map(|before| ("base64", grouped(value, before, 6, |bytes| STANDARD_NO_PAD.encode(bytes).into_bytes()))),
    );
    forms.extend((0..5).map(|before| ("base32", grouped(value, before, 5, base32))));
    forms
}

/// Encodes a value that stands `before` bytes behind the beginning of a group, and returns the letters that depend on it alone.
fn grouped(value: &[u8], before: usize, bits: usize, encode: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let encoded = encode(&[vec![0; before], value.to_vec()].concat());
    let (from, to) = ((before * 8).div_ceil(bits), (before + value.len()) * 8 / bits);
    encoded.get(from..to).unwrap_or_default().to_vec()
}

fn base32(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut buffer, mut bits) = (Vec::new(), 0_u32, 0);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(BASE32[(buffer >> bits & 31) as usize]);
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(BASE32[(buffer << (5 - bits) & 31) as usize]);
    }
    out
}

/// Letters and digits only, in lower case.
pub(crate) fn word(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

fn windows(bytes: &[u8], least: usize) -> impl Iterator<Item = &[u8]> {
    let step = if bytes.len() > DENSE_MAX { WINDOW } else { 1 };
    let whole = (least..=WINDOW).contains(&bytes.len()).then_some(bytes);
    let dense = (bytes.len() > WINDOW).then(|| bytes.windows(WINDOW).step_by(step));
    whole.into_iter().chain(dense.into_iter().flatten()).filter(|window| is_varied(window))
}

fn is_varied(window: &[u8]) -> bool {
    let mut seen = window.to_vec();
    seen.sort_unstable();
    seen.dedup();
    seen.len() >= LEAST_VARIETY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_its_rfc() {
        // RFC 4648, section 10.
        for (text, expect) in
            [("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(String::from_utf8(base32(text.as_bytes())).unwrap(), expect);
        }
    }

    #[test]
    fn what_depends_on_the_neighbours_is_left_out() {
        let secret = b"a secret of some length";
        for before in 0..3 {
            let core = grouped(secret, before, 6, |bytes| STANDARD_NO_PAD.encode(bytes).into_bytes());
            for neighbours in [["<<<<", ">>>>>"], ["\u{7f}abc", "\0\0"], ["zzzz", ""]] {
                let text = [&neighbours[0].as_bytes()[..before], secret, neighbours[1].as_bytes()].concat();
                let encoded = STANDARD_NO_PAD.encode(text).into_bytes();
                assert!(encoded.windows(core.len()).any(|window| window == core), "{before}");
            }
        }
    }
}
