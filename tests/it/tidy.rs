//! What must be absent: sentences of the rooms' faces, checked over the source text.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Product code: without comments, and up to the file's own tests.
fn product_code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let product = text.split("#[cfg(test)]").next().unwrap_or("");
    let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn room_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_string_lossy().into_owned()
}

/// Returns `file: needle` for every room outside `allowed` whose product code has one of the needles.
fn offenders(needles: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in rust_files(&root().join("src")) {
        let below = path.strip_prefix(root()).unwrap().display().to_string();
        // Examples are programs that measure; nothing of them is in the product.
        let is_test = below.contains("/tests/")
            || below.contains("/examples/")
            || below.ends_with("/tests.rs")
            || below.ends_with("/exam.rs");
        if is_test || allowed.contains(&room_of(&path).as_str()) || allowed.contains(&below.as_str()) {
            continue;
        }
        let code = product_code(&path);
        found
            .extend(needles.iter().filter(|needle| code.contains(**needle)).map(|needle| format!("{below}: {needle}")));
    }
    found
}

/// Who may use whom (DESIGN, Layout).
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("license", &["base"]),
    ("access", &["base"]),
    ("audit", &["base"]),
    ("bundle", &["base"]),
    ("host", &["base"]),
    ("nearest", &[]),
    ("lake", &["base", "nearest"]),
    ("extract", &["base"]),
    ("engine", &["base"]),
    ("handlers", &["base", "extract"]),
    ("plan", &["base", "license", "bundle", "host"]),
    ("stack", &["base", "host", "bundle", "plan"]),
    ("install", &["base", "audit", "plan", "stack", "license", "bundle", "host", "access"]),
    ("ingest", &["base", "lake", "extract", "engine", "handlers"]),
    ("answer", &["base", "lake", "engine"]),
    ("train", &["base", "lake", "engine", "answer"]),
    ("console", &["base", "audit", "lake", "engine", "answer", "ingest", "access"]),
    ("update", &["base", "bundle", "host", "plan", "stack", "install"]),
    ("backup", &["base"]),
    ("agent", &["base", "audit", "backup", "host", "license", "plan", "stack", "install", "update"]),
    ("support", &["base", "audit", "host", "install", "stack"]),
];

#[test]
fn rooms_use_only_the_rooms_they_may() {
    for (room, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join("src").join(room).join("Cargo.toml")).unwrap();
        for (other, _) in ARROWS {
            let dependencies =
                manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or("");
            let uses = dependencies.lines().any(|line| line.starts_with(&format!("{other}.workspace")));
            assert!(!uses || allowed.contains(other), "{room} uses {other}, which it may not");
        }
    }
}

#[test]
fn plan_does_no_io() {
    let code: Vec<_> = rust_files(&root().join("src/plan")).iter().map(|path| product_code(path)).collect();
    for needle in [
        "std::fs",
        "TcpStream",
        "UdpSocket",
        "std::process",
        "std::env",
        "tokio",
        "SystemTime",
        "Instant::now",
        "getrandom",
    ] {
        assert!(!code.iter().any(|code| code.contains(needle)), "plan uses {needle}");
    }
}

#[test]
fn only_cli_touches_the_terminal_and_the_environment() {
    let terminal = ["println!", "eprintln!", "print!(", "dialoguer", "indicatif", "IsTerminal"];
    assert_eq!(offenders(&terminal, &["cli", "src/extract/worker/child.rs"]), Vec::<String>::new());
    let environment = ["env::var", "env::args", "env::set_var", "env::vars"];
    assert_eq!(offenders(&environment, &["cli", "src/base/layout.rs"]), Vec::<String>::new());
}

#[test]
fn only_base_names_the_product_folders() {
    let folders =
        ["\"/etc/0711", "\"/var/lib/0711", "\"/run/0711", "\"/opt/0711", "join(\"loras\")", "join(\"lakehouse\")"];
    assert_eq!(offenders(&folders, &["base"]), Vec::<String>::new());
}

#[test]
fn nothing_is_left_unfinished() {
    let unfinished = ["todo!(", "unimplemented!(", "dbg!(", "// TODO", "// FIXME"];
    assert_eq!(offenders(&unfinished, &[]), Vec::<String>::new());
}

#[test]
fn nothing_binds_beyond_loopback_unasked() {
    let wide = ["0.0.0.0", "Ipv4Addr::UNSPECIFIED", "Ipv6Addr::UNSPECIFIED"];
    // A container listens on its own network, whose gateway alone is published.
    assert_eq!(offenders(&wide, &["cli", "host", "src/base/config.rs"]), Vec::<String>::new());
}

#[test]
fn every_room_says_what_it_is_for() {
    for (room, _) in ARROWS {
        let face = fs::read_to_string(root().join("src").join(room).join("lib.rs")).unwrap();
        assert!(face.lines().take_while(|line| line.starts_with("//!")).count() >= 3, "{room}/lib.rs has no face");
    }
}
