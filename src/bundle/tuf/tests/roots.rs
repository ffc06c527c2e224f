//! Keys: how many, whose, and how they are replaced.

use super::*;

#[tokio::test]
async fn rotation_over_five_roots_at_once() {
    let mut repository = Repository::new();
    let (server, mut customer) = (repository.serve(), Customer::of(&repository));
    for number in 0..4 {
        let old = repository.keys["root"].clone();
        repository.allow("root", &[key(20 + number)], 1);
        repository.allow("timestamp", &[key(30 + number)], 1);
        repository.bump("root");
        let both = [old, vec![key(20 + number)]].concat();
        let bytes = repository.sign("root", &both);
        repository.put(&repository.path("root"), &bytes);
    }
    repository.next();
    // The number of roots in one refresh is bounded; the next one goes on.
    customer.limits.roots = 3;
    assert!(customer.refresh(&server).await.is_err());
    assert_eq!(customer.kept("root"), Some(4));
    assert_eq!(customer.refresh(&server).await.unwrap(), [5, 2, 2, 2]);
    let fresh = Customer::of(&repository);
    assert_eq!(fresh.refresh(&server).await.unwrap(), [5, 2, 2, 2]);
    for version in 1..=5 {
        assert!(fresh.path(&format!("roots/{version}.root.json")).exists(), "{version}");
    }
}

#[tokio::test]
async fn a_missing_root_between_ends_the_way() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    for number in 0..3 {
        repository.allow("timestamp", &[key(30 + number)], 1);
        repository.bump("root");
        repository.emit("root");
    }
    repository.next();
    repository.withdraw("metadata/3.root.json");
    // The second root does not know the newest keys: what they signed proves nothing.
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused { file, .. } if file == "timestamp.json"), "{refused}");
    assert_eq!(customer.kept("root"), Some(2));
}

#[tokio::test]
async fn a_root_signed_only_by_its_own_keys_or_only_by_the_old_ones() {
    for signers in [[21], [1]] {
        let mut repository = Repository::new();
        let (server, customer) = (repository.serve(), Customer::of(&repository));
        repository.allow("root", &[key(21)], 1);
        repository.bump("root");
        repository.put("metadata/2.root.json", &repository.sign("root", &signers.map(key)));
        let refused = customer.refresh(&server).await.unwrap_err();
        assert!(refused.to_string().contains("0 of the 1 signatures it needs hold"), "{refused}");
        assert_eq!(customer.kept("root"), None, "nothing was proven yet");
        repository.put("metadata/2.root.json", &repository.sign("root", &[key(21), key(1)]));
        assert_eq!(customer.refresh(&server).await.unwrap()[0], 2);
    }
}

#[tokio::test]
async fn key_compromise_below_the_threshold() {
    let mut repository = Repository::new();
    let server = repository.serve();
    repository.allow("root", &[1, 21, 22].map(key), 2);
    repository.allow("targets", &[4, 41, 42].map(key), 2);
    repository.put("metadata/1.root.json", &repository.sign("root", &[key(1), key(21)]));
    repository.release();
    let customer = Customer::of(&repository);
    customer.refresh(&server).await.unwrap();
    // One stolen key of three, and strangers' beside it.
    repository.bump("root");
    repository.put("metadata/2.root.json", &repository.sign("root", &[22, 98, 99].map(key)));
    assert!(matches!(customer.refresh(&server).await, Err(Error::Refused { .. })));
    repository.withdraw("metadata/2.root.json");
    repository.add_target("release.json", b"malware");
    repository.next();
    repository.put("metadata/2.targets.json", &repository.sign("targets", &[42, 98, 99].map(key)));
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(refused.to_string().contains("1 of the 2 signatures it needs hold"), "{refused}");
    assert_eq!(customer.kept("targets"), Some(1));
}

#[tokio::test]
async fn signatures_of_one_key_count_once() {
    let mut repository = Repository::new();
    let server = repository.serve();
    repository.allow("targets", &[4, 41].map(key), 2);
    repository.put("metadata/1.root.json", &repository.sign("root", &[key(1)]));
    let customer = Customer::of(&repository);
    let needs_two = |refused: Error| assert!(refused.to_string().contains("1 of the 2 signatures"), "{refused}");
    // The same signature twice.
    repository.release();
    repository.put("metadata/1.targets.json", &repository.sign("targets", &[4, 4].map(key)));
    needs_two(customer.refresh(&server).await.unwrap_err());
    // The signature of one key under the name of the other.
    let mut forged: Value = serde_json::from_slice(&repository.sign("targets", &[4, 4].map(key))).unwrap();
    forged["signatures"][1]["keyid"] = json!(key_id(&key(41)));
    repository.put("metadata/1.targets.json", &serde_json::to_vec(&forged).unwrap());
    needs_two(customer.refresh(&server).await.unwrap_err());
    repository.put("metadata/1.targets.json", &repository.sign("targets", &[4, 41].map(key)));
    customer.refresh(&server).await.unwrap();
}

/// A root may list one key under two names; it is still one key.
#[tokio::test]
async fn one_key_of_two_names_counts_once() {
    let mut repository = Repository::new();
    let server = repository.serve();
    let names = [key_id(&key(4)), "another-name".to_owned()];
    repository.of("root")["keys"][&names[1]] = key_file(&key(4));
    repository.of("root")["roles"]["targets"] = json!({"keyids": names, "threshold": 2});
    repository.put("metadata/1.root.json", &repository.sign("root", &[key(1)]));
    let mut signed: Value = serde_json::from_slice(&repository.sign("targets", &[4, 4].map(key))).unwrap();
    signed["signatures"][1]["keyid"] = json!(names[1]);
    repository.put("metadata/1.targets.json", &serde_json::to_vec(&signed).unwrap());
    let refused = Customer::of(&repository).refresh(&server).await.unwrap_err();
    assert!(refused.to_string().contains("1 of the 2 signatures"), "{refused}");
}

#[tokio::test]
async fn a_signature_of_another_role_proves_nothing() {
    let repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    // Timestamp, snapshot and root keys are known to the root, and still may not sign targets.
    repository.put("metadata/1.targets.json", &repository.sign("targets", &[1, 2, 3].map(key)));
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(refused.to_string().contains("0 of the 1"), "{refused}");
}

#[tokio::test]
async fn what_is_no_trusted_root_asks_nothing() {
    let repository = Repository::new();
    let server = repository.serve();
    let mut customer = Customer::of(&repository);
    let sound: Value = serde_json::from_slice(&customer.root).unwrap();
    let spoil: [fn(&mut Value); 7] = [
        |root| drop(root["signed"].as_object_mut().unwrap().remove("version")),
        |root| root["signatures"] = json!([]),
        |root| root["signed"]["version"] = json!(0),
        |root| root["signed"]["_type"] = json!("targets"),
        |root| root["signed"]["spec_version"] = json!("2.0"),
        |root| root["signed"]["roles"]["root"]["threshold"] = json!(0),
        |root| drop(root["signed"]["roles"].as_object_mut().unwrap().remove("snapshot")),
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut root = sound.clone();
        spoil(&mut root);
        customer.root = serde_json::to_vec(&root).unwrap();
        assert!(matches!(customer.refresh(&server).await, Err(Error::TrustedRoot { .. })), "{index}");
    }
    assert!(server.asked().is_empty());
}

/// Keys of small order verify signatures nobody made; a lax reader takes them.
#[test]
fn a_weak_key_is_no_key() {
    let weak =
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "01".to_owned() + &"00".repeat(31)}});
    let file: format::KeyFile = serde_json::from_value(weak).unwrap();
    assert_eq!(key::Key::of(&file), key::Key::Unknown);
    assert_ne!(key::Key::of(&serde_json::from_value(key_file(&key(1))).unwrap()), key::Key::Unknown);
}
