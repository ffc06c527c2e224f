//! Credentials of others that stand in free text: taken out, and counted.
//!
//! The installation's own secrets are not a matter of patterns: for those a bundle is refused (`secret`).

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::names::pattern;

const GONE: &str = "[redacted]";

/// What is a credential wherever it stands. The first group, where there is one, stays.
static ANYWHERE: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
        r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}",
        r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        // The user and password of a URL.
        r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@]+@",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[baprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,})",
    ]
    .map(pattern)
    .into()
});

/// What is one because of the name before it.
static NAMED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r#"(?i)\b((?:proxy-)?authorization["']?\s*[:=]\s*["']?)[^\r\n"']+"#,
        r#"(?i)\b((?:set-)?cookie["']?\s*[:=]\s*["']?)[^\r\n"']+"#,
        r#"(?i)((?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)s?\\?["']?\s*[=:]\s*)(?:\\?"(?:[^"\\\r\n]|\\[^"])*\\?"|'[^'\r\n]*'|[^\s,;"'{}\[\]]+)"#,
    ]
    .map(pattern)
    .into()
});

/// Returns the text without credentials, and how many there were. `is_free` says that anything may stand there: then a value called
/// `password` is one, too.
pub(crate) fn redact(text: &str, is_free: bool) -> (String, u64) {
    let named = if is_free { NAMED.as_slice() } else { &[] };
    let (mut text, mut count) = (text.to_owned(), 0);
    for pattern in ANYWHERE.iter().chain(named) {
        let replaced = pattern.replace_all(&text, |found: &Captures<'_>| {
            let kept = found.get(1).map_or("", |kept| kept.as_str());
            let value = &found[0][kept.len()..];
            if value == GONE || is_count(value) {
                return found[0].to_owned();
            }
            count += 1;
            format!("{kept}{GONE}")
        });
        text = replaced.into_owned();
    }
    (text, count)
}

/// `tokens: 512` is no credential.
fn is_count(value: &str) -> bool {
    value.len() <= 7 && value.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(redact(text, true).0, expect, "{text}");
    }

    #[test]
    fn credentials_of_others_are_taken_out() {
        check("key: -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- end", "key: [redacted] end");
        check("-----BEGIN PRIVATE KEY-----\nabc and no end", "[redacted]");
        check("Authorization: Basic dXNlcjpwYXNz\nnext", "Authorization: [redacted]\nnext");
        check("{\"authorization\":\"Bearer abcdefghij\"}", "{\"authorization\":\"[redacted]\"}");
        check("sent Bearer abc.def-ghi_jkl to it", "sent Bearer [redacted] to it");
        check("password=hunter2 user=anna", "password=[redacted] user=anna");
        check("DB_PASSWORD: 'a b c'", "DB_PASSWORD: [redacted]");
        check("{\"api_key\": \"abc\\u0041\", \"n\": 1}", "{\"api_key\": [redacted], \"n\": 1}");
        check("{\\\"password\\\":\\\"hunter2\\\",\\\"n\\\":1}", "{\\\"password\\\":[redacted],\\\"n\\\":1}");
        check("id AKIAIOSFODNN7EXAMPLE here", "id [redacted] here");
        check("proxy http://anna:geheim@10.0.0.1:3128/", "proxy http://[redacted]10.0.0.1:3128/");
        check("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "[redacted]");
        check("Set-Cookie: 0711-eaton=abc; Path=/", "Set-Cookie: [redacted]");
        check("ghp_0123456789012345678901234567890123456", "[redacted]");
    }

    #[test]
    fn ordinary_lines_stay_as_they_are() {
        for text in [
            "INFO 512 tokens, tokens: 512, tokens_per_second=110.5",
            "2026-11-25T15:50:38Z INFO the lake is open",
            "http://127.0.0.1:5110/login",
            "the secret of success",
            "cannot read the token of the services",
        ] {
            check(text, text);
        }
        assert_eq!(redact("password=hunter2, Bearer abcdefghij", true).1, 2);
        assert_eq!(redact("secrets:\n  token:\n    file: /x", false).1, 0);
    }
}
