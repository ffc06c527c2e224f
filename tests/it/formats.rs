//! Files as earlier versions wrote them, opened by this one; files of a newer version, refused by the number they begin with.
//!
//! `tests/fixtures/formats/VERSION/` is the root of an installation, without what is large, secret or made again. Before a release,
//! `ZERO711_WRITE_FORMATS=1 cargo test --workspace --test it formats::write` adds what its version writes; what is there is never changed.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use base::{CustomerLayout, Digest, Layout, Seen, Slug, Timestamp};
use lake::{EmbedSpec, Lake};
use serde_json::{Value, json};
use update::{Attempt, CustomerAttempt, Policy, Record, Score, Settings, Stage, State};

use crate::product::{checkout, run};

const SLUG: &str = "kessler-klemmtechnik-gmbh";

/// A copy of what a version wrote: whoever opens a lake writes to it.
struct Copy {
    layout: Layout,
    customer: CustomerLayout,
    _dir: tempfile::TempDir,
}

impl Copy {
    fn of(version: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(version, &dir.path().join("root"));
        let layout = Layout::rooted(dir.path().join("root"));
        Self { customer: layout.customer(&Slug::parse(SLUG).unwrap()), layout, _dir: dir }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => _ = fs::copy(entry.path(), to).unwrap(),
        }
    }
}

fn versions() -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(checkout("tests/fixtures/formats")).unwrap().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

async fn lake(customer: &CustomerLayout) -> Result<Lake, Box<dyn Error>> {
    let config = stack::service_config(customer)?;
    let spec = EmbedSpec { dimension: config.dimension(), model: config.embed_model.digest };
    Ok(Lake::open(customer, spec).await?)
}

fn blocking<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

#[test]
fn files_of_every_version_are_read() {
    let versions = versions();
    assert!(!versions.is_empty());
    for version in versions {
        let Copy { layout, customer, _dir } = Copy::of(&version);
        let name = version.file_name().unwrap().to_str().unwrap().to_owned();
        let answers = plan::Answers::from_yaml(&fs::read_to_string(customer.answers()).unwrap()).unwrap();
        assert_eq!(answers.slug().unwrap().as_str(), SLUG, "{name}");
        assert_eq!(stack::service_config(&customer).unwrap().slug.as_str(), SLUG, "{name}");
        let plan = install::read_plan(&customer).unwrap().unwrap();
        let receipt = install::read_receipt(&customer).unwrap().unwrap();
        assert_eq!((receipt.version.as_str(), receipt.plan), (name.as_str(), plan.digest()), "{name}");
        let journal = plan::journal::read(&fs::read(customer.journal()).unwrap()).unwrap();
        assert_eq!((journal.state.plan(), journal.state.receipt()), (Some(plan.digest()), Some(receipt.digest())));
        assert_eq!(install::read_slots(&layout).unwrap().slots.len(), 1, "{name}");
        license::load_installed(&customer.license(), &license::embedded_roots().unwrap()).unwrap();
        assert_ne!(Seen::load(&customer.seen()).unwrap(), Seen::nothing(), "{name}");
        let adapters = train::Registry::open(&customer.loras()).unwrap();
        let entry = &adapters.versions()[0];
        let file = fs::read(adapters.dir(&entry.name).unwrap().join("version.json")).unwrap();
        let file: train::VersionFile = serde_json::from_slice(&file).unwrap();
        assert_eq!(file.version, entry.name, "{name}");
        let record = Record::new(&layout);
        assert_eq!(record.settings().unwrap().policy, Policy::Approve, "{name}");
        let state = record.state().unwrap();
        assert!(state.held.len() == 1 && state.attempt.unwrap().stage == Stage::RolledBack, "{name}");
        assert_eq!(record.history().unwrap().len(), 1, "{name}");
        for log in [audit::Log::host(&layout), audit::Log::customer(&customer)] {
            let verdict = audit::verify(&log, &Default::default(), &[]).unwrap();
            assert!(verdict.is_intact() && verdict.records > 0, "{name}: {verdict:?}");
        }
        blocking(async {
            let lake = lake(&customer).await.unwrap();
            let documents = lake.documents();
            assert_eq!(documents.len() as u64, receipt.documents, "{name}");
            assert!(!lake.chunks_of(&documents[0].id).await.unwrap().is_empty(), "{name}");
            assert_eq!(lake.interactions(0).await.unwrap().len(), 1, "{name}");
            // What version 1 did not have is there and empty, and the next commit goes on from it.
            assert_eq!(lake.check().await.unwrap().faults, [""; 0], "{name}");
            assert!(lake.sql_tables().await.unwrap().iter().any(|table| table.name == "edges"), "{name}");
            let remove = vec![documents[0].id.clone()];
            lake.commit(lake::Commit { remove, ..lake::Commit::default() }).await.unwrap();
            drop(lake);
            let lake = self::lake(&customer).await.unwrap();
            assert_eq!(lake.documents().len(), documents.len() - 1, "{name}");
            assert_eq!(lake.check().await.unwrap().faults, [""; 0], "{name}");
        });
    }
}

/// As a newer program would write it: another number, and a field nobody here knows.
fn newer(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let ending = path.extension().unwrap_or_default();
    let text = if ending == "json" {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        (value["format"], value["newer"]) = (json!(2), json!({ "known": false }));
        value.to_string()
    } else if ending == "yaml" {
        text.replacen("format: 1", "format: 2", 1) + "newer: {known: false}\n"
    } else {
        text.replacen("\"format\":1", "\"format\":2", 1)
    };
    assert!(text.contains('2'), "`{}` has no format", path.display());
    fs::write(path, text).unwrap();
}

/// Where a file is, and who reads it.
type Case = (fn(&Copy) -> PathBuf, fn(&Copy) -> Result<(), Box<dyn Error>>);

#[test]
fn files_of_a_newer_version_are_refused_by_their_number() {
    let cases: [Case; 11] = [
        (
            |here| here.customer.answers(),
            |here| Ok(plan::Answers::from_yaml(&fs::read_to_string(here.customer.answers())?).map(drop)?),
        ),
        (|here| here.customer.config(), |here| Ok(stack::service_config(&here.customer).map(drop)?)),
        (|here| here.customer.plan(), |here| Ok(install::read_plan(&here.customer).map(drop)?)),
        (|here| here.customer.receipt(), |here| Ok(install::read_receipt(&here.customer).map(drop)?)),
        (
            |here| here.customer.journal(),
            |here| Ok(plan::journal::read(&fs::read(here.customer.journal())?).map(drop)?),
        ),
        (|here| here.layout.slots_file(), |here| Ok(install::read_slots(&here.layout).map(drop)?)),
        (
            |here| here.customer.loras().join("registry.json"),
            |here| Ok(train::Registry::open(&here.customer.loras()).map(drop)?),
        ),
        (|here| here.layout.update_settings(), |here| Ok(Record::new(&here.layout).settings().map(drop)?)),
        (|here| here.layout.update_state(), |here| Ok(Record::new(&here.layout).state().map(drop)?)),
        (
            |here| here.customer.audit().join("audit-000001.jsonl"),
            |here| Ok(audit::verify(&audit::Log::customer(&here.customer), &Default::default(), &[]).map(drop)?),
        ),
        (
            |here| first_file(&here.customer.lakehouse().join("journal")),
            |here| blocking(lake(&here.customer)).map(drop),
        ),
    ];
    let versions = versions();
    for (path, read) in cases {
        let here = Copy::of(versions.last().unwrap());
        let path = path(&here);
        newer(&path);
        let mut said = Vec::new();
        let refused = read(&here).unwrap_err();
        let mut cause: Option<&dyn Error> = Some(&*refused);
        while let Some(error) = cause {
            said.push(error.to_string());
            cause = error.source();
        }
        let said = said.join(": ");
        let names_it = ["format 2", "format is 2"].iter().any(|words| said.contains(words));
        assert!(names_it, "`{}`: {said}", path.display());
    }
}

fn first_file(dir: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.remove(0)
}

/// Installs below a path any customer could have, learns a document, and keeps what is small.
#[test]
fn write_what_this_version_leaves() {
    if std::env::var_os("ZERO711_WRITE_FORMATS").is_none() {
        return;
    }
    let to = checkout("tests/fixtures/formats").join(env!("CARGO_PKG_VERSION"));
    assert!(!to.exists(), "`{}` is there already", to.display());
    let (root, share) = (Path::new("/srv/brain"), Path::new("/srv/share"));
    assert!(!root.exists() && !share.exists(), "/srv is in use");
    let sheet = "tests/fixtures/share/Datenblätter/Datenblatt_KX-10_Durchgangsklemme.md";
    fs::create_dir_all(share).unwrap();
    fs::copy(checkout(sheet), share.join("KX-10.md")).unwrap();
    let install = ["install", "--customer", "Kessler Klemmtechnik GmbH", "--license", "DEMO", "--folder", "/srv/share"];
    run(install.into_iter().chain(["--training-minutes", "0", "--root", "/srv/brain", "--yes"])).expect(0);
    run(["ask", "Welchen Bemessungsstrom hat die KX 10?", "--root", "/srv/brain"]).expect(0);
    let layout = Layout::rooted(root);
    write_adapter(&layout.customer(&Slug::parse(SLUG).unwrap()));
    write_update(&layout);
    let kept = [
        "etc/slots.json",
        "etc/update.yaml",
        "etc/audit-head.json",
        &format!("etc/{SLUG}/answers.yaml"),
        &format!("etc/{SLUG}/license"),
        &format!("etc/{SLUG}/audit"),
        &format!("var/{SLUG}/plan.json"),
        &format!("var/{SLUG}/journal.jsonl"),
        &format!("var/{SLUG}/receipt.json"),
        &format!("var/{SLUG}/seen.json"),
        &format!("var/{SLUG}/audit"),
        &format!("var/{SLUG}/deployment/config.yaml"),
        &format!("var/{SLUG}/lakehouse"),
        &format!("var/{SLUG}/loras"),
        "var/agent/audit",
        "var/update",
    ];
    for name in kept {
        keep(&root.join(name), &to.join(name));
    }
    run(["uninstall", "--purge", "--yes", "--root", "/srv/brain"]).expect(0);
    for dir in [root, share] {
        let _ = fs::remove_dir_all(dir);
    }
}

/// An adapter that is served, as a training writes it, without its weights.
fn write_adapter(customer: &CustomerLayout) {
    let created = Timestamp::parse("2026-11-27T22:00:00Z").unwrap();
    let mut registry = train::Registry::open(&customer.loras()).unwrap();
    let entry = train::VersionEntry {
        name: registry.next_name(),
        dir: "v1_20261127".to_owned(),
        created,
        decision: train::Decision::Promoted,
        reason: "the held-out perplexity fell from 20.1 to 12.4".to_owned(),
        perplexity_before: 20.1,
        perplexity_after: 12.4,
        servable: true,
        is_public: false,
        run: "a1b2".to_owned(),
    };
    let dir = customer.loras().join(&entry.dir);
    fs::create_dir_all(&dir).unwrap();
    let agreement =
        train::Agreement { positions: 512, top1: 0.97, mean_kl: 0.002, base_top1: 0.98, base_mean_kl: 0.001 };
    let file = train::VersionFile {
        format: train::FORMAT,
        version: entry.name.clone(),
        created,
        base_name: "smollm2-135m-instruct".to_owned(),
        base: Digest::of(b"base"),
        data: Digest::of(b"data"),
        documents: 1,
        held_out_documents: vec!["KX-10.md".to_owned()],
        exchanges: 0,
        is_public: false,
        seed: 711,
        minutes: 1,
        rank: 8,
        alpha: 16.0,
        steps: 40,
        best_step: 32,
        tokens: 20_480,
        perplexity_before: entry.perplexity_before,
        perplexity_after: entry.perplexity_after,
        perplexity_served: None,
        agreement: Some(agreement),
        parent: None,
        decision: entry.decision,
        reason: entry.reason.clone(),
        run: entry.run.clone(),
    };
    fs::write(dir.join("version.json"), serde_json::to_vec_pretty(&file).unwrap()).unwrap();
    let name = entry.name.clone();
    // What is promoted has a twin for the engine.
    fs::write(dir.join("adapter.gguf"), b"GGUF").unwrap();
    registry.add(entry, created).unwrap();
    registry.promote(&name, created).unwrap();
}

/// An update that was taken back, as its run writes it.
fn write_update(layout: &Layout) {
    let record = Record::new(layout);
    let settings = Settings {
        channel: Some("https://releases.example.com/stable".to_owned()),
        policy: Policy::Approve,
        window: "sat,sun 01:00-05:00".parse().ok(),
        ..Settings::default()
    };
    record.set(&settings).unwrap();
    let score = |right| Some(Score { right, asked: 2, mean_ms: 300 });
    let began = Timestamp::parse("2026-11-28T01:00:00Z").unwrap();
    let customer =
        CustomerAttempt { slug: Slug::parse(SLUG).unwrap(), before: score(2), rehearsed: score(2), after: score(1) };
    let attempt = Attempt {
        from: "0.1.0".parse().unwrap(),
        to: "0.2.0".parse().unwrap(),
        bundle: layout.update_staging(),
        roots: Vec::new(),
        program: layout.update_programs().join("0711-0.2.0"),
        old_program: layout.binary().canonicalize().unwrap(),
        changes_data: true,
        stage: Stage::RolledBack,
        tries: 1,
        began,
        customers: vec![customer],
        child: None,
        downtime_ms: Some(12_300),
        cause: Some("1 of 2 golden questions are answered as they should be, before it were 2".to_owned()),
    };
    let mut state = State::default();
    state.held.insert(attempt.to.clone(), "it was worse".to_owned());
    state.seen.insert(attempt.to.clone(), began);
    state.attempt = Some(attempt.clone());
    record.put(&state).unwrap();
    record.ended(&attempt, base::Clock::fixed(began.plus_days(1))).unwrap();
}

/// Locks are made again, and weights are large.
fn keep(from: &Path, to: &Path) {
    let name = from.file_name().unwrap().to_string_lossy().into_owned();
    if from.is_dir() {
        // The canary's table is made again.
        if name != "canary" {
            fs::read_dir(from).unwrap().flatten().for_each(|entry| keep(&entry.path(), &to.join(entry.file_name())));
        }
    } else if !["lock", "gguf", "safetensors"]
        .iter()
        .any(|ending| name == *ending || name.ends_with(&format!(".{ending}")))
    {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}
