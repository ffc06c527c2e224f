//! The page's doors, over real HTTP against a real lake; `llm` and `embed` are down, as they may be.

use std::{net::SocketAddr, sync::Arc};

use base::{CustomerLayout, Digest, Layout, Role, Secret, Slug, config};
use engine::{
    Chat, EmbedTokenizer, Embedding,
    client::{ChatClient, EmbedClient},
};
use lake::{ChunkRow, Commit, DocumentRow, DocumentStatus, EmbedSpec, Lake};
use reqwest::{Client, RequestBuilder, Response, redirect::Policy};

use crate::{
    gateway,
    state::{Parts, Shared},
};

/// multilingual-e5-small, as in `bundles/models.yaml`; only its tokenizer is read here.
const EMBED_MODEL: &str = "sha256:1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f";
const PASSWORD: &str = "right-horse-battery";

struct Served {
    _dir: tempfile::TempDir,
    layout: CustomerLayout,
    page: SocketAddr,
    api: SocketAddr,
    chunk: String,
    lake: lake::Access,
    state: Arc<Shared>,
    http: Client,
}

async fn served() -> Served {
    served_with(config::Permissions::Off).await
}

async fn served_with(permissions: config::Permissions) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let slug = Slug::parse("muster").unwrap();
    let layout = Layout::rooted(dir.path()).customer(&slug);
    base::file::private_dir(&layout.secrets()).unwrap();
    let hash = access::PasswordHash::of(&Secret::new(PASSWORD)).unwrap();
    hash.write(&layout.password_hash()).unwrap();

    let digest: Digest = EMBED_MODEL.parse().unwrap();
    let path = Layout::cached_model(&digest);
    assert!(path.exists(), "{path:?} is missing: run `0711 models fetch`");
    let model = config::ModelRef { name: "multilingual-e5-small".into(), digest, path: path.clone() };
    let config = config::ServiceConfig {
        format: config::FORMAT,
        customer_name: "Muster & Söhne".into(),
        slug,
        bind: [127, 0, 0, 1].into(),
        // Nothing listens on the ports of this block.
        port_base: 1,
        folders: Vec::new(),
        chat_model: model.clone(),
        embed_model: model,
        max_documents: 10,
        training_minutes: 1,
        threads: 1,
        console_hosts: vec!["brain.example".into()],
        permissions,
        containers: None,
    };
    let spec = EmbedSpec { dimension: 2, model: digest };
    let lake = Lake::open(&layout, spec).await.unwrap();
    let chunk = fill(&lake).await;
    let lake = lake::Access::Local(lake);
    let token = Secret::new("role-token");
    let parts = Parts {
        lake: lake.clone(),
        embedding: Embedding::Remote(
            EmbedClient::new(config.url(Role::Embed), token.clone()),
            EmbedTokenizer::open(&path).unwrap(),
        ),
        chat: Chat::Remote(ChatClient::new(config.url(Role::Llm), token.clone())),
    };
    let bind = || tokio::net::TcpListener::bind("127.0.0.1:0");
    let (page, api) = (bind().await.unwrap(), bind().await.unwrap());
    let (page_at, api_at) = (page.local_addr().unwrap(), api.local_addr().unwrap());
    let state = Shared::wire(config, layout.clone(), token, page_at.port(), parts).unwrap();
    let state = Arc::new(state);
    for (listener, router) in [(page, super::router(state.clone())), (api, gateway::router(state.clone()))] {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
    }
    Served {
        _dir: dir,
        layout,
        page: page_at,
        api: api_at,
        chunk,
        lake,
        state,
        http: Client::builder().no_proxy().redirect(Policy::none()).build().unwrap(),
    }
}

/// One document with one chunk; returns the chunk's id.
async fn fill(lake: &Lake) -> String {
    let id = lake::document_id("/data", "garantie.txt");
    let text = "Die Garantie beträgt 24 Monate.";
    let chunk = ChunkRow {
        id: lake::chunk_id(&id, 0, text),
        document_id: id.clone(),
        ordinal: 0,
        text: text.into(),
        heading_path: vec!["Garantie".into()],
        place: base::Place::lines(1, 1),
        language: Some("de".into()),
        token_count: 8,
        readers: Vec::new(),
        vector: vec![1.0, 0.0],
    };
    let document = DocumentRow {
        id,
        source: "/data".into(),
        path: "garantie.txt".into(),
        name: "garantie.txt".into(),
        digest: None,
        size_bytes: 32,
        modified_ms: 0,
        format: "txt".into(),
        language: Some("de".into()),
        title: None,
        status: DocumentStatus::Searchable,
        reason: None,
        chunk_count: 1,
        ingested_ms: 0,
        readers: Vec::new(),
        metadata: Default::default(),
    };
    let commit = Commit { upsert: vec![document], chunks: vec![chunk.clone()], ..Commit::default() };
    lake.commit(commit).await.unwrap();
    chunk.id
}

impl Served {
    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("http://{}{path}", self.page))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("http://{}{path}", self.page))
    }

    async fn try_password(&self, password: &str) -> Response {
        self.try_account("", password).await
    }

    async fn try_account(&self, name: &str, password: &str) -> Response {
        let form = self.get("/login").send().await.unwrap();
        let cookie = cookies(&form);
        let text = form.text().await.unwrap();
        let token = between(&text, "name=\"form_token\" value=\"", "\"");
        self.post("/login")
            .header("cookie", cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("form_token={token}&name={name}&password={password}"))
            .send()
            .await
            .unwrap()
    }

    /// Logs in; returns the session's cookie and its CSRF token.
    async fn log_in(&self) -> (String, String) {
        self.log_in_as("", PASSWORD).await
    }

    async fn log_in_as(&self, name: &str, password: &str) -> (String, String) {
        let answer = self.try_account(name, password).await;
        assert_eq!(answer.status(), 303);
        let cookie = cookies(&answer);
        let page = self.get("/").header("cookie", &cookie).send().await.unwrap();
        assert_eq!(page.status(), 200);
        let text = page.text().await.unwrap();
        assert!(text.contains("Muster &amp; Söhne"));
        (cookie, between(&text, "name=\"csrf\" content=\"", "\""))
    }
}

fn cookies(response: &Response) -> String {
    let pairs = response.headers().get_all("set-cookie").iter();
    let pairs = pairs.map(|v| v.to_str().unwrap().split(';').next().unwrap().to_owned());
    pairs.collect::<Vec<_>>().join("; ")
}

fn between(text: &str, from: &str, to: &str) -> String {
    let rest = text.split_once(from).unwrap().1;
    rest.split_once(to).unwrap().0.to_owned()
}

#[tokio::test]
async fn strangers_see_the_login_and_nothing_else() {
    let served = served().await;
    let home = served.get("/").send().await.unwrap();
    assert_eq!(home.status(), 303);
    assert_eq!(home.headers()["location"], "/login");
    for path in ["/api/status", "/api/history", "/api/chunks/x"] {
        assert_eq!(served.get(path).send().await.unwrap().status(), 401, "{path}");
    }
    for path in ["/api/ask", "/api/feedback", "/api/approve"] {
        let answer = served.post(path).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
    for path in ["/login", "/assets/app.css", "/assets/app.mjs", "/assets/icon.svg", "/health"] {
        let answer = served.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
    assert_eq!(served.get("/assets/..%2Fapp.css").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn only_known_hosts_and_our_own_pages_are_answered() {
    let served = served().await;
    let own = format!("localhost:{}", served.page.port());
    for (host, expect) in
        [("evil.example", 403), (own.as_str(), 200), ("brain.example", 200), ("brain.example.evil.example", 403)]
    {
        let answer = served.get("/login").header("host", host).send().await.unwrap();
        assert_eq!(answer.status(), expect, "{host}");
    }
    for (origin, expect) in
        [("http://evil.example".to_owned(), 403), (format!("http://{own}"), 403), ("null".into(), 403)]
    {
        let (cookie, _) = served.log_in().await;
        let answer =
            served.post("/api/ask").header("cookie", cookie).header("origin", origin).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), expect);
    }
}

#[tokio::test]
async fn the_password_opens_and_guessing_slows_down() {
    let served = served().await;
    assert_eq!(served.try_password("wrong").await.status(), 401);
    let (cookie, _) = served.log_in().await;
    assert!(cookie.contains("0711-muster="));
    // A form that was not fetched by this browser is refused before the password is looked at.
    let foreign = served
        .post("/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("form_token=x&password={PASSWORD}"));
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let mut last = 0;
    for _ in 0..7 {
        last = served.try_password("wrong").await.status().as_u16();
    }
    assert_eq!(last, 429);
    assert_eq!(served.try_password(PASSWORD).await.status(), 429);

    let log = audit::Log::console(&served.layout);
    let acts: Vec<_> = audit::read(&log, None).unwrap().records.iter().map(|kept| kept.record.act).collect();
    let (first, rest) = acts.split_at(2);
    assert_eq!(first, [audit::Act::LoginFailed, audit::Act::Login]);
    assert!(
        rest.len() < 8 && rest.iter().all(|act| *act == audit::Act::LoginFailed),
        "what is turned away fills no disk"
    );
    let text = std::fs::read_to_string(&log.files().unwrap()[0]).unwrap();
    assert!(text.contains("admin") && !text.contains(PASSWORD) && !text.contains("wrong"), "{text}");
}

#[tokio::test]
async fn changes_need_the_csrf_token_and_logout_ends_the_session() {
    let served = served().await;
    let (cookie, csrf) = served.log_in().await;
    let post = |path: &str, token: Option<&str>, body: &'static str| {
        let request = served.post(path).header("cookie", &cookie).header("content-type", "application/json").body(body);
        match token {
            Some(token) => request.header("x-csrf-token", token).send(),
            None => request.send(),
        }
    };
    let judgement = r#"{"interaction_id":"x","verdict":"up"}"#;
    assert_eq!(post("/api/feedback", None, judgement).await.unwrap().status(), 403);
    assert_eq!(post("/api/feedback", Some("0"), judgement).await.unwrap().status(), 403);
    let approval = r#"{"version":"0.2.0"}"#;
    assert_eq!(post("/api/approve", None, approval).await.unwrap().status(), 403);
    // With the token the request is read; there is no agent here, and this session has no such answer.
    assert_eq!(post("/api/approve", Some(&csrf), approval).await.unwrap().status(), 503);
    assert_eq!(post("/api/feedback", Some(&csrf), judgement).await.unwrap().status(), 404);

    let log_out = |token: String| {
        served
            .post("/logout")
            .header("cookie", &cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("csrf={token}"))
            .send()
    };
    assert_eq!(log_out("0".into()).await.unwrap().status(), 403);
    assert_eq!(log_out(csrf).await.unwrap().status(), 303);
    let after = served.get("/api/status").header("cookie", &cookie).send().await.unwrap();
    assert_eq!(after.status(), 401);
    let records = audit::read(&audit::Log::console(&served.layout), None).unwrap().records;
    assert_eq!(records.last().unwrap().record.act, audit::Act::Logout);
}

#[tokio::test]
async fn passages_open_and_the_status_names_what_is_down() {
    let served = served().await;
    let (cookie, csrf) = served.log_in().await;
    let get = |path: String| served.get(&path).header("cookie", &cookie).send();
    let passage = get(format!("/api/chunks/{}", served.chunk)).await.unwrap();
    let passage: serde_json::Value = passage.json().await.unwrap();
    assert_eq!(passage["text"], "Die Garantie beträgt 24 Monate.");
    assert_eq!((&passage["heading"], &passage["place"]), (&"Garantie".into(), &"line 1".into()));
    assert_eq!(get("/api/chunks/none".into()).await.unwrap().status(), 404);

    let status: serde_json::Value = get("/api/status".into()).await.unwrap().json().await.unwrap();
    assert_eq!((&status["documents"], &status["version"]), (&1.into(), &"base".into()));
    let services = status["services"].as_array().unwrap();
    assert!(services.len() == 5 && services.iter().all(|s| s["state"] == "down"));

    // Without `embed` there is no answer, and the stream says so instead of breaking off.
    let ask = served
        .post("/api/ask")
        .header("cookie", &cookie)
        .header("x-csrf-token", csrf)
        .header("content-type", "application/json");
    let answer = ask.body(r#"{"question":"Wie lange gilt die Garantie?"}"#).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    assert!(text.contains(r#""event":"error""#), "{text}");
}

/// Lets a group read the one document.
async fn grant(served: &Served, group: &str) {
    let document_id = lake::document_id("/data", "garantie.txt");
    let readers = vec![lake::Readers { document_id, readers: vec![group.to_owned()] }];
    served.lake.commit(Commit { readers, ..Commit::default() }).await.unwrap();
}

#[tokio::test]
async fn people_see_what_their_groups_may_read() {
    let served = served_with(config::Permissions::On).await;
    assert!(!served.get("/login").send().await.unwrap().text().await.unwrap().contains("name=\"name\""));
    base::file::private_dir(&served.layout.console_state()).unwrap();
    let mut people = access::People::default();
    let password = people.put_person("anna", &["sales".to_owned()]).unwrap().unwrap();
    people.write(&served.layout.people()).unwrap();
    assert!(served.get("/login").send().await.unwrap().text().await.unwrap().contains("name=\"name\""));
    for (name, tried) in [("bob", password.expose()), ("anna", PASSWORD), ("", password.expose())] {
        assert_eq!(served.try_account(name, tried).await.status(), 401, "{name}");
    }
    let (cookie, csrf) = served.log_in_as("anna", password.expose()).await;
    let (admin, _) = served.log_in().await;
    let passage = |cookie: &str| served.get(&format!("/api/chunks/{}", served.chunk)).header("cookie", cookie).send();
    assert_eq!(passage(&admin).await.unwrap().status(), 200);
    assert_eq!(passage(&cookie).await.unwrap().status(), 404, "what may not be read is not there");
    grant(&served, "sales").await;
    assert_eq!(passage(&cookie).await.unwrap().status(), 200);
    grant(&served, "hr").await;
    assert_eq!(passage(&cookie).await.unwrap().status(), 404);

    let status = async |cookie: &str| {
        let answer = served.get("/api/status").header("cookie", cookie).send().await.unwrap();
        answer.json::<serde_json::Value>().await.unwrap()
    };
    assert_eq!(status(&admin).await["documents"], 1);
    assert_eq!(status(&cookie).await["documents"], serde_json::Value::Null, "counts tell too");
    let approve = served.post("/api/approve").header("cookie", &cookie).header("x-csrf-token", csrf);
    let approve = approve.header("content-type", "application/json").body(r#"{"version":"0.2.0"}"#);
    assert_eq!(approve.send().await.unwrap().status(), 403);

    people.remove("anna");
    people.write(&served.layout.people()).unwrap();
    assert_eq!(passage(&cookie).await.unwrap().status(), 401, "an account that is gone ends its sessions");
    people.put_person("anna", &["hr".to_owned()]).unwrap().unwrap();
    people.write(&served.layout.people()).unwrap();
    assert_eq!(passage(&cookie).await.unwrap().status(), 401, "another of the same name is somebody else");
    let hash = access::PasswordHash::of(&Secret::new("another-horse-battery")).unwrap();
    hash.write(&served.layout.password_hash()).unwrap();
    assert_eq!(passage(&admin).await.unwrap().status(), 401, "another password ends the sessions of the old one");
    let log = audit::Log::console(&served.layout);
    let text = std::fs::read_to_string(&log.files().unwrap()[0]).unwrap();
    assert!(text.contains("anna") && !text.contains(password.expose()));
}

#[tokio::test]
async fn an_old_answer_is_shown_to_who_may_read_what_it_rests_on() {
    let served = served_with(config::Permissions::On).await;
    base::file::private_dir(&served.layout.console_state()).unwrap();
    let mut people = access::People::default();
    let password = people.put_person("anna", &["sales".to_owned()]).unwrap().unwrap();
    people.write(&served.layout.people()).unwrap();
    let (cookie, _) = served.log_in_as("anna", password.expose()).await;
    let (admin, _) = served.log_in().await;
    let answer = serde_json::json!({
        "text": "24 Monate. [1]", "abstained": false, "language": "de", "version": "base", "quoted": true, "support": 0.6,
        "sentences": [{"text": "24 Monate.", "citation": 1}], "interaction_id": "1", "notes": [],
        "citations": [{
            "n": 1, "document": "garantie.txt", "source": "/data/garantie.txt", "place": "line 1", "quote": "24 Monate",
            "chunk_id": served.chunk, "document_id": lake::document_id("/data", "garantie.txt"),
        }],
        "timings": {"embed_ms": 0, "search_ms": 0, "prefill_ms": 0, "generate_ms": 0, "total_ms": 0},
        "usage": {"prompt_tokens": 0, "completion_tokens": 0},
    });
    for cookie in [&cookie, &admin] {
        let id = cookie.split("; ").find_map(|pair| pair.strip_prefix("0711-muster=")).unwrap();
        let answer = serde_json::from_value(answer.clone()).unwrap();
        let key = Digest::of(id.as_bytes()).hex();
        served.state.conversations.add(&key, "Wie lange gilt die Garantie?".into(), answer);
    }
    let history = async |cookie: &str| {
        let answer = served.get("/api/history").header("cookie", cookie).send().await.unwrap();
        answer.text().await.unwrap()
    };
    grant(&served, "sales").await;
    assert!(history(&cookie).await.contains("24 Monate"));
    grant(&served, "hr").await;
    let shown = history(&cookie).await;
    assert!(!shown.contains("24 Monate") && !shown.contains("garantie.txt"), "{shown}");
    assert!(shown.contains("Wie lange") && shown.contains("may not read any more"), "{shown}");
    assert!(history(&admin).await.contains("24 Monate"));
    let document_id = lake::document_id("/data", "garantie.txt");
    served.lake.commit(Commit { remove: vec![document_id], ..Commit::default() }).await.unwrap();
    assert!(!history(&cookie).await.contains("24 Monate"), "what is gone is nobody's");
}

#[tokio::test]
async fn programs_have_tokens_of_their_own() {
    let served = served().await;
    base::file::private_dir(&served.layout.console_state()).unwrap();
    let mut people = access::People::default();
    let token = people.put_program("shop", &["sales".to_owned()]).unwrap().unwrap();
    people.write(&served.layout.people()).unwrap();
    let models = || served.http.get(format!("http://{}/v1/models", served.api)).bearer_auth(token.expose()).send();
    assert_eq!(models().await.unwrap().status(), 200);
    let pulse = served.http.get(format!("http://{}/v1/pulse", served.api)).bearer_auth(token.expose()).send();
    assert_eq!(pulse.await.unwrap().status(), 401, "the agent's routes are no program's");
    std::fs::write(served.layout.people(), "{").unwrap();
    assert_eq!(models().await.unwrap().status(), 401, "a list nobody understands lets nobody in");
}

#[tokio::test]
async fn the_gateway_asks_for_a_token_and_refuses_in_openais_shape() {
    let served = served().await;
    let url = |path: &str| format!("http://{}{path}", served.api);
    let api_token = Secret::read(&served.layout.api_token()).unwrap();
    for token in ["", "wrong"] {
        let answer = served.http.get(url("/v1/models")).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "invalid_api_key");
    }
    for token in ["role-token", api_token.expose()] {
        let answer = served.http.get(url("/v1/models")).bearer_auth(token).send().await.unwrap();
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body["data"][0]["id"], "brain");
    }
    let post =
        |path: &str, body: &'static str| served.http.post(url(path)).bearer_auth(api_token.expose()).body(body).send();
    for (path, body, status) in [
        ("/v1/chat/completions", "{", 400),
        ("/v1/chat/completions", r#"{"model":"brain","messages":[]}"#, 400),
        ("/v1/chat/completions", r#"{"model":"brain","n":3,"messages":[{"role":"user","content":"a"}]}"#, 400),
        ("/v1/chat/completions", r#"{"model":"brain","messages":[{"role":"user","content":" "}]}"#, 400),
        ("/v1/chat/completions", r#"{"model":"base","messages":[{"role":"user","content":"a"}]}"#, 503),
        ("/v1/completions", r#"{"model":"brain","prompt":"a"}"#, 400),
        ("/v1/embeddings", r#"{"model":"multilingual-e5-small","input":"a"}"#, 503),
        ("/v1/nothing", "{}", 404),
    ] {
        let answer = post(path, body).await.unwrap();
        assert_eq!(answer.status(), status, "{path} {body}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string());
    }
}
