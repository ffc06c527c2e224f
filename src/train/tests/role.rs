//! The role over HTTP: who is let in, and what is refused how. Training itself is told in `story`.

use base::{Digest, Layout, Secret, Slug, config::ModelRef, config::ServiceConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

async fn ask(port: u16, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[tokio::test]
async fn only_who_has_the_token_gets_an_answer_and_a_wrong_request_is_named() {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout::rooted(root.path());
    let slug = Slug::parse("demo").unwrap();
    let model = ModelRef { name: "m".to_owned(), digest: Digest::of(b"m"), path: root.path().join("absent.gguf") };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ServiceConfig {
        format: 1,
        customer_name: "Demo".to_owned(),
        slug: slug.clone(),
        bind: std::net::Ipv4Addr::LOCALHOST.into(),
        port_base: 1,
        folders: Vec::new(),
        chat_model: model.clone(),
        embed_model: model,
        max_documents: 1,
        training_minutes: 1,
        threads: 1,
        console_hosts: Vec::new(),
        permissions: Default::default(),
        containers: None,
    };
    let shutdown = CancellationToken::new();
    let customer = layout.customer(&slug);
    let serving = crate::serve(config, layout, customer, Secret::new("right"), listener, shutdown.clone());
    let serving = tokio::spawn(serving);

    assert_eq!(ask(port, "GET", "/health", None, "").await.0, 200);
    let right = Some("right");
    for (method, path, token, body, status, says) in [
        ("GET", "/v1/versions", None, "", 401, "token"),
        ("GET", "/v1/versions", Some("wrong"), "", 401, "token"),
        ("GET", "/v1/nowhere", None, "", 401, "token"),
        ("GET", "/v1/nowhere", right, "", 404, "no such path"),
        ("GET", "/v1/versions", right, "", 200, "\"promoted\":null"),
        ("GET", "/v1/jobs/abc", right, "", 404, "no such job"),
        ("POST", "/v1/versions/v9/promote", right, "", 404, "v9"),
        ("POST", "/v1/versions/rollback", right, "", 409, "roll back"),
        ("POST", "/v1/jobs", right, "{\"params\":{\"minutes\":0}}", 400, "0 minutes"),
        ("POST", "/v1/jobs", right, "{\"params\":{\"hours\":1}}", 400, "hours"),
        ("POST", "/v1/canary", None, "", 401, "token"),
        ("POST", "/v1/canary", right, "", 500, "absent.gguf"),
        ("GET", "/v1/pulse", right, "", 200, "\"running\":0"),
    ] {
        let (got, answer) = ask(port, method, path, token, body).await;
        assert_eq!(got, status, "{method} {path}: {answer}");
        assert!(answer.contains(says), "{method} {path}: {answer}");
    }
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}

#[test]
fn a_model_that_was_cut_off_is_noticed_by_its_head() {
    let whole = super::testing::model_file();
    let config = crate::BaseModel::inspect(&whole).unwrap();
    assert_eq!(&config, crate::BaseModel::open(&whole).unwrap().config());
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.gguf");
    std::fs::copy(&whole, &cut).unwrap();
    let length = std::fs::metadata(&cut).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(length - 1000).unwrap();
    let error = crate::BaseModel::inspect(&cut).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("are needed"), "{error:?}");
}
