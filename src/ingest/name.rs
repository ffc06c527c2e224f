//! File names as text: any bytes in, one text out, no two names the same.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

/// Returns a name, or a whole path, as text. Bytes that are not UTF-8 become `%XX`.
///
/// A `%` that two hexadecimal digits follow becomes `%25`, so that a file really called `a%FF` is not taken for the byte 0xFF; any
/// other `%` stays as people wrote it.
pub(crate) fn text(name: &OsStr) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.as_bytes().utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            let digits = valid.as_bytes().get(at + 1..at + 3);
            let looks_escaped = digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
            match character {
                '%' if looks_escaped => out.push_str("%25"),
                character => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Returns the way from `root` to `path` as text with `/` between names, or `None` when `path` is not below `root`.
pub(crate) fn below(root: &Path, path: &Path) -> Option<String> {
    path.strip_prefix(root).ok().map(|rest| text(rest.as_os_str()))
}

/// Returns the text of `source` and a path below it joined: what one file is known by, whichever folder it was read from.
pub(crate) fn absolute(source: &str, relative: &str) -> String {
    match source {
        "/" => format!("/{relative}"),
        source => format!("{source}/{relative}"),
    }
}

/// Returns whether `path` is `folder` or lies below it; both as text.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns a text that keeps to one line of a terminal: control characters are written out.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if character.is_control() => out.extend(character.escape_default()),
            character => out.push(character),
        }
    }
    out
}

/// Returns the ending of a name in lower case, without its dot; empty when there is none.
pub(crate) fn ending(name: &str) -> String {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    ending.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_own_text() {
        let check = |bytes: &[u8], expect: &str| assert_eq!(text(OsStr::from_bytes(bytes)), expect);
        check("Prüfung 100%.txt".as_bytes(), "Prüfung 100%.txt");
        check(b"a\xff.txt", "a%FF.txt");
        check(b"a%FF.txt", "a%25FF.txt");
        check(b"a%25FF.txt", "a%2525FF.txt");
        check(b"%\xff", "%%FF");
        check(b"two\nlines", "two\nlines");
    }

    #[test]
    fn a_folder_is_not_its_namesake() {
        assert!(is_below("/data/a/b.txt", "/data/a"));
        assert!(is_below("/data/a", "/data/a"));
        assert!(is_below("/data", "/"));
        assert!(!is_below("/data/ab.txt", "/data/a"));
    }

    #[test]
    fn a_shown_name_is_one_line() {
        assert_eq!(shown("a\nb\u{1b}[31m ü"), "a\\nb\\u{1b}[31m ü");
    }
}
