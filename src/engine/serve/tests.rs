//! The two roles over HTTP, with the real models.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base::{
    CustomerLayout, Digest, Layout, Role, Secret, Slug,
    config::{FORMAT, ModelRef, ServiceConfig},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{serve_embed, serve_llm};
use crate::{
    ChatMessage, Error, FinishReason, GenerateRequest, Kind, Prompt,
    client::{ChatClient, EmbedClient},
    testing,
};

const TOKEN: &str = "0123456789abcdef";

/// A role that runs until it is dropped, or asked to end.
struct Running {
    url: String,
    http: reqwest::Client,
    loras: PathBuf,
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), Error>>,
    _root: tempfile::TempDir,
}

/// Starts a role; `prepare` may fill the customer's adapters first.
async fn start(role: Role, prepare: impl FnOnce(&Path)) -> Running {
    let root = tempfile::tempdir().unwrap();
    let slug = Slug::parse("test").unwrap();
    let layout = Layout::rooted(root.path()).customer(&slug);
    let loras = layout.loras();
    fs::create_dir_all(&loras).unwrap();
    prepare(&loras);
    let model = |name: &str, path: PathBuf| ModelRef { name: name.into(), digest: Digest::of(b""), path };
    let config = ServiceConfig {
        format: FORMAT,
        customer_name: "Test".into(),
        slug,
        bind: [127, 0, 0, 1].into(),
        port_base: 5100,
        folders: Vec::new(),
        chat_model: model("smollm2", testing::chat_model()),
        embed_model: model("multilingual-e5-small", testing::embed_model()),
        max_documents: 10,
        training_minutes: 1,
        threads: 2,
        console_hosts: Vec::new(),
        permissions: Default::default(),
        containers: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let (token, stop) = (Secret::new(TOKEN), shutdown.clone());
    let server = tokio::spawn(async move { serve(role, config, layout, token, listener, stop).await });
    // The client's own making installs what reqwest needs.
    drop(ChatClient::new(&url, Secret::new(TOKEN)));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let running = Running { url, http, loras, shutdown, server, _root: root };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while running.http.get(format!("{}/health", running.url)).send().await.unwrap().status() != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the role does not become ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running
}

async fn serve(
    role: Role,
    config: ServiceConfig,
    layout: CustomerLayout,
    token: Secret,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), Error> {
    match role {
        Role::Llm => serve_llm(config, layout, token, listener, stop).await,
        _ => serve_embed(config, layout, token, listener, stop).await,
    }
}

impl Running {
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(TOKEN).json(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Posts a body that must be refused with `status`, and returns the reason.
    async fn refused(&self, path: &str, body: &Value, status: u16) -> String {
        let (found, answer) = self.post(path, body).await;
        assert_eq!(found, status, "{path} {body} gave {answer}");
        assert!(answer["error"]["type"].is_string(), "{answer}");
        answer["error"]["message"].as_str().unwrap().to_owned()
    }

    async fn end(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.server).await;
        ended.expect("the role does not end").unwrap().unwrap();
    }
}

async fn check_door(running: &Running, path: &str) {
    let url = format!("{}{path}", running.url);
    for token in [None, Some(""), Some("0123456789abcdee"), Some("0123456789abcdef0")] {
        let request = running.http.get(&url);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{path} with {token:?}");
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["code"], "invalid_api_key");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_llm_role_speaks_the_wire() {
    let running = start(Role::Llm, |_| {}).await;
    for path in ["/v1/models", "/v1/chat/completions", "/anything", "/"] {
        check_door(&running, path).await;
    }
    let question = json!([{"role": "user", "content": "What is the capital of France?"}]);
    let ask = json!({"model": "base", "messages": question, "temperature": 0, "max_tokens": 12, "user": "ignored"});
    let (status, whole) = running.post("/v1/chat/completions", &ask).await;
    assert_eq!((status, whole["object"].as_str()), (200, Some("chat.completion")), "{whole}");
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("Paris"), "{text}");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let [prompt, completion, total] =
        ["prompt_tokens", "completion_tokens", "total_tokens"].map(|key| whole["usage"][key].as_u64().unwrap());
    assert!(prompt + completion == total && (5..12).contains(&completion), "{whole}");

    let client = ChatClient::new(&running.url, Secret::new(TOKEN));
    let prompt = Prompt::Messages(vec![ChatMessage::user("What is the capital of France?")]);
    let streamed = GenerateRequest { max_tokens: 12, ..GenerateRequest::new(prompt) };
    let pieces: Vec<_> = client.generate(streamed.clone()).map(Result::unwrap).collect().await;
    assert_eq!(pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(), text);
    let last = pieces.last().unwrap();
    assert_eq!((last.finish, last.usage.unwrap().completion_tokens as u64), (Some(FinishReason::Stop), completion));
    assert!(pieces.len() > 3, "an answer comes in pieces");

    let go_on = json!({"model": "base", "prompt": "The capital of Germany is", "temperature": 0, "max_tokens": 4});
    let (status, text) = running.post("/v1/completions", &go_on).await;
    assert_eq!((status, text["object"].as_str()), (200, Some("text_completion")));
    assert!(text["choices"][0]["text"].as_str().unwrap().contains("Berlin"), "{text}");

    let with = |key: &str, value: Value| {
        let mut body = ask.clone();
        body[key] = value;
        body
    };
    let chat = "/v1/chat/completions";
    assert!(running.refused(chat, &with("model", json!("gpt-4o")), 404).await.contains("gpt-4o"));
    assert!(running.refused(chat, &with("n", json!(2)), 400).await.contains("`n`"));
    assert!(running.refused(chat, &with("temperature", json!(-1)), 400).await.contains("temperature"));
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    assert!(running.refused(chat, &with("messages", image), 400).await.contains("image_url"));
    let long = json!([{"role": "user", "content": "word ".repeat(5000)}]);
    assert!(running.refused(chat, &with("messages", long), 400).await.contains("4096"));
    running.refused(chat, &json!("no object"), 400).await;
    running.refused("/v1/nothing", &json!({}), 404).await;
    let refused = client.generate(GenerateRequest { adapter: Some("v7".into()), ..streamed }).next().await.unwrap();
    assert!(matches!(refused, Err(Error::Refused { status: 404, .. })), "{refused:?}");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_llm_role_serves_the_promoted_adapter_and_takes_others_only_from_the_customer() {
    let elsewhere = tempfile::tempdir().unwrap();
    testing::write_adapter(&elsewhere.path().join("adapter.gguf"));
    let running = start(Role::Llm, |loras| {
        for dir in ["v1_20261122", "v2_20261123", "v3_20261124"] {
            fs::create_dir(loras.join(dir)).unwrap();
        }
        testing::write_adapter(&loras.join("v1_20261122/adapter.gguf"));
        testing::write_adapter(&loras.join("v2_20261123/adapter.gguf"));
        std::os::unix::fs::symlink(elsewhere.path().join("adapter.gguf"), loras.join("v3_20261124/adapter.gguf"))
            .unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), loras.join("link")).unwrap();
        let versions = json!([{"name": "v1", "dir": "v1_20261122"}, {"name": "v2", "dir": "v2_20261123"}]);
        let registry = json!({"format": 1, "promoted": "v1", "versions": versions});
        fs::write(loras.join("registry.json"), registry.to_string()).unwrap();
    })
    .await;
    let client = ChatClient::new(&running.url, Secret::new(TOKEN));
    assert_eq!(client.adapters().await.unwrap(), ["v1"]);
    client.load_adapter("v2", &running.loras.join("v2_20261123")).await.unwrap();
    assert_eq!(client.adapters().await.unwrap(), ["v1", "v2"]);
    let prompt = Prompt::Text("The delivery time is".into());
    let ask = GenerateRequest { adapter: Some("v2".into()), max_tokens: 2, ..GenerateRequest::new(prompt) };
    assert!(client.generate(ask).all(async |piece| piece.is_ok()).await);
    let loras = &running.loras;
    for path in
        [elsewhere.path().to_owned(), loras.join("link"), loras.join("v3_20261124"), loras.join(".."), loras.clone()]
    {
        let refused = client.load_adapter("v9", &path).await;
        assert!(matches!(refused, Err(Error::Refused { status: 400, .. })), "{}: {refused:?}", path.display());
    }
    let taken = json!({"lora_name": "base", "lora_path": loras.join("v2_20261123")});
    running.refused("/v1/load_lora_adapter", &taken, 400).await;
    client.unload_adapter("v1").await.unwrap();
    assert!(matches!(client.unload_adapter("v1").await, Err(Error::Refused { status: 404, .. })));
    assert_eq!(client.adapters().await.unwrap(), ["v2"]);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embed_role_speaks_the_wire() {
    let running = start(Role::Embed, |_| {}).await;
    check_door(&running, "/v1/models").await;
    let body = |input: Value| json!({"model": "multilingual-e5-small", "input": input});
    let with = |input: Value, key: &str, value: Value| {
        let mut body = body(input);
        body[key] = value;
        body
    };
    let embeddings = "/v1/embeddings";
    let (status, floats) = running.post(embeddings, &body(json!(["Die Pumpe wiegt 18 kg.", "query: Gewicht?"]))).await;
    assert_eq!((status, floats["data"].as_array().map(Vec::len)), (200, Some(2)), "{floats}");
    assert!(floats["usage"]["prompt_tokens"].as_u64().unwrap() > 10);
    let float = |row: &Value| {
        row["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect::<Vec<f32>>()
    };
    let (_, coded) =
        running.post(embeddings, &with(json!("Die Pumpe wiegt 18 kg."), "encoding_format", json!("base64"))).await;
    let bytes = BASE64_STANDARD.decode(coded["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let decoded: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    let same = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(same(&decoded, &float(&floats["data"][0])));

    let client = EmbedClient::new(&running.url, Secret::new(TOKEN));
    let passages = client.embed(vec!["Die Pumpe wiegt 18 kg.".into(); 70], Kind::Passage).await.unwrap();
    assert!(passages.len() == 70 && same(&passages[69], &decoded), "without a type a text is a passage");
    let query = client.embed(vec!["Gewicht?".into()], Kind::Query).await.unwrap();
    assert!(same(&query[0], &float(&floats["data"][1])), "a prefix in the text counts");
    let (_, twice) = running.post(embeddings, &with(json!("query: Gewicht?"), "input_type", json!("passage"))).await;
    assert!(!same(&query[0], &float(&twice["data"][0])), "a type in the request counts more");

    assert!(running.refused(embeddings, &body(json!([1, 2, 3])), 400).await.contains("tokens"));
    assert!(running.refused(embeddings, &body(json!([[1, 2], [3]])), 400).await.contains("tokens"));
    running.refused(embeddings, &body(json!([])), 400).await;
    running.refused(embeddings, &body(json!(["a", " "])), 400).await;
    running.refused(embeddings, &body(json!(vec!["a"; 2049])), 400).await;
    running.refused(embeddings, &with(json!("a"), "dimensions", json!(100)), 400).await;
    running.refused(embeddings, &with(json!("a"), "model", json!("text-embedding-3-small")), 404).await;
    running.refused(embeddings, &body(json!("x".repeat(17 << 20))), 413).await;
    let health = running.http.get(format!("{}/health", running.url)).send().await.unwrap().text().await.unwrap();
    assert!(health.contains(r#""status":"ok""#) && health.contains(r#""role":"embed""#), "{health}");
    running.end().await;
}
