//! The proof that it works: what a question needs, asked of each role once.

use base::Role;
use plan::journal::Evidence;
use serde::Deserialize;
use serde_json::{Value, json};

use super::World;
use super::job::{Service, config};
use crate::Error;

/// The lake's answers carry a format and a value.
#[derive(Deserialize)]
struct LakeReply<T> {
    value: T,
}

#[derive(Deserialize)]
struct Stats {
    documents: u64,
    searchable: u64,
    chunks: u64,
}

pub(super) async fn apply(world: &World<'_>) -> Result<Evidence, Error> {
    let Some(config) = config(world) else {
        return Err(Error::NotVerified { step: plan::StepId::Config });
    };
    let lake = Service::open(world, Role::Lake).await?;
    let failed = |role| move |source| Error::Role { role, source };
    let search = json!({
        "format": 1, "model": config.embed_model.digest, "text": config.customer_name, "k": 1, "candidates": 10,
    });
    let hits: LakeReply<Vec<Value>> = lake.ask("POST", "/v1/search", Some(search)).await.map_err(failed(Role::Lake))?;
    let stats: LakeReply<Stats> = lake.ask("GET", "/v1/stats", None).await.map_err(failed(Role::Lake))?;

    let embed = Service::open(world, Role::Embed).await?;
    let question = json!({ "model": config.embed_model.name, "input": config.customer_name });
    let vector: Value = embed.ask("POST", "/v1/embeddings", Some(question)).await.map_err(failed(Role::Embed))?;
    let dimension = vector.pointer("/data/0/embedding").and_then(Value::as_array).map_or(0, Vec::len);
    if dimension == 0 {
        return Err(Error::RoleNotReady { role: Role::Embed, reason: "it answered without a vector".to_owned() });
    }

    let llm = Service::open(world, Role::Llm).await?;
    let question = json!({ "model": "base", "messages": [{ "role": "user", "content": "Hello" }], "max_tokens": 1 });
    let answer: Value = llm.ask("POST", "/v1/chat/completions", Some(question)).await.map_err(failed(Role::Llm))?;
    if answer.pointer("/choices/0").is_none() {
        return Err(Error::RoleNotReady { role: Role::Llm, reason: "it answered without a choice".to_owned() });
    }
    Ok(Evidence::default()
        .with("documents", stats.value.documents)
        .with("searchable", stats.value.searchable)
        .with("chunks", stats.value.chunks)
        .with("hits", hits.value.len())
        .with("dimension", dimension))
}
