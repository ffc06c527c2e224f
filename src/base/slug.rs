use std::{fmt, str::FromStr};

use crate::{Exit, Explain, Remedy};
use serde::{Deserialize, Deserializer, Serialize};

/// A customer's name as it appears in paths, ports and URLs: `[a-z0-9][a-z0-9-]{0,39}`, not ending in `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

/// A text cannot be a slug.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a slug: 1 to 40 of a-z, 0-9 and `-`, starting and ending with a letter or digit, and not `models`, `agent` or `update`"
)]
pub struct SlugError(String);

impl Explain for SlugError {
    fn remedy(&self) -> Option<Remedy> {
        Some(Remedy::new("give a short name with `--slug NAME`"))
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

const MAX_LENGTH: usize = 40;
/// Folders of the installation that stand beside those of customers.
const RESERVED: [&str; 4] = ["models", "agent", "release-seen", "update"];

impl Slug {
    /// Checks `text` and returns it as a slug.
    pub fn parse(text: &str) -> Result<Self, SlugError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edges_hold = !text.starts_with('-') && !text.ends_with('-');
        let is_reserved = RESERVED.contains(&text);
        if text.is_empty() || text.len() > MAX_LENGTH || !edges_hold || is_reserved || !text.chars().all(allowed) {
            return Err(SlugError(text.chars().take(60).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Derives a slug from a company's name: `Müller & Söhne GmbH` gives `mueller-soehne-gmbh`.
    ///
    /// Fails when the name has no letter or digit that has a Latin form.
    pub fn from_name(name: &str) -> Result<Self, SlugError> {
        let mut slug = String::new();
        for c in name.chars().flat_map(char::to_lowercase) {
            match c {
                'ä' => slug.push_str("ae"),
                'ö' | 'ø' => slug.push_str("oe"),
                'ü' => slug.push_str("ue"),
                'ß' => slug.push_str("ss"),
                'å' | 'á' | 'à' | 'â' | 'ã' => slug.push('a'),
                'é' | 'è' | 'ê' | 'ë' => slug.push('e'),
                'í' | 'ì' | 'î' | 'ï' => slug.push('i'),
                'ó' | 'ò' | 'ô' | 'õ' => slug.push('o'),
                'ú' | 'ù' | 'û' => slug.push('u'),
                'ç' => slug.push('c'),
                'ñ' => slug.push('n'),
                c if c.is_ascii_alphanumeric() => slug.push(c),
                '\u{300}'..='\u{36f}' => {}
                _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
                _ => {}
            }
        }
        slug.truncate(MAX_LENGTH);
        Self::parse(slug.trim_end_matches('-')).map_err(|_| SlugError(name.chars().take(60).collect()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_slugs() {
        for (name, expect) in [
            ("Müller & Söhne GmbH", "mueller-soehne-gmbh"),
            ("  EATON  ", "eaton"),
            ("Weiß/Groß 24", "weiss-gross-24"),
            ("Zwölf — Ampère", "zwoelf-ampere"),
            ("../../etc/passwd", "etc-passwd"),
        ] {
            assert_eq!(Slug::from_name(name).unwrap().as_str(), expect);
        }
        assert!(Slug::from_name("株式会社").is_err());
        assert!(Slug::from_name(&"ö".repeat(500)).unwrap().as_str().len() <= MAX_LENGTH);
    }

    #[test]
    fn a_slug_is_a_safe_path_part() {
        for text in ["", "models", "agent", "-a", "a-", "A", "a/b", "..", "a b", "a\n", &"a".repeat(41)] {
            assert!(Slug::parse(text).is_err(), "{text:?}");
        }
    }
}
