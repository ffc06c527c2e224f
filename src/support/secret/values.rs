//! From the content of a secret's file to the bytes that must not be seen.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::is_called_secret;

/// Bytes that must not be seen.
pub(crate) type Value = Zeroizing<Vec<u8>>;

/// Shorter ones cannot be told from other text.
pub(crate) const LEAST_BYTES: usize = 6;
/// Text that looks like an encoding of bytes is one from here on.
const ENCODED_LEAST: usize = 16;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Returns the values in the content of a secret's file: its lines, the parts of it that are secret by themselves, and the bytes they
/// stand for.
pub(crate) fn values(content: &[u8]) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    match std::str::from_utf8(content) {
        Err(_) => all.push(Zeroizing::new(content.to_vec())),
        Ok(text) => {
            for part in parts(text) {
                all.extend(meant(&part).map(Zeroizing::new));
                all.push(Zeroizing::new(part.as_bytes().to_vec()));
            }
        }
    }
    all.retain(|value| value.len() >= LEAST_BYTES);
    all.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
    all.dedup_by(|a, b| a.as_slice() == b.as_slice());
    all
}

fn parts(text: &str) -> Vec<Zeroizing<String>> {
    if let Ok(value @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) = serde_json::from_str(text) {
        let mut leaves = Vec::new();
        strings(&value, false, &mut leaves);
        return leaves;
    }
    let is_pem = text.contains("-----BEGIN");
    let mut parts = Vec::new();
    let mut body = Zeroizing::new(String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line {
            _ if line.starts_with("-----") => {}
            _ if is_pem => {
                body.push_str(line);
                parts.push(Zeroizing::new(line.to_owned()));
            }
            // `$argon2id$v=19$m=…$SALT$HASH`: the parameters are no secret, and stand in other texts.
            _ if line.starts_with('$') => {
                let secret = line.split('$').filter(|part| part.len() >= ENCODED_LEAST && !part.contains('='));
                parts.extend(secret.map(|part| Zeroizing::new(part.to_owned())));
            }
            // Key files of the product begin with what they are.
            _ if line.starts_with("0711-") && line.contains(':') => {
                parts.extend(line.rsplit(':').next().map(|part| Zeroizing::new(part.to_owned())));
            }
            _ => {
                let assigned = line.split_once('=').or_else(|| line.split_once(": "));
                let is_assignment = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "_-. ".contains(c));
                match assigned.filter(|(name, value)| is_assignment(name) && value.len() >= LEAST_BYTES) {
                    Some((_, value)) => parts.push(Zeroizing::new(value.trim().trim_matches(['"', '\'']).to_owned())),
                    None => parts.push(Zeroizing::new(line.to_owned())),
                }
            }
        }
    }
    if !body.is_empty() {
        parts.push(body);
    }
    parts
}

/// The texts of a JSON file. One under a name that says nothing is a secret only when it is long enough to be one: others are words
/// like `ed25519`, which stand in many texts.
fn strings(value: &serde_json::Value, is_named: bool, leaves: &mut Vec<Zeroizing<String>>) {
    match value {
        serde_json::Value::String(text) if is_named || text.len() >= ENCODED_LEAST => {
            leaves.push(Zeroizing::new(text.clone()));
        }
        serde_json::Value::Array(all) => all.iter().for_each(|value| strings(value, is_named, leaves)),
        serde_json::Value::Object(all) => {
            all.iter().for_each(|(name, value)| strings(value, is_named || is_called_secret(name), leaves));
        }
        _ => {}
    }
}

/// The bytes a text stands for, where it looks like hexadecimal digits or base64.
fn meant(text: &str) -> Option<Vec<u8>> {
    if text.len() < ENCODED_LEAST {
        return None;
    }
    let base64 = |alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok();
    hex::decode(text).ok().or_else(|| base64(&STANDARD)).or_else(|| base64(&URL_SAFE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expect: &[&[u8]]) {
        let found = values(content.as_bytes());
        let found: Vec<&[u8]> = found.iter().map(|value| value.as_slice()).collect();
        for value in expect {
            assert!(found.contains(value), "{content}: {found:?} lacks {value:?}");
        }
        assert_eq!(found.len(), expect.len(), "{content}: {found:?}");
    }

    #[test]
    fn a_file_is_taken_apart_into_what_is_secret_in_it() {
        check("correct-horse\n", &[b"correct-horse"]);
        check(
            "00112233445566778899aabbccddeeff\n",
            &[b"00112233445566778899aabbccddeeff", b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"],
        );
        check("0711-ed25519-seed-1:0011223344556677\n", &[b"0011223344556677", b"\x00\x11\x22\x33\x44\x55\x66\x77"]);
        check(
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$!aGFzaGhhc2hoYXNo\n",
            &[b"c2FsdHNhbHRzYWx0c2FsdA", b"saltsaltsaltsalt", b"!aGFzaGhhc2hoYXNo"],
        );
        check("{\"format\":1,\"kind\":\"ed25519\",\"password\":{\"of\":\"someone!\"},\"key\":\"a\"}", &[b"someone!"]);
        check("# a comment\nPASSWORD=\"hunter2!\"\n", &[b"hunter2!"]);
        check("abc\n", &[]);
    }

    #[test]
    fn a_pem_is_its_lines_and_its_bytes() {
        let found = values(b"-----BEGIN PRIVATE KEY-----\nQUJDREVGR0hJSktM\nTU5PUA==\n-----END PRIVATE KEY-----\n");
        assert!(found.iter().any(|value| value.as_slice() == b"ABCDEFGHIJKLMNOP"));
        assert!(found.iter().all(|value| !value.starts_with(b"-----")));
    }
}
