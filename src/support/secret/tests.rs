//! Planted secrets, in every form somebody's program may have written them in: none gets through.

use std::io::{Read, Write};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};

use super::values::values;
use super::*;

/// As `Secret::generate` makes them.
const TOKEN: &str = "3f9a1c77e0b24d5586aa90cd12ef3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c";
/// As the installer makes them.
const PASSWORD: &str = "kravel-mosit7-danuk2";
/// One with everything that has to be quoted somewhere.
const AWKWARD: &str = "p/w+\"q'&<x>\\= %ü$9Zr4";

fn secrets() -> Secrets {
    let of = |name: &str, content: &str| (name.to_owned(), values(content.as_bytes()));
    Secrets::new(vec![
        of("api-token", TOKEN),
        of("console-password.first", PASSWORD),
        of("awkward", AWKWARD),
        of("report-key", &format!("0711-ed25519-seed-1:{}", hex::encode(seed()))),
        of("pin", "12345"),
    ])
    .unwrap()
}

fn seed() -> Vec<u8> {
    (0..32_u8).map(|number| number.wrapping_mul(37).wrapping_add(11)).collect()
}

fn each(text: &[u8], one: impl Fn(u8) -> String) -> Vec<u8> {
    text.iter().map(|byte| one(*byte)).collect::<String>().into_bytes()
}

fn wrapped(text: &str, columns: usize, end: &str) -> Vec<u8> {
    let lines = text.as_bytes().chunks(columns).map(|line| String::from_utf8_lossy(line).into_owned());
    lines.collect::<Vec<_>>().join(end).into_bytes()
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

fn base32(bytes: &[u8]) -> String {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digit = |five: &[u8]| {
        let padded = format!("{:0<5}", String::from_utf8_lossy(five));
        char::from(letters[usize::from_str_radix(&padded, 2).unwrap()])
    };
    bits.as_bytes().chunks(5).map(digit).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip of one file, whose central directory nobody needs to find it.
fn zip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    let data = encoder.finish().unwrap();
    let mut out = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend((data.len() as u32).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend([5, 0, 0, 0]);
    out.extend(b"a.txt");
    out.extend(data);
    out
}

/// As `xxd` prints.
fn hexdump(bytes: &[u8]) -> Vec<u8> {
    let line = |(number, line): (usize, &[u8])| {
        let pairs: Vec<_> = line.chunks(2).map(hex::encode).collect();
        format!(
            "{:08x}: {:<40} {}\n",
            number * 16,
            pairs.join(" "),
            String::from_utf8_lossy(line).replace(|c: char| c.is_control(), ".")
        )
    };
    bytes.chunks(16).enumerate().map(line).collect::<String>().into_bytes()
}

/// The forms in which any text may appear.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let raw = secret.as_bytes();
    let json = serde_json::to_string(secret).unwrap();
    let base64 = STANDARD.encode(raw);
    let at = |before: &str| STANDARD.encode(format!("{before}{secret}, and more")).into_bytes();
    let percent = |upper: bool| each(raw, |byte| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") });
    let reserved = each(raw, |byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    let unicode: String = secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    vec![
        ("raw", raw.to_vec()),
        ("raw in upper case", secret.to_uppercase().into_bytes()),
        ("raw over two lines", [&raw[..9], b"\n", &raw[9..]].concat()),
        ("raw in pieces joined by a program", [b"\"", &raw[..9], b"\" + \"", &raw[9..], b"\""].concat()),
        ("base64", base64.clone().into_bytes()),
        ("base64 without padding", STANDARD_NO_PAD.encode(raw).into_bytes()),
        ("base64 for URLs", URL_SAFE.encode(raw).into_bytes()),
        ("base64 for URLs without padding", URL_SAFE_NO_PAD.encode(raw).into_bytes()),
        ("base64, one byte in", at("u")),
        ("base64, two bytes in", at("u:")),
        ("base64, three bytes in", at("us:")),
        ("base64 of a header", STANDARD.encode(format!("admin:{secret}")).into_bytes()),
        ("base64 wrapped at 64 columns", wrapped(&STANDARD.encode(format!("{}{secret}", "x".repeat(40))), 64, "\n")),
        ("base64 wrapped at 76 columns", wrapped(&STANDARD.encode(format!("{}{secret}", "x".repeat(50))), 76, "\r\n")),
        ("base64 wrapped and indented", wrapped(&base64, 20, "\n    ")),
        ("base64 in JSON with line breaks", wrapped(&base64, 20, "\\n")),
        ("base64 of base64", STANDARD.encode(&base64).into_bytes()),
        ("base64, percent-encoded", each(base64.as_bytes(), |byte| format!("%{byte:02X}"))),
        ("base32", base32(raw).into_bytes()),
        ("base32 in lower case", base32(raw).to_lowercase().into_bytes()),
        ("base32, two bytes in", base32(format!("ab{secret}").as_bytes()).into_bytes()),
        ("hexadecimal in lower case", hex::encode(raw).into_bytes()),
        ("hexadecimal in upper case", hex::encode_upper(raw).into_bytes()),
        ("hexadecimal with colons", each(raw, |byte| format!("{byte:02x}:"))),
        (
            "hexadecimal with spaces, wrapped",
            wrapped(&String::from_utf8(each(raw, |byte| format!("{byte:02x} "))).unwrap(), 30, "\n"),
        ),
        ("hexadecimal in bytes of C", each(raw, |byte| format!("\\x{byte:02x}"))),
        ("a hexdump", hexdump(raw)),
        ("percent-encoded whole, upper case", percent(true)),
        ("percent-encoded whole, lower case", percent(false)),
        ("percent-encoded where it has to be", reserved.clone()),
        (
            "percent-encoded twice",
            each(&reserved, |byte| if byte == b'%' { "%25".into() } else { char::from(byte).into() }),
        ),
        ("JSON", json.clone().into_bytes()),
        ("JSON with escaped slashes", json.replace('/', "\\/").into_bytes()),
        ("JSON in \\u escapes", unicode.clone().into_bytes()),
        ("JSON in upper case \\u escapes", unicode.to_uppercase().replace("\\U", "\\u").into_bytes()),
        ("JSON within JSON", serde_json::to_string(&format!("{{\"a\":\"{unicode}\"}}")).unwrap().into_bytes()),
        ("UTF-16, little-endian", utf16(secret, u16::to_le_bytes)),
        ("UTF-16, big-endian", utf16(secret, u16::to_be_bytes)),
        ("quoted-printable", each(raw, |byte| format!("={byte:02X}"))),
        ("quoted-printable with soft line breaks", wrapped(secret, 7, "=\r\n")),
        ("HTML entities, decimal", each(raw, |byte| format!("&#{byte};"))),
        ("HTML entities, hexadecimal", each(raw, |byte| format!("&#x{byte:X};"))),
        ("HTML", secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").into_bytes()),
        ("quoted for a shell", format!("'{}'", secret.replace('\'', "'\\''")).into_bytes()),
        (
            "escaped for a shell",
            each(raw, |byte| {
                if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("\\{}", char::from(byte)) }
            }),
        ),
        ("octal escapes", each(raw, |byte| format!("\\{byte:03o}"))),
        ("Rust's Debug", format!("{secret:?}").into_bytes()),
        ("Rust's escape_unicode", secret.escape_unicode().to_string().into_bytes()),
        ("Debug of its bytes", format!("{raw:?}").into_bytes()),
        ("pretty Debug of its bytes", format!("{raw:#?}").into_bytes()),
        ("hexadecimal Debug of its bytes", format!("{raw:#04x?}").into_bytes()),
        ("signed bytes", each(raw, |byte| format!("{}, ", byte as i8))),
        ("gzip", gzip(raw)),
        ("gzip in gzip", gzip(&gzip(raw))),
        ("gzip in base64", STANDARD.encode(gzip(raw)).into_bytes()),
        ("gzip in wrapped base64", wrapped(&STANDARD.encode(gzip(raw)), 64, "\n")),
        ("zstd", zstd::encode_all(raw, 3).unwrap()),
        ("zstd in base64 for URLs", URL_SAFE_NO_PAD.encode(zstd::encode_all(raw, 3).unwrap()).into_bytes()),
        ("zlib", zlib(raw)),
        ("zip", zip(raw)),
    ]
}

fn log_with(planted: &[u8]) -> Vec<u8> {
    let line = |text: &str| format!("2026-11-25T15:50:38.123456Z  INFO {text} lake.commit=17 role=llm\n");
    let mut log = line("the lake is open").repeat(20).into_bytes();
    log.extend_from_slice(line("asking http://llm:5160 with ").trim_end().as_bytes());
    log.push(b' ');
    log.extend_from_slice(planted);
    log.push(b'\n');
    log.extend_from_slice(line("a request failed").repeat(20).as_bytes());
    log
}

#[test]
fn no_form_of_a_planted_secret_gets_through() {
    let secrets = secrets();
    let mut missed = Vec::new();
    let mut count = 0;
    for (name, secret) in [("api-token", TOKEN), ("console-password.first", PASSWORD), ("awkward", AWKWARD)] {
        for (form, planted) in forms(secret) {
            count += 1;
            match secrets.find("logs/llm.log", &log_with(&planted)) {
                Search::Found(found) if found.secret == name && found.file == "logs/llm.log" => {}
                other => missed.push(format!("{name}, {form}: {other:?}")),
            }
        }
    }
    assert!(missed.is_empty(), "{} of {count} got through: {missed:#?}", missed.len());
    assert!(count >= 150);
}

#[test]
fn bytes_are_found_like_texts() {
    let secrets = secrets();
    let seed = seed();
    let signed: Vec<i8> = seed.iter().map(|byte| *byte as i8).collect();
    let escaped: String = seed.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
    let forms: [(&str, Vec<u8>); 14] = [
        ("raw", seed.clone()),
        ("Debug", format!("{seed:?}").into_bytes()),
        ("pretty Debug", format!("{seed:#?}").into_bytes()),
        ("Debug of signed bytes", format!("{signed:?}").into_bytes()),
        (
            "C",
            format!("{{ {} }}", seed.iter().map(|byte| format!("0x{byte:02X}")).collect::<Vec<_>>().join(", "))
                .into_bytes(),
        ),
        ("escaped", escaped.into_bytes()),
        ("hexadecimal", hex::encode(&seed).into_bytes()),
        ("base64", STANDARD.encode(&seed).into_bytes()),
        ("base64 behind a prefix", STANDARD.encode([b"\x30\x2e\x02\x01".as_slice(), &seed].concat()).into_bytes()),
        ("base32", base32(&seed).into_bytes()),
        ("percent-encoded", each(&seed, |byte| format!("%{byte:02x}"))),
        ("its key file", format!("0711-ed25519-seed-1:{}", hex::encode(&seed)).into_bytes()),
        ("gzip", gzip(&seed)),
        ("JSON array", serde_json::to_vec(&seed).unwrap()),
    ];
    for (form, planted) in forms {
        let found = secrets.find("a", &log_with(&planted));
        assert!(matches!(&found, Search::Found(found) if found.secret == "report-key"), "{form}: {found:?}");
    }
}

/// Sixty streams of 64 MB each in a small log.
#[test]
fn a_bomb_is_not_unpacked_and_not_let_through() {
    let bomb = zstd::encode_all(std::io::repeat(b'x').take(64 << 20), 1).unwrap();
    let many = bomb.repeat(60);
    assert_eq!(secrets().find("a", &log_with(&many)), Search::TooMuch);
}

#[test]
fn half_a_secret_is_one() {
    let secrets = secrets();
    for part in [&TOKEN[..16], &TOKEN[20..40], &TOKEN[48..]] {
        assert_ne!(secrets.find("a", format!("token {part}… was refused").as_bytes()), Search::Clean, "{part}");
    }
    // A token broken up by the prefixes of lines.
    let lines = format!("> {}\n> {}\n", &TOKEN[..30], &TOKEN[30..]);
    assert_ne!(secrets.find("a", lines.as_bytes()), Search::Clean);
}

#[test]
fn what_is_no_secret_passes() {
    let secrets = secrets();
    let texts = [
        String::from_utf8(log_with(b"nothing special")).unwrap(),
        include_str!("../../plan/make/golden.json").to_owned(),
        include_str!("../../../Cargo.lock").to_owned(),
        "0711-ed25519-seed-1: is how a key file begins; argon2id, v=19, m=19456, t=2, p=1".to_owned(),
        "0000000000000000000000000000000000000000000000000000000000000000".to_owned(),
        "pin 12345".to_owned(),
        base::Digest::of(TOKEN.as_bytes()).to_string(),
    ];
    for text in texts {
        assert_eq!(secrets.find("a", text.as_bytes()), Search::Clean, "{}", text.chars().take(100).collect::<String>());
    }
    assert_eq!(secrets.too_short(), ["pin"]);
    assert_eq!(secrets.searched().len(), 4);
}

#[test]
fn every_file_that_is_called_a_secret_is_one() {
    use base::{Layout, Slug};
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::rooted(dir.path());
    let customer = layout.customer(&Slug::parse("eaton").unwrap());
    let files = [
        (customer.token(), TOKEN),
        (
            customer.secrets().join("tls/server.pem"),
            "-----BEGIN PRIVATE KEY-----\nQUJDREVGR0hJSktMTU5P\n-----END PRIVATE KEY-----\n",
        ),
        (customer.etc().join("backup-keys/first"), "a-key-of-a-backup-1"),
        (layout.etc().join("webhook-token"), "a-token-of-a-webhook"),
        (customer.deployment().join(".env"), "S3_SECRET=a-secret-of-a-bucket\n"),
        (customer.etc().join("answers.yaml"), "no secret at all, and long enough\n"),
        (layout.etc().join("vendor-key.pub"), "a public key is for everybody to see"),
    ];
    for (path, text) in &files {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let secrets = Secrets::of(&layout, &customer).unwrap();
    let mut names = secrets.searched();
    names.sort();
    assert_eq!(
        names,
        ["deployment/.env", "etc/eaton/backup-keys/first", "etc/webhook-token", "tls/server.pem", "token"]
    );
    let found = |text: &str| match secrets.find("a", text.as_bytes()) {
        Search::Found(found) => Some(found.secret),
        _ => None,
    };
    assert_eq!(found("a-secret-of-a-bucket").as_deref(), Some("deployment/.env"));
    assert_eq!(found("ABCDEFGHIJKLMNO").as_deref(), Some("tls/server.pem"), "what a PEM encodes");
    assert_eq!(found("a public key is for everybody to see"), None);
}
