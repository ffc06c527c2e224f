//! The room at its face: every fixture of `tests/fixtures/licenses` is named for its defect.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base::{Exit, Explain, Timestamp};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/licenses")
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(format!("{name}.license"))).unwrap()
}

fn roots() -> TrustRoots {
    embedded_roots().unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn now() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

#[test]
fn the_demo_license_is_one() {
    let demo = verify(embedded_demo(), &roots(), now()).unwrap();
    assert_eq!(demo.license_id(), "DEMO");
    assert_eq!((demo.customer_name(), demo.customer_slug().as_str()), ("Demo", "demo"));
    assert_eq!((demo.edition(), demo.max_documents()), (Edition::Demo, 10_000));
    assert_eq!(demo.mcps(), ["etim", "product", "ctax"]);
    assert!(demo.allows_mcp("etim") && !demo.allows_mcp("eti"));
    assert!(!demo.managed() && !demo.auto_update());
    assert_eq!(demo.standing(now(), &Seen::nothing()), Standing::Valid);
    demo.check_machine(&[]).unwrap();
}

#[test]
fn each_defect_is_refused_with_its_reason() {
    let cases = [
        ("bad-base64", "the payload of the license is not base64: Invalid symbol 63"),
        (
            "duplicate-envelope-key",
            "the envelope of the license is not the JSON it should be: the key `payload` appears twice",
        ),
        (
            "duplicate-escaped-key",
            "the payload of the license is not the JSON it should be: the key `sequence` appears twice",
        ),
        (
            "duplicate-key",
            "the payload of the license is not the JSON it should be: the key `max_documents` appears twice",
        ),
        ("expired", "the license ended on 2025-01-01T00:00:00Z, and its grace on 2025-01-31T00:00:00Z"),
        ("flipped-bit", "does not fit the license: it was changed after signing"),
        ("foreign-key", "which this program does not trust"),
        ("foreign-key-posing", "does not fit the license: it was changed after signing"),
        ("missing-field", "missing field `expires`"),
        ("newer-format", "the license has format 2; this program reads format 1"),
        ("no-signature", "the license carries no signature"),
        ("no-validity", "the license's field `expires` is 2025-01-01T00:00:00Z, not after 2025-01-01T00:00:00Z"),
        ("not-yet-valid", "the license is valid from 2090-01-01T00:00:00Z on"),
        ("over-limit-documents", "may not sign this: 20000 documents, where 10000 are its most"),
        ("over-limit-edition", "may not sign this: edition enterprise, where demo is its highest"),
        ("over-limit-gpus", "may not sign this: 1 GPUs, where 0 are its most"),
        ("over-limit-managed", "may not sign this: a managed stack"),
        ("over-limit-mcp", "may not sign this: the MCP server `payroll`"),
        ("over-limit-time", "may not sign this: more than 4500 days"),
        ("relabelled-payload-type", "does not fit the license: it was changed after signing"),
        ("trailing-data", "trailing characters"),
        ("unknown-entitlement", "unknown field `max_users`"),
        ("unknown-field", "unknown field `unlimited`"),
        ("wrong-payload-type", "the payload type is `application/vnd.in-toto+json`, not that of a license"),
    ];
    for (name, reason) in cases {
        let error = verify(&fixture(name), &roots(), now()).expect_err(name);
        assert!(error.chain().contains(reason), "{name}: {}", error.chain());
        assert_eq!(error.exit(), Exit::License, "{name}");
        assert!(error.remedy().is_some(), "{name}");
    }
    let good = ["bound-to-machine", "sequence-1", "sequence-2", "small-limits", "two-signatures"];
    for name in good {
        verify(&fixture(name), &roots(), now()).expect(name);
    }
    // No fixture without a verdict here.
    assert_eq!(fs::read_dir(fixtures()).unwrap().count(), cases.len() + good.len());
}

#[test]
fn a_flipped_bit_is_refused_or_changes_nothing() {
    let roots = roots();
    let original = embedded_demo();
    let entitlement = verify(original, &roots, now()).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut refused = 0;
    for _ in 0..1000 {
        // xorshift64: the same bits on every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let bit = usize::try_from(random % (original.len() as u64 * 8)).unwrap();
        let mut bytes = original.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match verify(&bytes, &roots, now()) {
            Ok(read) => assert_eq!(read, entitlement, "bit {bit}"),
            Err(error) => {
                assert_eq!(error.exit(), Exit::License);
                refused += 1;
            }
        }
    }
    // Only blanks between the tokens can change without harm.
    assert!(refused > 950, "{refused}");
}

#[test]
fn every_shorter_file_is_refused() {
    let original = embedded_demo().trim_ascii_end();
    for length in 0..original.len() {
        assert!(verify(&original[..length], &roots(), now()).is_err(), "{length}");
    }
}

#[test]
fn pipes_folders_and_giants_are_refused_unread() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let giant = dir.path().join("giant");
    fs::File::create(&giant).unwrap().set_len(10 << 30).unwrap();
    for (path, reason) in [
        (fifo.as_path(), "is a named pipe, not a regular file"),
        (dir.path(), "is a folder, not a regular file"),
        (Path::new("/dev/zero"), "is a device, not a regular file"),
        (&giant, "has 10737418240 bytes, more than the 65536 allowed here"),
        (&dir.path().join("absent"), "No such file"),
    ] {
        let error = load(path, &roots(), now()).unwrap_err();
        assert!(error.chain().contains(reason), "{}", error.chain());
        assert_eq!(error.exit(), Exit::License);
    }
    assert!(matches!(verify(&vec![b' '; 70_000], &roots(), now()), Err(Error::TooLarge { .. })));
}

fn wide_limits() -> Limits {
    Limits {
        edition: Edition::Enterprise,
        max_documents: u64::MAX,
        gpus: 8,
        mcps: vec!["etim".to_owned()],
        channels: vec!["stable".to_owned()],
        auto_update: true,
        managed: true,
        valid_days: 4000,
    }
}

#[test]
fn points_of_small_order_are_no_roots_and_sign_nothing() {
    // The eight points of small order and their non-canonical spellings that decompress (RFC 7748 torsion; the list of
    // "Taming the many EdDSAs", table 1).
    let weak = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in weak {
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(point, &mut bytes).unwrap();
        let error = Root::new("weak", &bytes, wide_limits()).expect_err(point);
        assert!(error.to_string().contains("weak (of small order)"), "{point}: {error}");

        // As the R of a signature, with S = 0: what a cofactored verifier could be talked into.
        let mut envelope: serde_json::Value = serde_json::from_slice(embedded_demo()).unwrap();
        let signature = [bytes.as_slice(), &[0; 32]].concat();
        envelope["signatures"][0]["sig"] = STANDARD.encode(signature).into();
        let error = verify(envelope.to_string().as_bytes(), &roots(), now()).unwrap_err();
        assert!(matches!(error, Error::BadSignature { .. }), "{point}: {error}");
    }
}

#[test]
fn only_one_spelling_of_a_signature_is_read() {
    // S + L is the same number to a careless verifier (RFC 8032, 5.1.7).
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut envelope: serde_json::Value = serde_json::from_slice(embedded_demo()).unwrap();
    let mut signature = STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(&order) {
        let sum = u16::from(*byte) + u16::from(*add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    envelope["signatures"][0]["sig"] = STANDARD.encode(signature).into();
    let error = verify(envelope.to_string().as_bytes(), &roots(), now()).unwrap_err();
    assert!(matches!(error, Error::BadSignature { .. }), "{error}");
}

#[test]
fn a_vendor_makes_a_key_and_issues_a_license() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vendor.key");
    let root = keygen(&path, "vendor", wide_limits()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(keygen(&path, "vendor", wide_limits()), Err(Error::Write { .. })), "a key is never overwritten");
    let root = Root::parse(&root.to_yaml().unwrap()).unwrap();
    let key = PrivateKey::read(&path).unwrap();
    let seed = fs::read_to_string(&path).unwrap();
    assert!(!format!("{key:?}").contains(seed.trim().rsplit(':').next().unwrap()));

    let request = Request::parse(
        "format: 1\nlicense_id: STANDARD-MUSTER-2027\ncustomer: Müller & Söhne GmbH\nedition: standard\nvalid_days: 365\n\
         max_documents: 250000\nmcps: [etim]\nsequence: 7\n",
    )
    .unwrap();
    let bytes = issue(&request, &key, now()).unwrap();
    let both = TrustRoots::new(roots().iter().cloned().chain([root.clone()]).collect()).unwrap();
    let license = verify(&bytes, &both, now()).unwrap();
    assert_eq!(license.customer_slug().as_str(), "mueller-soehne-gmbh");
    assert_eq!((license.sequence(), license.key_id()), (7, root.key_id()));
    assert_eq!(license.expires(), now().plus_days(365));
    assert!(matches!(verify(&bytes, &roots(), now()), Err(Error::UntrustedKey { .. })));
    let shown = serde_json::to_value(Description::of(&license, now(), &Seen::nothing())).unwrap();
    assert_eq!(shown["standing"]["state"], "valid");
    assert_eq!(shown["expires"], "2027-11-22T12:00:00Z");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = PrivateKey::read(&path).unwrap_err();
    assert!(error.to_string().contains("others may read it"), "{error}");
    assert!(TrustRoots::new(vec![root.clone(), root]).is_err(), "a key stands in the list once");
}

#[test]
fn what_no_reader_takes_is_not_signed() {
    let key = PrivateKey::of(&base::Seed::generate().unwrap());
    let good = "format: 1\nlicense_id: A\ncustomer: A\nedition: demo\nvalid_days: 1\nmax_documents: 1\n";
    issue(&Request::parse(good).unwrap(), &key, now()).unwrap();
    for (from, to) in [
        ("license_id: A", "license_id: a b"),
        ("max_documents: 1", "max_documents: 0"),
        ("valid_days: 1", "valid_days: 0"),
        ("customer: A", "customer: '***'"),
        ("edition: demo", "edition: demo\nmcps: [etim, etim]"),
        ("edition: demo", "edition: demo\nmachine: {needed: 1, hashes: []}"),
    ] {
        let request = Request::parse(&good.replace(from, to)).unwrap();
        assert!(matches!(issue(&request, &key, now()), Err(Error::Field { .. })), "{to}");
    }
    for (from, to) in [("edition", "editoin"), ("valid_days: 1", "valid_days: 4294967295")] {
        assert!(matches!(Request::parse(&good.replace(from, to)), Err(Error::Request(_))), "{to}");
    }
    assert!(matches!(Request::parse(&good.replace("format: 1", "format: 2")), Err(Error::Format { .. })));
}

#[test]
fn a_license_ages_from_valid_to_expired() {
    let license = authenticate(&fixture("expired"), &roots()).unwrap();
    for (when, standing, accepted) in [
        ("2023-12-31T23:59:59Z", Standing::NotYet, false),
        ("2024-01-01T00:00:00Z", Standing::Valid, true),
        ("2024-12-01T23:59:59Z", Standing::Valid, true),
        ("2024-12-02T00:00:00Z", Standing::Warning { days: 31 }, true),
        ("2024-12-31T23:59:59Z", Standing::Warning { days: 1 }, true),
        ("2025-01-01T00:00:00Z", Standing::Grace { days: 31 }, true),
        ("2025-01-30T23:59:59Z", Standing::Grace { days: 1 }, true),
        ("2025-01-31T00:00:00Z", Standing::Expired, false),
    ] {
        assert_eq!(license.standing(at(when), &Seen::nothing()), standing, "{when}");
        assert_eq!(verify(&fixture("expired"), &roots(), at(when)).is_ok(), accepted, "{when}");
        assert_eq!(standing.allows_change(), accepted, "{when}");
    }
}

#[test]
fn a_clock_set_back_gains_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seen.json");
    let license = authenticate(&fixture("expired"), &roots()).unwrap();
    assert_eq!(Seen::load(&path).unwrap(), Seen::nothing());
    Seen::note(&path, at("2025-06-01T00:00:00Z")).unwrap();
    let seen = Seen::note(&path, at("2024-06-01T00:00:00Z")).unwrap();
    assert_eq!(seen, Seen::load(&path).unwrap());
    assert_eq!(license.standing(at("2024-06-01T00:00:00Z"), &seen), Standing::Expired);
    assert_eq!(seen.at_least(at("2024-06-01T00:00:00Z")), at("2025-06-01T00:00:00Z"));
    assert!(verify(&fixture("expired"), &roots(), seen.at_least(at("2024-06-01T00:00:00Z"))).is_err());

    fs::write(&path, "{\"format\":1").unwrap();
    let error = Seen::load(&path).unwrap_err();
    assert!(error.remedy().unwrap().0.contains("remove"), "{error}");
}

#[test]
fn an_older_license_does_not_replace_a_newer_one() {
    let [first, second] = ["sequence-1", "sequence-2"].map(|name| authenticate(&fixture(name), &roots()).unwrap());
    second.may_replace(&first).unwrap();
    second.may_replace(&second).unwrap();
    let error = first.may_replace(&second).unwrap_err();
    assert_eq!(error.to_string(), "license `SEQUENCE` has sequence 1, older than the installed 2");
    let demo = authenticate(embedded_demo(), &roots()).unwrap();
    demo.may_replace(&second).unwrap();
}

#[test]
fn a_bound_license_wants_enough_marks_of_its_machine() {
    let license = authenticate(&fixture("bound-to-machine"), &roots()).unwrap();
    let id = machine_hash(MachineFact::MachineId, "0123456789ABCDEF0123456789abcdef\n");
    let uuid = machine_hash(MachineFact::DmiUuid, "11111111-2222-3333-4444-555555555555");
    let other = machine_hash(MachineFact::FirstMac, "02:00:00:00:00:02");
    license.check_machine(&[id, other, uuid]).unwrap();
    for found in [vec![], vec![id], vec![id, id, id], vec![id, other]] {
        let error = license.check_machine(&found).unwrap_err();
        assert!(matches!(error, Error::OtherMachine { needed: 2, .. }), "{error}");
    }
    // The same text as another kind of mark is another hash.
    assert_ne!(id, machine_hash(MachineFact::DmiUuid, "0123456789abcdef0123456789abcdef"));
}

#[test]
fn an_id_is_looked_up_and_must_be_the_one_inside() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = [dir.path().join("absent"), dir.path().to_owned()];
    let put = |id: &str, bytes: &[u8]| fs::write(dir.path().join(format!("{id}.license")), bytes).unwrap();

    let eaton = find("ENTERPRISE-EATON-2025", &dirs).unwrap();
    assert_eq!(eaton.origin(), &Origin::Embedded("ENTERPRISE-EATON-2025".to_owned()));
    let entitlement = eaton.verify(&roots(), now()).unwrap();
    assert_eq!((entitlement.customer_slug().as_str(), entitlement.edition()), ("eaton", Edition::Demo));

    put("SEQUENCE", &fixture("sequence-2"));
    let found = find("SEQUENCE", &dirs).unwrap();
    assert_eq!(found.origin(), &Origin::File(dir.path().join("SEQUENCE.license")));
    assert_eq!(found.verify(&roots(), now()).unwrap().sequence(), 2);

    put("SEQUENCE", embedded_demo());
    assert!(matches!(find("SEQUENCE", &dirs).unwrap().authenticate(&roots()), Err(Error::OtherLicense { .. })));
    let by_path = dir.path().join("SEQUENCE.license");
    find(by_path.to_str().unwrap(), &[]).unwrap().verify(&roots(), now()).unwrap();

    // A broken file does not fall through to the license that comes with the program.
    put("DEMO", b"{}");
    assert!(find("DEMO", &dirs).unwrap().verify(&roots(), now()).is_err());

    let error = find("NO-SUCH", &dirs).unwrap_err();
    assert!(error.remedy().unwrap().0.contains("NO-SUCH.license"), "{error}");
    assert!(matches!(find("../etc/passwd-", &dirs), Err(Error::Read(_))));
}

#[test]
fn trust_d_adds_no_license_root() {
    // By construction: neither file that holds the roots has a way to the disk.
    for source in [include_str!("trust.rs"), include_str!("embedded.rs")] {
        for way in ["fs::", "Path", "File", "read_", "file::"] {
            assert!(!source.replace("RootFile", "").contains(way), "`{way}` in a file that holds license roots");
        }
    }
    // By trial: a root a machine's owner puts there changes nothing.
    let dir = tempfile::tempdir().unwrap();
    let layout = base::Layout::rooted(dir.path());
    fs::create_dir_all(layout.trust_dir()).unwrap();
    let key = PrivateKey::of(&base::Seed::generate().unwrap());
    let yaml = key.root("own", wide_limits()).unwrap().to_yaml().unwrap();
    fs::write(layout.trust_dir().join("own.yaml"), yaml).unwrap();
    let request = Request::parse(
        "format: 1\nlicense_id: OWN\ncustomer: A\nedition: enterprise\nvalid_days: 9\nmax_documents: 9\n",
    );
    let bytes = issue(&request.unwrap(), &key, now()).unwrap();
    assert!(matches!(verify(&bytes, &roots(), now()), Err(Error::UntrustedKey { .. })));
}

#[test]
fn no_private_key_is_in_the_tree() {
    for dir in ["licenses", "licenses/trust", "tests/fixtures/licenses"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(dir);
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            assert!(!text.contains("ed25519-seed") && !text.contains("PRIVATE KEY"), "{}", path.display());
        }
    }
}
