//! Delegations: who is asked for a target, in which order, and who may not be.

use super::*;

struct Delegated {
    by: &'static str,
    name: &'static str,
    paths: &'static [&'static str],
    terminating: bool,
}

fn to(by: &'static str, name: &'static str) -> Delegated {
    Delegated { by, name, paths: &["*"], terminating: false }
}

/// A repository whose roles delegate; every delegated role has a target of its name and the key 50.
fn tree(delegations: &[Delegated]) -> Repository {
    let mut repository = Repository::new();
    for Delegated { by, name, paths, terminating } in delegations {
        if !repository.signed.contains_key(*name) {
            let value =
                json!({"_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": SOON, "targets": {}});
            repository.signed.insert((*name).to_owned(), value);
            repository.keys.insert((*name).to_owned(), vec![key(50)]);
        }
        let delegator = &mut repository.of(by)["delegations"];
        delegator["keys"][key_id(&key(50))] = key_file(&key(50));
        if delegator["roles"].is_null() {
            delegator["roles"] = json!([]);
        }
        let role = json!({"name": name, "keyids": [key_id(&key(50))], "threshold": 1, "terminating": terminating, "paths": paths});
        delegator["roles"].as_array_mut().unwrap().push(role);
        repository.of("snapshot")["meta"][format!("{name}.json")] = json!({"version": 1});
    }
    let names: Vec<String> =
        repository.signed.keys().filter(|name| !metadata::TOP.contains(&name.as_str())).cloned().collect();
    for name in names {
        let bytes = repository.sign(&name, &[key(50)]);
        repository.put(&format!("metadata/1.{}.json", files::quoted(&name)), &bytes);
    }
    repository.release();
    repository
}

/// The delegated roles that are asked for a target nobody has.
async fn asked(delegations: &[Delegated]) -> Vec<String> {
    let repository = tree(delegations);
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    let refused = customer.read(&server, "missing.txt").await.unwrap_err();
    assert!(refused.to_string().contains("nobody names it"), "{refused}");
    let name = |path: String| Some(path.strip_prefix("metadata/1.")?.strip_suffix(".json")?.to_owned());
    server.paths().into_iter().filter_map(name).filter(|name| !metadata::TOP.contains(&name.as_str())).collect()
}

#[tokio::test]
async fn depth_first_in_the_order_of_the_delegator() {
    assert_eq!(
        asked(&[to("targets", "A"), to("targets", "B"), to("A", "C"), to("C", "D")]).await,
        ["A", "C", "D", "B"]
    );
    let cycle = [to("targets", "A"), to("targets", "B"), to("B", "C"), to("C", "D"), to("D", "B")];
    assert_eq!(asked(&cycle).await, ["A", "B", "C", "D"]);
    let last = Delegated { terminating: true, ..to("A", "C") };
    assert_eq!(asked(&[to("targets", "A"), to("targets", "B"), last, to("A", "D")]).await, ["A", "C"]);
    let other = Delegated { paths: &["*.py"], ..to("targets", "A") };
    assert_eq!(asked(&[other, to("targets", "B"), to("A", "C")]).await, ["B"]);
}

#[tokio::test]
async fn names_stay_within_the_address_and_the_folder() {
    for (name, quoted) in [("../x", "..%2Fx"), ("/x", "%2Fx"), ("?", "%3F"), ("#", "%23")] {
        let repository = tree(&[to("targets", name)]);
        let (server, customer) = (repository.serve(), Customer::of(&repository));
        assert!(customer.read(&server, "missing.txt").await.is_err());
        assert!(server.paths().contains(&format!("metadata/1.{quoted}.json")), "{name}");
        assert!(customer.path(&format!("{quoted}.json")).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_delegated_role_is_never_called_like_a_top_level_one() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    let role =
        json!({"name": "root", "keyids": [key_id(&key(50))], "threshold": 1, "terminating": false, "paths": ["*"]});
    repository.of("targets")["delegations"] = json!({"keys": {key_id(&key(50)): key_file(&key(50))}, "roles": [role]});
    repository.next();
    let refused = customer.refresh(&server).await.unwrap_err();
    assert!(refused.to_string().contains("`root` is no name for a delegated role"), "{refused}");
    assert_eq!(customer.kept("root"), Some(1));
}

#[tokio::test]
async fn a_delegated_role_proves_what_it_may_name() {
    let mut repository = tree(&[Delegated { paths: &["docs/*"], ..to("targets", "A") }]);
    let bytes = b"manual";
    let target = json!({"length": bytes.len(), "hashes": {"sha256": Digest::of(bytes).hex()}});
    repository.of("A")["targets"] = json!({"docs/a": target, "bin/a": target});
    for path in ["docs", "bin"] {
        repository.put(&format!("targets/{path}/{}.a", Digest::of(bytes).hex()), bytes);
    }
    repository.put("metadata/1.A.json", &repository.sign("A", &[key(50)]));
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    assert_eq!(customer.read(&server, "docs/a").await.unwrap(), bytes);
    assert!(customer.read(&server, "bin/a").await.is_err(), "it may not name this");
    repository.put("metadata/1.A.json", &repository.sign("A", &[key(51)]));
    assert!(Customer::of(&repository).read(&server, "docs/a").await.is_err(), "another key signed");
}

#[tokio::test]
async fn a_repository_cannot_send_a_client_round_for_ever() {
    const NAMES: [&str; 5] = ["A", "B", "C", "D", "E"];
    let repository = tree(&NAMES.map(|name| to("targets", name)));
    let (server, mut customer) = (repository.serve(), Customer::of(&repository));
    customer.limits.delegations = 3;
    let refused = customer.read(&server, "missing.txt").await.unwrap_err();
    assert!(refused.to_string().contains("more than 3 roles"), "{refused}");
}
