use std::{fs, net::SocketAddr, time::Duration};

use base::{
    Layout, Role, Secret,
    config::{FORMAT, ModelRef, ServiceConfig},
    job::{JobState, JobStatus},
};
use extract::sandbox::Hold;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Report,
    tests::{World, embedder},
};

/// The three roles an ingestion needs, as they run at a customer's.
struct Stack {
    world: World,
    url: String,
    token: Secret,
    http: Client,
    stop: CancellationToken,
    ingest: JoinHandle<Result<(), crate::Error>>,
}

/// Returns a block of ports whose three roles can listen, with their listeners.
async fn ports() -> (u16, [TcpListener; 3]) {
    for base in (21_000_u16..60_000).step_by(137) {
        let bind = |role: Role| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], base + role.port_offset())));
        if let Ok(listeners) = tokio::try_join!(bind(Role::Embed), bind(Role::Lake), bind(Role::Ingest)) {
            return (base, listeners.into());
        }
    }
    panic!("no block of ports is free");
}

impl Stack {
    async fn start() -> Self {
        let world = World::new().await.closed();
        let (port_base, [embed_at, lake_at, ingest_at]) = ports().await;
        let model = ModelRef {
            name: "multilingual-e5-small".to_owned(),
            digest: embedder().digest(),
            path: Layout::cached_model(&embedder().digest()),
        };
        let config = ServiceConfig {
            format: FORMAT,
            customer_name: "Kessler".to_owned(),
            slug: world.customer.slug().clone(),
            bind: [127, 0, 0, 1].into(),
            port_base,
            folders: vec![world.share()],
            chat_model: model.clone(),
            embed_model: model,
            max_documents: 100,
            training_minutes: 1,
            threads: 2,
            console_hosts: Vec::new(),
            permissions: Default::default(),
            containers: None,
        };
        let (token, stop) = (Secret::generate().unwrap(), CancellationToken::new());
        let parts = || (config.clone(), world.customer.clone(), token.clone(), stop.clone());
        let (of, customer, key, end) = parts();
        tokio::spawn(engine::serve_embed(of, customer, key, embed_at, end));
        let (of, customer, key, end) = parts();
        tokio::spawn(lake::serve(of, customer, key, lake_at, end));
        let (of, customer, key, end) = parts();
        let layout = Layout::rooted(world.dir.path().join("root"));
        let ingest = tokio::spawn(super::serve(of, layout, customer, key, ingest_at, end));
        // The engine's client puts the program's TLS provider in place, which reqwest asks for.
        engine::client::EmbedClient::new(config.url(Role::Embed), token.clone());
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let stack = Self { url: config.url(Role::Ingest), world, token, http, stop, ingest };
        for role in [Role::Embed, Role::Lake, Role::Ingest] {
            stack.ready(&config.url(role)).await;
        }
        stack
    }

    async fn ready(&self, url: &str) {
        let ready = async {
            while !self.http.get(format!("{url}/health")).send().await.is_ok_and(|answer| answer.status().is_success())
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.unwrap();
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(self.token.expose());
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn post(&self, body: Value) -> (StatusCode, Value) {
        let request = self.http.post(format!("{}/v1/jobs", self.url)).bearer_auth(self.token.expose());
        let answer = request.json(&body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn finished(&self, started: Value) -> JobStatus {
        let id = started["id"].as_str().unwrap().to_owned();
        let wait = async {
            loop {
                let (_, status) = self.get(&format!("/v1/jobs/{id}")).await;
                let status: JobStatus = serde_json::from_value(status).unwrap();
                if status.state != JobState::Running {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_ingests_its_folders_behind_walls_and_a_token() {
    let stack = Stack::start().await;
    stack.world.write("a.txt", "Die Klemme trägt zweiunddreißig Ampere.");
    stack.world.write("b/c.md", "# Garantie\n\nSechsunddreißig Monate.");
    let without = stack.http.get(format!("{}/v1/report", stack.url)).send().await.unwrap();
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(stack.get("/v1/report").await.0, StatusCode::NOT_FOUND);
    let (status, refused) = stack.post(json!({"params": {"folders": ["/etc"]}})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let up = stack.world.share().join("../root");
    assert_eq!(stack.post(json!({"params": {"folders": [up]}})).await.0, StatusCode::BAD_REQUEST);

    let (status, started) = stack.post(json!({"key": "first"})).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let done = stack.finished(started.clone()).await;
    assert_eq!((done.state, done.error), (JobState::Done, None));
    let report: Report = serde_json::from_value(done.result.unwrap()).unwrap();
    assert_eq!((report.searchable, report.added), (2, 2));
    assert_eq!(stack.get("/v1/report").await.1["searchable"], 2);
    assert_eq!(stack.post(json!({"key": "first"})).await.1["id"], started["id"], "the same key is the same job");
    fs::remove_file(stack.world.share().join("a.txt")).unwrap();
    let inner = stack.world.share().join("b");
    let (_, started) = stack.post(json!({"params": {"folders": [inner]}})).await;
    let report: Report = serde_json::from_value(stack.finished(started).await.result.unwrap()).unwrap();
    assert_eq!((report.unchanged, report.removed, report.elsewhere), (1, 0, 1), "only the folder asked for");

    let ask = stack.http.post(format!("{}/v1/canary", stack.url));
    let canary = ask.bearer_auth(stack.token.expose()).send().await.unwrap();
    assert_eq!(canary.json::<base::Canary>().await.unwrap().found["format"], "txt");
    let beat: base::Beat = serde_json::from_value(stack.get("/v1/pulse").await.1).unwrap();
    assert!(beat.moved >= 2 && beat.running == 0, "{beat:?}");
    let walls = stack.get("/v1/sandbox").await.1;
    for who in ["role", "worker"] {
        let applied: extract::sandbox::Applied = serde_json::from_value(walls[who].clone()).unwrap();
        assert_eq!(applied.no_new_privileges, Hold::Full, "{who}");
        assert!(!matches!(applied.files_and_ports, Hold::Absent(_)), "{who}: {applied}");
        assert_eq!(applied.calls, Hold::Full, "{who}");
    }
    stack.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(30), stack.ingest).await.unwrap();
    ended.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_is_kept_in_step() {
    let stack = Stack::start().await;
    let set = |on: bool| {
        let ask = stack.http.put(format!("{}/v1/watch", stack.url)).bearer_auth(stack.token.expose());
        ask.json(&json!({"format": 1, "on": on})).send()
    };
    let counted = |searchable: u64, removed: u64| {
        let stack = &stack;
        async move {
            let wait = async {
                loop {
                    let (_, report) = stack.get("/v1/report").await;
                    if report["searchable"] == searchable && report["removed"] == removed {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let waited = tokio::time::timeout(Duration::from_secs(90), wait).await;
            waited.unwrap_or_else(|_| panic!("not {searchable} documents, {removed} removed"));
        }
    };
    stack.world.write("a.txt", "Die Klemme trägt zweiunddreißig Ampere.");
    assert_eq!(set(true).await.unwrap().status(), StatusCode::OK);
    counted(1, 0).await;
    stack.world.write("b.txt", "Die Garantie dauert sechsunddreißig Monate.");
    fs::remove_file(stack.world.share().join("a.txt")).unwrap();
    counted(1, 1).await;
    assert_eq!(set(false).await.unwrap().status(), StatusCode::OK);
    let unknown = stack.http.put(format!("{}/v1/watch", stack.url)).bearer_auth(stack.token.expose());
    let unknown = unknown.json(&json!({"on": true})).send().await.unwrap();
    assert!(unknown.status().is_client_error());
    stack.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(30), stack.ingest).await.unwrap();
    ended.unwrap().unwrap();
}
