//! The record of who did what, on an installation that is only files: shown, checked, exported, packed.

use std::fs;

use crate::{
    furnished::furnish,
    product::{Product, run},
};

fn log(product: &Product) -> std::path::PathBuf {
    product.root.join("var/eaton/audit/audit-000001.jsonl")
}

#[test]
fn an_export_tells_of_itself_and_a_changed_record_has_its_own_exit_code() {
    let product = Product::new();
    product.run(&["audit", "verify"]).expect(2);
    assert!(!product.root.exists(), "looking makes nothing");
    furnish(&product);
    let empty = product.json(&["audit", "verify"]);
    assert_eq!((&empty["intact"], &empty["logs"][0]["records"]), (&true.into(), &0.into()));

    let folder = product.folder("out");
    let path = |name: &str| folder.join(name).display().to_string();
    product.ok(&["audit", "export", "--out", &path("a.jsonl")]);
    product.ok(&["audit", "export", "--csv", "--since", "1h", "--out", &path("b.csv")]);
    let lines = fs::read_to_string(path("a.jsonl")).unwrap();
    assert!(lines.starts_with("{\"format\":1,") && lines.contains("\"act\":\"export\""), "{lines}");
    assert_eq!(fs::read_to_string(path("b.csv")).unwrap().lines().count(), 3, "a heading and two exports");
    let printed = product.ok(&["audit", "export"]).out;
    assert_eq!(printed.lines().count(), 3, "{printed}");

    let shown = product.json(&["audit", "show", "-n", "2"]);
    assert_eq!((shown["records"].as_array().unwrap().len(), &shown["of"]), (2, &3.into()));
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(shown["records"][1]["who"]["uid"], uid);
    let table = product.ok(&["audit", "show"]).out;
    assert!(table.lines().count() == 3 && table.contains("export") && table.contains("audit log"), "{table}");

    let verdict = product.json(&["audit", "verify"]);
    let head = &verdict["logs"][0]["head"];
    let anchor = format!("{}:{}", head["seq"], head["digest"].as_str().unwrap());
    product.ok(&["audit", "verify", "--anchor", &anchor]);
    let text = fs::read_to_string(log(&product)).unwrap();
    fs::write(log(&product), text.replacen("b.csv", "c.csv", 1)).unwrap();
    let broken = product.run(&["audit", "verify"]).expect(15);
    assert!(broken.out.contains("intact up to record 0") && broken.out.contains("line 2"), "{}", broken.out);
    assert!(broken.err.contains("customer"), "{}", broken.err);
    product.run(&["audit", "export", "--out", &path("d.jsonl")]).expect(15);

    // A history written anew is whole by itself, and not what was noted.
    fs::remove_dir_all(product.root.join("var/eaton/audit")).unwrap();
    fs::remove_file(product.root.join("etc/eaton/audit/head.json")).unwrap();
    for _ in 0..4 {
        product.ok(&["audit", "export"]);
    }
    product.ok(&["audit", "verify"]);
    product.run(&["audit", "verify", "--anchor", &anchor]).expect(15);
}

#[test]
fn an_evidence_pack_is_signed_and_holds_no_secret() {
    let product = Product::new();
    let secrets = furnish(&product);
    let path = product.folder("out").join("evidence.tar");
    let path = path.to_str().unwrap();
    let made = product.json(&["audit", "evidence", "--out", path]);
    let key = made["manifest"]["key"].as_str().unwrap();
    let names: Vec<_> =
        made["manifest"]["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    for name in [
        "audit/customer/audit-000001.jsonl",
        "audit/verify.json",
        "sbom/program.cdx.json",
        "approvals.jsonl",
        "CONTENTS.json",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(names.iter().all(|name| !name.contains("secret") && !name.contains("key")), "{names:?}");
    let bytes = fs::read(path).unwrap();
    for secret in &secrets {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
    // Checked where there is no installation.
    run(["audit", "evidence", "--check", path, "--key", key]).expect(0);
    assert!(run(["audit", "evidence", "--check", path]).expect(0).out.contains("itself names"));
    run(["audit", "evidence", "--check", path, "--key", &"0b".repeat(32)]).expect(9);
    let at = bytes.windows(6).position(|window| window == b"\"act\":").unwrap();
    let mut changed = bytes;
    changed[at + 8] ^= 1;
    fs::write(path, changed).unwrap();
    let refused = run(["audit", "evidence", "--check", path, "--key", key]).expect(15);
    assert!(refused.err.contains("was changed"), "{}", refused.err);
    // The key was made for this, and that is on record.
    let shown = product.ok(&["audit", "show"]).out;
    assert!(shown.contains(key) && shown.contains("evidence pack"), "{shown}");
}
