//! A license is accepted whole or refused with its reason and exit code 3.

use std::fs::File;

use crate::product::{Product, checkout, run};

/// The defect a fixture is named for, and a word of the reason a person reads.
const REFUSED: [(&str, &str); 16] = [
    ("bad-base64", "base64"),
    ("duplicate-envelope-key", "twice"),
    ("duplicate-escaped-key", "twice"),
    ("duplicate-key", "twice"),
    ("expired", "ended"),
    ("flipped-bit", "signature"),
    ("foreign-key", "does not trust"),
    ("foreign-key-posing", "signature"),
    ("no-signature", "sign"),
    ("not-yet-valid", "valid"),
    ("over-limit-documents", "documents"),
    ("over-limit-edition", "edition"),
    ("trailing-data", "trailing"),
    ("unknown-field", "unknown"),
    ("wrong-payload-type", "type"),
    ("relabelled-payload-type", "signature"),
];

#[test]
fn every_defect_is_refused_with_its_reason() {
    for (defect, reason) in REFUSED {
        let file = checkout(&format!("tests/fixtures/licenses/{defect}.license"));
        let refused = run(["license".as_ref(), "verify".as_ref(), file.as_os_str()]).expect(3);
        let text = refused.err.to_lowercase();
        assert!(text.contains(reason), "{defect}: {text}");
    }
}

#[test]
fn the_demo_and_the_example_hold() {
    for (license, documents) in [("DEMO", 10_000), ("ENTERPRISE-EATON-2025", 10_000)] {
        let shown = run(["license", "verify", license, "--json"]).expect(0).json();
        assert_eq!(shown["edition"], "demo");
        assert!(shown["max_documents"].as_u64().unwrap() <= documents);
        assert_eq!(shown["standing"]["state"], "valid");
    }
}

#[test]
fn a_pipe_and_a_giant_are_refused_at_once() {
    let product = Product::new();
    let folder = product.folder("licenses");
    let fifo = folder.join("fifo.license");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let giant = folder.join("giant.license");
    File::create(&giant).unwrap().set_len(10 << 30).unwrap();
    for (file, reason) in [(fifo, "pipe"), (giant, "bytes")] {
        let refused = run(["license".as_ref(), "verify".as_ref(), file.as_os_str()]).expect(3);
        assert!(refused.err.contains(reason), "{}", refused.err);
    }
}

#[test]
fn a_vendor_key_signs_what_this_program_does_not_trust() {
    let product = Product::new();
    let folder = product.folder("vendor");
    let path = |name: &str| folder.join(name).display().to_string();
    run(["license", "keygen", "--out", &path("key"), "--name", "acme"]).expect(0);
    let request =
        "format: 1\nlicense_id: ACME-1\ncustomer: ACME\nedition: standard\nvalid_days: 30\nmax_documents: 5\n";
    std::fs::write(path("request.yaml"), request).unwrap();
    let issue =
        ["license", "issue", "--key", &path("key"), "--request", &path("request.yaml"), "--out", &path("a.license")];
    run(issue).expect(0);
    let refused = run(["license", "verify", &path("a.license")]).expect(3);
    assert!(refused.err.contains("does not trust"), "{}", refused.err);
}
