//! The attacks of the specification's list (1.5.2), by name.

use super::*;

#[tokio::test]
async fn rollback_of_the_timestamp() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    let old = repository.get("metadata/timestamp.json");
    repository.next();
    customer.refresh(&server).await.unwrap();
    repository.put("metadata/timestamp.json", &old);
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(matches!(refused, Error::Older { offered: 1, trusted: 2, .. }), "{refused}");
    assert_eq!((customer.kept("timestamp"), customer.kept("snapshot")), (Some(2), Some(2)));
}

#[tokio::test]
async fn rollback_of_the_snapshot() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    repository.next();
    customer.refresh(&server).await.unwrap();
    // A newer timestamp that names the older snapshot: the timestamp's key was stolen.
    repository.of("snapshot")["version"] = json!(1);
    repository.bump("timestamp");
    repository.list_snapshot();
    repository.emit("timestamp");
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(matches!(&refused, Error::Older { file, .. } if file == "snapshot.json"), "{refused}");
    assert_eq!((customer.kept("timestamp"), customer.kept("snapshot")), (Some(2), Some(2)));
}

#[tokio::test]
async fn rollback_of_the_targets() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    repository.next();
    customer.refresh(&server).await.unwrap();
    // The keys of timestamp and snapshot were stolen; those of targets were not.
    repository.of("targets")["version"] = json!(1);
    repository.bump("snapshot");
    repository.bump("timestamp");
    repository.release();
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(matches!(&refused, Error::Older { file, offered: 1, trusted: 2 } if file == "targets.json"), "{refused}");
    assert_eq!((customer.kept("snapshot"), customer.kept("targets")), (Some(2), Some(2)));
    // Nor may the file be named no more.
    repository.of("snapshot")["meta"] = json!({"targets.json": {"version": 3}, "other.json": {"version": 1}});
    repository.of("targets")["version"] = json!(3);
    repository.emit("targets");
    repository.bump("snapshot");
    repository.emit("snapshot");
    repository.bump("timestamp");
    repository.list_snapshot();
    repository.emit("timestamp");
    customer.refresh(&server).await.unwrap();
    repository.of("snapshot")["meta"].as_object_mut().unwrap().remove("other.json");
    repository.next();
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(refused.to_string().contains("names `other.json` no more"), "{refused}");
}

#[tokio::test]
async fn rollback_of_the_root() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    repository.bump("root");
    repository.emit("root");
    assert_eq!(customer.refresh(&server).await.unwrap()[0], 2);
    // As the third root the second is sent again, then the first, then one from the future.
    for (version, is_older) in [(2, true), (1, true), (4, false)] {
        repository.of("root")["version"] = json!(version);
        let again = repository.sign("root", &repository.keys["root"]);
        repository.put("metadata/3.root.json", &again);
        let refused = customer.refresh(&server).await.unwrap_err();
        assert_eq!(matches!(refused, Error::Older { .. }), is_older, "{refused}");
        assert_eq!(customer.kept("root"), Some(2));
    }
}

#[tokio::test]
async fn freeze() {
    let repository = Repository::new();
    let (server, mut customer) = (repository.serve(), Customer::of(&repository));
    customer.refresh(&server).await.unwrap();
    // The same, properly signed, for ever.
    customer.now = now().plus_days(31);
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(matches!(refused, Error::Expired { .. }), "{refused}");
    // Where nothing newer can be had, it still proves what it signs.
    customer.on_expiry = OnExpiry::Accept;
    customer.refresh(&server).await.unwrap();
}

#[tokio::test]
async fn freeze_of_each_role() {
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let mut repository = Repository::new();
        let (server, customer) = (repository.serve(), Customer::of(&repository));
        customer.refresh(&server).await.unwrap();
        repository.of(role)["expires"] = json!("2026-11-22T09:59:59Z");
        if role == "root" {
            repository.bump("root");
            repository.emit("root");
        }
        repository.next();
        let refused = customer.refresh(&server).await.unwrap_err();
        assert!(matches!(&refused, Error::Expired { file, .. } if file.starts_with(role)), "{role}: {refused}");
        // An expired root is kept, so that the next one can follow it; anything else that expired is not.
        assert_eq!(customer.kept(role), Some(if role == "root" { 2 } else { 1 }), "{role}");
    }
}

#[tokio::test]
async fn clock_set_back() {
    let repository = Repository::new();
    let (server, mut customer) = (repository.serve(), Customer::of(&repository));
    customer.now = now().plus_days(31);
    assert!(matches!(customer.refresh(&server).await, Err(Error::Expired { .. })));
    customer.now = now();
    match customer.refresh(&server).await.unwrap_err() {
        Error::Expired { now: governing, .. } => assert_eq!(governing, now().plus_days(31)),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn fast_forward_and_recovery_from_it() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    customer.refresh(&server).await.unwrap();
    // With stolen keys the numbers are raised as far as they go.
    for role in ["targets", "snapshot", "timestamp"] {
        repository.of(role)["version"] = json!(u64::MAX);
    }
    repository.release();
    assert_eq!(customer.refresh(&server).await.unwrap(), [1, u64::MAX, u64::MAX, u64::MAX]);
    // The vendor goes on where it was: refused, as long as the keys are the same.
    for role in ["targets", "snapshot", "timestamp"] {
        repository.of(role)["version"] = json!(2);
    }
    repository.release();
    assert!(matches!(customer.refresh(&server).await, Err(Error::Older { .. })));
    // A new root with other keys for timestamp and snapshot makes the numbers forgotten.
    repository.allow("timestamp", &[key(12)], 1);
    repository.allow("snapshot", &[key(13)], 1);
    repository.bump("root");
    repository.emit("root");
    repository.release();
    assert_eq!(customer.refresh(&server).await.unwrap(), [2, 2, 2, 2]);
}

/// The specification forgets both when the keys of either are changed; a crash in between must not lose that.
#[tokio::test]
async fn recovery_survives_a_crash_at_every_step() {
    for crash in ["before the root", "after the root", "half removed"] {
        let mut repository = Repository::new();
        let (server, customer) = (repository.serve(), Customer::of(&repository));
        for role in ["snapshot", "timestamp"] {
            repository.of(role)["version"] = json!(u64::MAX);
        }
        repository.release();
        customer.refresh(&server).await.unwrap();
        repository.allow("snapshot", &[key(13)], 1);
        repository.bump("root");
        repository.emit("root");
        // The timestamp's key is the same, and so its kept metadata still proves itself.
        for role in ["snapshot", "timestamp"] {
            repository.of(role)["version"] = json!(2);
        }
        repository.release();
        // What a process that died there had written.
        std::fs::write(customer.path("rotated"), "2").unwrap();
        if crash != "before the root" {
            for name in ["roots/2.root.json", "root.json"] {
                std::fs::write(customer.path(name), repository.get("metadata/2.root.json")).unwrap();
            }
        }
        if crash == "half removed" {
            std::fs::remove_file(customer.path("timestamp.json")).unwrap();
        }
        assert_eq!(customer.refresh(&server).await.unwrap(), [2, 2, 2, 1], "{crash}");
        assert!(!customer.path("rotated").exists());
    }
}

#[tokio::test]
async fn mix_and_match() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    customer.refresh(&server).await.unwrap();
    let (snapshot, targets) = (repository.get("metadata/1.snapshot.json"), repository.get("metadata/1.targets.json"));
    repository.add_target("release.json", b"release 2");
    repository.next();
    let (new_snapshot, new_targets) =
        (repository.get("metadata/2.snapshot.json"), repository.get("metadata/2.targets.json"));
    // Properly signed files of another release under the names of this one.
    repository.put("metadata/2.snapshot.json", &snapshot);
    assert!(matches!(customer.refresh(&server).await, Err(Error::Refused { .. })));
    repository.put("metadata/2.snapshot.json", &new_snapshot);
    repository.put("metadata/2.targets.json", &targets);
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(refused.to_string().contains("it has version 1, not 2"), "{refused}");
    // A timestamp in the place of a snapshot: the same form, and the vendor's own signature.
    repository.keys.insert("snapshot".to_owned(), repository.keys["timestamp"].clone());
    repository.put("metadata/2.targets.json", &new_targets);
    assert_eq!(customer.refresh(&server).await.unwrap(), [1, 2, 2, 2]);
    repository.allow("snapshot", &[key(2)], 1);
    repository.bump("root");
    repository.emit("root");
    repository.put("metadata/2.snapshot.json", &repository.get("metadata/timestamp.json"));
    repository.of("timestamp")["meta"] = json!({"snapshot.json": {"version": 2}});
    repository.bump("timestamp");
    repository.emit("timestamp");
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(refused.to_string().contains("it is `timestamp`, not `snapshot`"), "{refused}");
}

#[tokio::test]
async fn endless_data() {
    for path in ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let mut repository = Repository::new();
        repository.put("metadata/2.root.json", b"");
        if path == "1.snapshot.json" {
            // A stolen key may sign any length: it widens nothing.
            repository.of("timestamp")["meta"] = json!({"snapshot.json": {"version": 1, "length": u64::MAX}});
            repository.emit("timestamp");
        }
        let mut customer = Customer::of(&repository);
        customer.limits = Limits {
            root_bytes: 20_000,
            timestamp_bytes: 20_000,
            snapshot_bytes: 20_000,
            targets_bytes: 20_000,
            ..customer.limits
        };
        if path != "2.root.json" {
            repository.withdraw("metadata/2.root.json");
        }
        let server = repository.serve_with(move |asked| match asked.ends_with(path) {
            true => Answer::Endless,
            false => Answer::Well,
        });
        let refused = customer.refresh(&server).await.unwrap_err();
        assert!(refused.to_string().contains("more than"), "{path}: {refused}");
        let taken = server.asked().iter().filter(|asked| asked.path.ends_with(path)).count();
        assert_eq!(taken, 1, "{path} was asked again");
        // What the kernel keeps between the two may be on its way: some megabytes, never more.
        assert!(server.sent_bytes() < 16 << 20, "{path}: {}", server.sent_bytes());
    }
}

#[tokio::test]
async fn slow_retrieval() {
    let repository = Repository::new();
    let customer = Customer::of(&repository);
    let server = repository.serve_with(|asked| match asked.ends_with("timestamp.json") {
        true => Answer::Drip(1, Duration::from_millis(50)),
        false => Answer::Well,
    });
    let begun = std::time::Instant::now();
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(server.asked().iter().filter(|asked| asked.path.ends_with("timestamp.json")).count(), 2);
}

/// A server that cannot answer is no repository without a newer root.
#[tokio::test]
async fn a_failing_server_does_not_hide_a_root() {
    let mut repository = Repository::new();
    let customer = Customer::of(&repository);
    repository.bump("root");
    repository.emit("root");
    let server = repository.serve_with(|asked| match asked.ends_with("2.root.json") {
        true => Answer::Status("503 Service Unavailable"),
        false => Answer::Well,
    });
    assert!(matches!(customer.refresh(&server).await, Err(Error::Unavailable { .. })));
    let server = Server::start(
        {
            let files = repository.files();
            move |path| files.get(path).cloned()
        },
        move |index, _| match index {
            1 => Answer::Cut(10),
            _ => Answer::Well,
        },
    );
    assert_eq!(customer.refresh(&server).await.unwrap()[0], 2, "a cut line is tried again");
}

#[tokio::test]
async fn arbitrary_software() {
    let repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    let path = format!("targets/{}.release.json", Digest::of(b"release 1").hex());
    for (bytes, reason) in [
        (b"malware 1".as_slice(), "its sha256 is"),
        (b"release 1 and more", "more than 9 bytes"),
        (b"release", "it has 7 bytes, not 9"),
    ] {
        repository.put(&path, bytes);
        let refused = customer.read(&server, "release.json").await.unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }) && refused.to_string().contains(reason), "{refused}");
    }
    repository.withdraw(&path);
    assert!(customer.read(&server, "release.json").await.is_err());
    assert!(customer.read(&server, "other.json").await.unwrap_err().to_string().contains("nobody names it"));
}

#[tokio::test]
async fn a_damaged_store_is_no_fresh_start() {
    for name in ["root.json", "timestamp.json", "snapshot.json", "seen"] {
        let repository = Repository::new();
        let (server, customer) = (repository.serve(), Customer::of(&repository));
        customer.refresh(&server).await.unwrap();
        let bytes = std::fs::read(customer.path(name)).unwrap();
        std::fs::write(customer.path(name), &bytes[..bytes.len() / 2]).unwrap();
        let refused = customer.refresh(&server).await.unwrap_err();
        assert!(matches!(refused, Error::Damaged { .. } | Error::Seen(_)), "{name}: {refused}");
    }
}

#[tokio::test]
async fn another_timestamp_of_the_same_version_changes_nothing() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    customer.refresh(&server).await.unwrap();
    let kept = std::fs::read(customer.path("timestamp.json")).unwrap();
    repository.of("timestamp")["meta"] = json!({"snapshot.json": {"version": 100}});
    repository.emit("timestamp");
    assert_eq!(customer.refresh(&server).await.unwrap(), [1, 1, 1, 1]);
    assert_eq!(std::fs::read(customer.path("timestamp.json")).unwrap(), kept);
}
