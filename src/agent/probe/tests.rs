//! Probes against small servers that answer as a role would, or not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::*;

/// Answers `/v1/pulse` with the beats in order (the last one again and again), and every other path with `answer`.
#[derive(Clone)]
struct Stub {
    beats: Arc<Mutex<VecDeque<u64>>>,
    answer: Answer,
}

#[derive(Clone)]
enum Answer {
    Says(u16, &'static str),
    Never,
}

async fn serve(State(stub): State<Stub>, request: Request) -> Response {
    if request.uri().path() == "/v1/pulse" {
        let mut beats = stub.beats.lock().unwrap();
        let moved = if beats.len() > 1 { beats.pop_front().unwrap() } else { beats[0] };
        return axum::Json(json!({ "format": 1, "moved": moved, "running": 0 })).into_response();
    }
    match stub.answer {
        Answer::Says(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Answer::Never => std::future::pending().await,
    }
}

async fn met(role: Role, known: Known, beats: &[u64], answer: Answer) -> Probed {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::loopback(listener.local_addr().unwrap().port());
    let stub = Stub { beats: Arc::new(Mutex::new(beats.iter().copied().collect())), answer };
    let server =
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(serve).with_state(stub)).await });
    let page = (role == Role::Console).then(|| endpoint.clone());
    let token = Secret::new("abc");
    let job = Job {
        role,
        page,
        api: endpoint,
        token: &token,
        model: "m",
        dimension: 2,
        known: &known,
        patience: Duration::from_millis(1500),
    };
    let probed = job.probe().await;
    server.abort();
    probed
}

fn knows(moved: Option<u64>, ready: &[Role]) -> Known {
    let beat = moved.map(|moved| Beat { format: 1, moved, running: 0 });
    Known { beat, ready: ready.iter().copied().collect() }
}

async fn check(role: Role, known: Known, answer: (u16, &'static str), expect: WorkVerdict, says: &str) {
    let probed = met(role, known, &[0], Answer::Says(answer.0, answer.1)).await;
    assert_eq!(probed.verdict, expect, "{probed:?}");
    assert!(probed.note.contains(says), "{probed:?}");
    assert_eq!(probed.took.is_some(), expect == WorkVerdict::Good, "{probed:?}");
}

const VECTOR: &str = r#"{"data":[{"embedding":[0.6,0.8]}]}"#;

#[tokio::test]
async fn a_job_done_is_good_and_one_done_wrong_is_not() {
    use WorkVerdict::{Failing, Good};
    let any = Known::default;
    check(Role::Llm, any(), (200, r#"{"choices":[{"finish_reason":"length"}]}"#), Good, "token").await;
    check(Role::Llm, any(), (200, r#"{"choices":[]}"#), Failing, "no end").await;
    check(Role::Llm, any(), (500, r#"{"error":{"message":"no context"}}"#), Failing, "500: no context").await;
    check(Role::Embed, any(), (200, VECTOR), Good, "2 numbers").await;
    check(Role::Embed, any(), (200, r#"{"data":[{"embedding":[1.0]}]}"#), Failing, "those in the lake 2").await;
    check(Role::Embed, any(), (200, r#"{"data":[{"embedding":[0.6,0.6]}]}"#), Failing, "length 0.849").await;
    check(Role::Embed, any(), (200, r#"{"data":[{"embedding":[null]}]}"#), Failing, "length NaN").await;
    check(Role::Lake, any(), (200, r#"{"format":1,"found":{"commit":"7"}}"#), Good, "commit 7").await;
    check(Role::Lake, any(), (500, r#"{"error":"the canary is not found"}"#), Failing, "not found").await;
    check(Role::Ingest, any(), (200, "{}"), Failing, "no canary's").await;
    check(Role::Console, any(), (200, "<p>"), Failing, "no form").await;
    check(Role::Console, any(), (200, "<form>"), Failing, "no JSON").await;
}

#[tokio::test]
async fn a_console_is_not_blamed_for_a_role_that_is_down() {
    // The stub's page is its canary too: a form in the note of a fact keeps both content.
    let body = r#"{"format":1,"found":{"page":"<form"},"unreachable":{"llm":"refused"}}"#;
    check(Role::Console, knows(None, &[Role::Embed]), (200, body), WorkVerdict::Blocked, "llm: refused").await;
    check(Role::Console, knows(None, &[Role::Llm]), (200, body), WorkVerdict::Failing, "which is ready").await;
}

#[tokio::test]
async fn a_model_that_answers_people_is_not_asked() {
    let probed = met(Role::Llm, knows(Some(4), &[]), &[9], Answer::Never).await;
    assert_eq!((probed.verdict, probed.beat.unwrap().moved), (WorkVerdict::Good, 9));
}

#[tokio::test]
async fn a_refusal_for_want_of_time_is_busy_only_if_work_went_on() {
    let full = Answer::Says(503, r#"{"error":{"message":"32 requests wait"}}"#);
    let moving = met(Role::Embed, Known::default(), &[4, 5], full.clone()).await;
    assert_eq!(moving.verdict, WorkVerdict::Busy, "{moving:?}");
    let standing = met(Role::Embed, Known::default(), &[4, 4], full).await;
    assert_eq!(standing.verdict, WorkVerdict::Failing, "{standing:?}");
}

#[tokio::test]
async fn silence_is_busy_only_if_work_went_on() {
    let moving = met(Role::Llm, Known::default(), &[4, 5], Answer::Never).await;
    assert_eq!(moving.verdict, WorkVerdict::Busy, "{moving:?}");
    let standing = met(Role::Llm, Known::default(), &[4, 4], Answer::Never).await;
    assert_eq!(standing.verdict, WorkVerdict::Failing, "{standing:?}");
    assert!(standing.note.contains("within 1 s"), "{standing:?}");
}
