//! Handlers through the binary: a format nobody knows, a handler somebody writes, an approval, and what is allowed to whom.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::product::Product;

const HANDLER: &str = r#"# Messlauf: Kopf, dann Sätze aus Länge und Text
def handle(name, size):
    text(0, 4, "latin1")
    at = 4
    while at < size:
        length = integer(at, 1)
        if at + 1 + length > size:
            break
        emit({"seriennummer": text(at + 1, length, "latin1")})
        at += 1 + length
"#;

fn json(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_person_writes_a_handler_and_another_approves_it() {
    let product = Product::new();
    let folder = product.folder("files");
    let sample = folder.join("lauf.mlog");
    let numbers: String = (0..40).map(|number| format!("\u{8}SN-{:05}", 40_000 + number)).collect();
    fs::write(&sample, format!("MESS{numbers}")).unwrap();
    let source = folder.join("messlauf.py");
    fs::write(&source, HANDLER.replace("integer(at, 1)", "integer(at, 2)")).unwrap();
    let (sample, source) = (sample.to_str().unwrap(), source.to_str().unwrap());

    let wrong = product.run(&["handlers", "add", source, "--like", sample, "--name", "messlauf"]).expect(1);
    assert!(wrong.err.contains("the handler does not do") && wrong.err.contains("dry run"), "{}", wrong.err);
    fs::write(source, HANDLER).unwrap();
    let tried = product.run(&["handlers", "test", source, sample, "--json"]).expect(0);
    assert_eq!(json(&tried.out)["runs"][0]["run"]["figures"]["records"], 40);
    product.run(&["handlers", "add", source, "--like", sample, "--name", "messlauf"]).expect(0);
    let listed = product.run(&["handlers", "list"]).expect(0);
    assert!(listed.out.contains("messlauf") && listed.out.contains("waiting for approval"), "{}", listed.out);
    let shown = product.run(&["handlers", "show", "messlauf"]).expect(0);
    for what in ["Messlauf: Kopf, dann Sätze", "same result twice", "SN-40003", "def handle(name, size):"] {
        assert!(shown.out.contains(what), "{what} is not in {}", shown.out);
    }
    let digest = |text: &str| text.split_once("source sha256:").unwrap().1[..64].to_owned();
    let first = digest(&shown.out);
    assert!(shown.err.contains(&format!("0711 handlers approve messlauf --digest sha256:{first}")), "{}", shown.err);
    product.run(&["handlers", "approve", "messlauf"]).expect(2);
    product.run(&["handlers", "approve", "messlauf", "--digest", &first]).expect(0);
    let listed = json(&product.run(&["handlers", "list", "--json"]).expect(0).out);
    assert_eq!(listed["handlers"][0]["state"], "approved");
    assert!(listed["handlers"][0]["decision"]["by"].as_str().is_some_and(|by| !by.is_empty()));
    // Written anew: the approved one stays in force until somebody has seen the other.
    fs::write(source, HANDLER.replace("# Messlauf:", "# Messlauf, neu:")).unwrap();
    let added = product.run(&["handlers", "add", source, "--like", sample, "--name", "messlauf"]).expect(0);
    assert!(added.out.contains("waiting for approval"), "{}", added.out);
    let listed = json(&product.run(&["handlers", "list", "--json"]).expect(0).out);
    let states: Vec<_> = listed["handlers"].as_array().unwrap().iter().map(|entry| &entry["state"]).collect();
    assert_eq!(states, ["approved", "waiting"]);
    let shown = product.run(&["handlers", "show", "messlauf"]).expect(0);
    assert!(shown.out.contains("stays in force until"), "{}", shown.out);
    let stale = product.run(&["handlers", "approve", "messlauf", "--digest", &first]).expect(2);
    assert!(stale.err.contains("another source") && stale.err.contains("0711 handlers show messlauf"), "{}", stale.err);
    product.run(&["handlers", "approve", "messlauf", "--digest", &digest(&shown.out)]).expect(0);
    product.run(&["handlers", "reject", "messlauf"]).expect(0);
    let listed = json(&product.run(&["handlers", "list", "--json"]).expect(0).out);
    assert_eq!(
        (listed["handlers"].as_array().unwrap().len(), &listed["handlers"][0]["state"]),
        (1, &"rejected".into())
    );
    assert!(
        product
            .run(&["handlers", "approve", "fehlt", "--digest", &first])
            .expect(2)
            .err
            .contains("there is no handler `fehlt`")
    );
    let recorded = product.run(&["audit", "show"]).expect(0).out;
    for what in ["handler messlauf added", "approve", "handler messlauf"] {
        assert!(recorded.contains(what), "{what} is not in {recorded}");
    }
}

#[test]
fn nothing_is_sent_to_a_model_nobody_allowed() {
    let product = Product::new();
    let folder = product.folder("files");
    let shown = product.run(&["handlers", "configure"]).expect(0).out;
    assert!(shown.contains("a person approves") && shown.contains("Claude gets nothing"), "{shown}");
    let key = folder.join("claude.key");
    fs::write(&key, "sk-ant-api03-geheim\n").unwrap();
    let allow = |more: &[&str]| {
        let mut arguments = vec!["handlers", "enable-claude", "--key-file", key.to_str().unwrap()];
        arguments.extend(more);
        product.run(&arguments)
    };
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(allow(&["--yes"]).expect(1).err.contains("may be read by others"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(allow(&["--yes", "--base-url", "http://api.anthropic.com"]).expect(2).err.contains("not encrypted"));
    let allowed = allow(&["--yes"]).expect(0);
    assert!(allowed.out.contains("at most 16384 bytes would be sent"), "{}", allowed.out);
    let shown = product.run(&["handlers", "configure"]).expect(0).out;
    assert!(shown.contains("Claude may get samples") && !shown.contains("geheim"), "{shown}");
    product.run(&["handlers", "disable-claude"]).expect(0);
    assert!(product.run(&["handlers", "configure"]).expect(0).out.contains("Claude gets nothing"));
    assert!(product.run(&["handlers", "pending"]).expect(0).out.contains("no file waits"));
    assert!(product.run(&["handlers", "write"]).expect(0).out.contains("no file waits"));
    product.run(&["handlers", "write", "binary-x-00000000"]).expect(2);
    assert!(product.run(&["handlers", "contract"]).expect(0).out.contains("packed(offset, length, scale=0)"));
}
