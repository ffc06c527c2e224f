//! A whole run on the real model and a real lake: from chunks to a version in the registry.

use std::{path::Path, sync::Arc};

use base::{
    Clock, Digest, Layout, Place, Slug, Timestamp,
    config::{self, ModelRef},
};
use lake::{Access, ChunkRow, Commit, DocumentRow, DocumentStatus, EmbedSpec};
use tokio_util::sync::CancellationToken;

use crate::{Error, Registry, TrainJob, run, run::version_file, tests::testing};

const DIMENSION: usize = 4;

async fn lake(layout: &base::CustomerLayout) -> Access {
    let spec = EmbedSpec { dimension: DIMENSION, model: Digest::of(b"embedding model") };
    Access::open(layout, spec, None).await.unwrap()
}

fn document(index: usize, text: impl Fn(usize) -> String) -> Commit {
    let path = format!("handbuch-{index}.txt");
    let id = lake::document_id("/data", &path);
    let chunks = (0..6).map(|ordinal| ChunkRow {
        id: lake::chunk_id(&id, ordinal, &text(ordinal as usize)),
        document_id: id.clone(),
        ordinal,
        text: text(ordinal as usize),
        heading_path: vec!["Wartung".to_owned()],
        place: Place::default(),
        language: Some("de".to_owned()),
        token_count: 60,
        readers: Vec::new(),
        vector: vec![1.0, 0.0, 0.0, 0.0],
    });
    let chunks: Vec<ChunkRow> = chunks.collect();
    let row = DocumentRow {
        id,
        source: "/data".to_owned(),
        name: path.clone(),
        path,
        digest: None,
        size_bytes: 1,
        modified_ms: 0,
        format: "txt".to_owned(),
        language: Some("de".to_owned()),
        title: None,
        status: DocumentStatus::Searchable,
        reason: None,
        chunk_count: 6,
        ingested_ms: 0,
        readers: vec![base::Rights::EVERYBODY.to_owned()],
        metadata: Default::default(),
    };
    Commit { upsert: vec![row], chunks, ..Commit::default() }
}

fn job(lake: Access, root: &Path) -> TrainJob {
    TrainJob {
        base: ModelRef {
            name: "smollm2-135m-instruct".to_owned(),
            digest: testing::MODEL.parse().unwrap(),
            path: testing::model_file(),
        },
        lake,
        rights: config::Permissions::On.of_anybody(),
        loras_dir: root.join("loras"),
        work_dir: root.join("train"),
        minutes: 1,
        seed: 711,
        threads: 2,
        steps: Some(4),
        clock: Clock::fixed(Timestamp::parse("2026-11-22T10:00:00Z").unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_trained_checked_promoted_and_mirrored() {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout::rooted(root.path()).customer(&Slug::parse("demo").unwrap());
    let lake = lake(&layout).await;
    let report = |_| ();
    let refused = run(job(lake.clone(), root.path()), Arc::new(report), CancellationToken::new()).await;
    assert!(matches!(refused, Err(Error::TooLittleText { .. })));

    for index in 0..6 {
        let text = |ordinal: usize| {
            format!(
                "Die Schaltanlage {index} im Abschnitt {ordinal} wird jährlich gewartet. Der Prüfer misst dabei den \
                 Isolationswiderstand und schreibt den Messwert {} in das Prüfprotokoll.",
                index * 13 + ordinal
            )
        };
        lake.commit(document(index, text)).await.unwrap();
    }
    let outcome = run(job(lake.clone(), root.path()), Arc::new(report), CancellationToken::new()).await.unwrap();
    println!("{outcome:#?}");
    assert_eq!(outcome.version.as_deref(), Some("v1"));
    assert_eq!(outcome.dir.as_deref(), Some("v1_20261122"));
    assert_eq!(outcome.steps, 4);
    assert!(outcome.perplexity_after < outcome.perplexity_before);
    assert_eq!(outcome.decision, "promoted", "{}", outcome.reason);

    let registry = Registry::open(&root.path().join("loras")).unwrap();
    assert_eq!(registry.promoted(), Some("v1"));
    let dir = registry.dir("v1").unwrap();
    for name in
        ["adapter_config.json", "adapter_model.safetensors", "adapter.gguf", "version.json", "engine_check.json"]
    {
        assert!(dir.join(name).is_file(), "{name}");
    }
    let version = version_file(&dir).unwrap();
    assert_eq!((version.seed, version.base.to_string().as_str()), (711, testing::MODEL));
    // It learnt from nothing but what everybody may read, so it answers everybody.
    assert!(version.is_public && registry.served(&config::Permissions::On.of_anybody()) == Some("v1"));
    let rows = lake.versions().await.unwrap();
    assert_eq!((rows.len(), rows[0].version.as_str(), rows[0].decision.as_str()), (1, "v1", "promoted"));
    assert!(
        std::fs::read_dir(root.path().join("train")).unwrap().all(|entry| entry.unwrap().file_name() == "train.lock")
    );
    assert!(
        std::fs::read_dir(root.path().join("loras"))
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with(".new") })
    );
}
