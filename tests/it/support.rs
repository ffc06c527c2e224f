//! A support bundle of an installation that is only files: what is in it, what is not, and what it does not wait for.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    furnished::{API_TOKEN, DOCUMENT, PASSWORD, TOKEN, furnish, log, log_file},
    product::{Product, Run},
};

/// The files of a bundle, by their names in it.
pub fn unpack(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut tar = tar::Archive::new(zstd::Decoder::new(fs::File::open(path).unwrap()).unwrap());
    let mut files = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name.split_once('/').expect("one folder").1.to_owned(), bytes);
    }
    files
}

/// Runs `support-bundle`; a folder put before the others on the path has programs of its own.
fn bundle(product: &Product, out: &Path, more: &[&str], programs: Option<&Path>) -> Run {
    let mut command: Command = product.command(&["support-bundle", "--out", out.to_str().unwrap()]);
    if let Some(programs) = programs {
        command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    }
    Run::of(command.args(more).output().unwrap())
}

#[test]
fn a_bundle_has_what_helps_and_nothing_else() {
    let product = Product::new();
    let secrets = furnish(&product);
    let folder = product.folder("out");
    let out = folder.join("s.tar.zst");
    let looked = bundle(&product, &out, &["--preview"], None).expect(0);
    assert!(!out.exists() && looked.err.contains("nothing was written"), "{}", looked.err);
    assert!(looked.out.contains("config/config.yaml") && looked.out.contains("customer_name"), "{}", looked.out);
    assert!(secrets.iter().all(|secret| !looked.out.contains(secret.as_str())));

    bundle(&product, &out, &["--preview", "--yes"], None).expect(0);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let files = unpack(&out);
    let manifest: Value = serde_json::from_slice(&files["MANIFEST.json"]).unwrap();
    for name in [
        "host/facts.json",
        "host/preflight.json",
        "config/config.yaml",
        "versions.json",
        "disk.json",
        "audit/verify.json",
        "logs/ingest.log",
        "license.json",
        "state/files.json",
    ] {
        assert!(files.contains_key(name), "{name} is not in {:?}\n{manifest:#}", files.keys());
    }
    for file in manifest["files"].as_array().unwrap() {
        let bytes = &files[file["path"].as_str().unwrap()];
        assert_eq!(file["sha256"], base::Digest::of(bytes).to_string(), "{file}");
    }
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let everything: Vec<u8> = files.values().flatten().copied().collect();
    let holds = |needle: &str| everything.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(secrets.iter().all(|secret| !holds(secret)), "a secret is in the bundle");
    assert!(!holds("hunter2") && !holds("Müller"), "{}", text("logs/ingest.log"));
    assert!(text("logs/ingest.log").contains("document.path=[name]"));
    assert!(text("state/ingest-report.json").contains("1 names left out"));
    assert_eq!(manifest["searched_for"].as_array().unwrap().len(), 3, "{manifest:#}");
    let of_log = manifest["files"].as_array().unwrap().iter().find(|file| file["path"] == "logs/ingest.log").unwrap();
    assert_eq!((&of_log["redacted"], &of_log["names_hidden"]), (&2.into(), &1.into()));
    assert!(product.ok(&["audit", "show"]).out.contains("support-bundle"));
    bundle(&product, &out, &[], None).expect(2);

    let with_names = folder.join("names.tar.zst");
    bundle(&product, &with_names, &["--with-names"], None).expect(0);
    let report = unpack(&with_names).remove("state/ingest-report.json").unwrap();
    assert!(String::from_utf8(report).unwrap().contains(DOCUMENT));
}

#[test]
fn a_planted_secret_stops_the_bundle_and_is_named_but_not_shown() {
    let product = Product::new();
    furnish(&product);
    let out = product.folder("out").join("s.tar.zst");
    let clean = fs::read(log_file(&product)).unwrap();
    let hex: String = PASSWORD.bytes().map(|byte| format!("{byte:02X}")).collect();
    let percent: String = API_TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let planted = [
        (TOKEN, "token", &["--preview"][..]),
        (hex.as_str(), "console-password.first", &["--preview", "--yes"]),
        (percent.as_str(), "api-token", &[]),
    ];
    for (form, secret, more) in planted {
        log(&product, &format!("asking with {form}"));
        let refused = bundle(&product, &out, more, None).expect(16);
        let (file, name) = ("logs/ingest.log", format!("`{secret}`"));
        assert!(refused.err.contains(file) && refused.err.contains(&name), "{}", refused.err);
        assert!(!refused.err.contains(form) && !refused.out.contains(form) && !out.exists());
        fs::write(log_file(&product), &clean).unwrap();
    }
    bundle(&product, &out, &[], None).expect(0);
    assert!(product.ok(&["audit", "show"]).out.contains("refused"));
}

#[test]
fn what_hangs_is_not_waited_for_and_what_is_large_is_cut() {
    let product = Product::new();
    furnish(&product);
    let programs = product.folder("programs");
    fs::write(programs.join("docker"), "#!/bin/sh\nexec sleep 300\n").unwrap();
    fs::set_permissions(programs.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
    let line = "2999-01-01T00:00:00.000001Z  INFO a line like many others, and another one after it\n";
    for role in ["llm", "lake", "embed", "console"] {
        fs::write(product.root.join(format!("var/eaton/logs/{role}.log")), line.repeat(10_000)).unwrap();
    }
    let out = product.folder("out").join("s.tar.zst");
    let begun = Instant::now();
    let run = bundle(&product, &out, &["--max-mb", "1"], Some(&programs)).expect(0);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(run.err.contains("docker version") && run.err.contains("no answer"), "{}", run.err);
    let files = unpack(&out);
    let size: usize = files.values().map(Vec::len).sum();
    assert!(size <= 1_000_000, "{size}");
    let manifest: Value = serde_json::from_slice(&files["MANIFEST.json"]).unwrap();
    let docker = manifest["collectors"].as_array().unwrap().iter().find(|one| one["name"] == "docker version").unwrap();
    assert_eq!(docker["outcome"], "timed-out");
    let cut = manifest["files"].as_array().unwrap().iter().find(|file| file["path"] == "logs/llm.log").unwrap();
    assert!(cut["cut_bytes"].as_u64().unwrap() > 0 && files["logs/llm.log"].starts_with(b"2999"), "{cut}");
}
