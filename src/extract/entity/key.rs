//! Keys: what all spellings of one thing have in common.

use super::{EntityKind, Found, issue::Nature, recognise};

/// Returns the key of a product's number or code: lower case, without blanks, hyphens and slashes, a decimal comma as point.
///
/// `WDU 2.5`, `WDU2,5` and `wdu-2.5` are one; `6ES7 131-6BF01-0BA0` and `6ES7131-6BF01-0BA0` are one.
pub(crate) fn product(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut key = String::with_capacity(text.len());
    for (index, c) in characters.iter().enumerate() {
        let between_digits = index > 0
            && characters[index - 1].is_ascii_digit()
            && characters.get(index + 1).is_some_and(char::is_ascii_digit);
        match c {
            '.' | ',' if between_digits => key.push('.'),
            c if c.is_alphanumeric() => key.extend(c.to_lowercase()),
            _ => {}
        }
    }
    key
}

/// Returns the key of a number that only people write with points and blanks: letters and digits, in lower case.
pub(crate) fn number(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Returns the key of a name: words in lower case, one blank between them.
pub(crate) fn name(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Returns the key a kind of thing has in this spelling.
pub fn key_of(kind: EntityKind, text: &str) -> String {
    // What the recognisers see in it counts: `DIN EN 60947-2` is known as `en60947-2`.
    let nature = Nature::certificate();
    if let Some(found) = recognise(text, &nature).into_iter().find(|found: &Found| found.kind == kind) {
        return found.key;
    }
    match kind {
        EntityKind::Product => product(text),
        EntityKind::Standard | EntityKind::Certificate | EntityKind::Issue => number(text),
        EntityKind::Manufacturer | EntityKind::Customer => super::company::key(text),
    }
}

/// Returns every kind and key a text a person typed may mean, the likeliest first.
pub fn keys_of(text: &str) -> Vec<(EntityKind, String)> {
    let mut keys: Vec<_> = EntityKind::ALL.into_iter().map(|kind| (kind, key_of(kind, text))).collect();
    keys.retain(|(_, key)| !key.is_empty());
    keys
}
