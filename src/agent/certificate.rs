//! Until when the certificates of a PEM file hold. Nothing else of them is read, and nothing is proven by it.

use base::Timestamp;
use base64::{Engine as _, engine::general_purpose::STANDARD};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns when each certificate of the file ends, in their order; nothing where one of them cannot be read.
pub(crate) fn ends(pem: &str) -> Option<Vec<Timestamp>> {
    let bodies = pem.split(BEGIN).skip(1).map(|rest| rest.split_once(END).map(|(body, _)| body));
    let ends: Option<Vec<_>> = bodies
        .map(|body| {
            let text: String = body?.chars().filter(|c| !c.is_whitespace()).collect();
            end(&STANDARD.decode(text).ok()?)
        })
        .collect();
    ends.filter(|ends| !ends.is_empty())
}

/// `notAfter` of a certificate in DER (RFC 5280, 4.1): behind version, serial number, algorithm and issuer.
fn end(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = value(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = value(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = value(rest)?.2;
    }
    for _ in ["serial number", "algorithm", "issuer"] {
        rest = value(rest)?.2;
    }
    let (_, validity, _) = value(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (tag, time, _) = value(value(validity)?.2)?;
    let digits = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let full = match (tag, digits.len()) {
        // Two digits of a year mean 1950 to 2049.
        (UTC_TIME, 12) => format!("{}{digits}", if digits < "50" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| full.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

/// Returns the tag and the content of the first value, and what comes after it.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// A certificate's beginning with these times; what follows it is not looked at.
    fn certificate(has_version: bool, tag: u8, until: &str) -> String {
        let validity = [der(UTC_TIME, b"250101000000Z"), der(tag, until.as_bytes())].concat();
        let version = if has_version { der(VERSION, &der(0x02, &[2])) } else { Vec::new() };
        let parts =
            [version, der(0x02, &[1; 20]), der(SEQUENCE, b""), der(SEQUENCE, b"issuer"), der(SEQUENCE, &validity)];
        let whole = der(SEQUENCE, &der(SEQUENCE, &parts.concat()));
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(whole))
    }

    fn check(pem: &str, expect: &[&str]) {
        let found = ends(pem).unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found, expect, "{pem}");
    }

    #[test]
    fn every_certificate_of_a_file_says_until_when() {
        let (one, other) =
            (certificate(true, UTC_TIME, "261231235959Z"), certificate(false, GENERALIZED_TIME, "20510607080910Z"));
        check(&one, &["2026-12-31T23:59:59Z"]);
        check(&format!("# ours\n{one}{other}"), &["2026-12-31T23:59:59Z", "2051-06-07T08:09:10Z"]);
        check(&certificate(true, UTC_TIME, "990101000000Z"), &["1999-01-01T00:00:00Z"]);
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        let good = certificate(true, UTC_TIME, "261231235959Z");
        for bad in ["", "text", BEGIN, &good[..60], &good.replace("MI", "AA"), &format!("{BEGIN}!{END}")] {
            check(bad, &[]);
        }
        check(&certificate(true, UTC_TIME, "26123123595Z"), &[]);
        check(&certificate(true, UTC_TIME, "269931235959Z"), &[]);
    }

    #[test]
    fn a_certificate_somebody_made_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ed25519",
                "-nodes",
                "-keyout",
                "/dev/null",
                "-subj",
                "/CN=ca",
                "-days",
                "10",
                "-out",
            ])
            .arg(&path)
            .output();
        if !made.is_ok_and(|output| output.status.success()) {
            println!("skipped: no openssl here");
            return;
        }
        let ends = ends(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let days = base::Clock::system().now().days_until(ends[0]);
        assert!((9..=10).contains(&days), "{days}");
    }
}
