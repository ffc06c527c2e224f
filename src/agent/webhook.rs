//! Tells an address the administrator set of what happens: one event a request, signed, tried again, and never waited for.

use std::time::Duration;

use base::{Digest, Secret};
use install::control::AgentEvent;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::settings::Webhook;
use crate::supervisor::chain;

/// What is sent: JSON, with `X-0711-Signature: sha256=HEX` where there is a secret (HMAC-SHA-256 of the body, RFC 2104).
#[derive(Serialize)]
struct Sent<'a> {
    /// Version of this format: 1.
    format: u32,
    host: &'a str,
    event: &'a AgentEvent,
}

/// Events that wait. Beyond them the newest are lost, which is said in the log.
pub(crate) const QUEUE: usize = 64;
const FORMAT: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(10);
const TRIES: u32 = 5;
const AGAIN_FIRST: Duration = Duration::from_secs(2);

/// Sends what comes until nobody sends any more. One event is tried for about a minute, then given up.
pub(crate) async fn run(webhook: Webhook, mut events: mpsc::Receiver<AgentEvent>) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        // Where an address sends us on to, the administrator did not set.
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::warn!(error = chain(&error), "the webhook cannot be used");
            return;
        }
    };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    while let Some(event) = events.recv().await {
        let sent = Sent { format: FORMAT, host: &host, event: &event };
        let Ok(body) = serde_json::to_vec(&sent) else { continue };
        let mut pause = AGAIN_FIRST;
        for turn in 1..=TRIES {
            match send(&client, &webhook, &body).await {
                Ok(()) => break,
                Err(why) if turn == TRIES => {
                    tracing::warn!(event.seq = event.seq, why, "the webhook was not told of an event");
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
    }
}

async fn send(client: &reqwest::Client, webhook: &Webhook, body: &[u8]) -> Result<(), String> {
    let mut request = client.post(&webhook.url).header("content-type", "application/json").body(body.to_vec());
    if let Some(path) = &webhook.secret_file {
        // Read each time: a new secret counts at once.
        let secret = Secret::read(path).map_err(|error| chain(&error))?;
        let signature = hex(&hmac(secret.expose().as_bytes(), body));
        request = request.header("x-0711-signature", format!("sha256={signature}"));
    }
    let answer = request.send().await.map_err(|error| chain(&error.without_url()))?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("it answers {}", answer.status().as_u16())) }
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(Digest::of(key).as_bytes());
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad: u8, rest: &[u8]| {
        let mut bytes: Vec<u8> = block.iter().map(|byte| byte ^ pad).collect();
        bytes.extend_from_slice(rest);
        Digest::of(&bytes)
    };
    let inner = padded(0x36, message);
    *padded(0x5c, inner.as_bytes()).as_bytes()
}

fn hex(bytes: &[u8; 32]) -> String {
    Digest::from_bytes(*bytes).hex()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use base::Timestamp;
    use install::control::EventKind;

    use super::*;

    /// The cases 1, 2 and 6 of RFC 4231.
    #[test]
    fn the_signature_is_the_standards() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, expect) in cases {
            assert_eq!(hex(&hmac(key, message)), expect);
        }
    }

    #[tokio::test]
    async fn an_event_is_sent_signed_and_again_after_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let secret_file = dir.path().join("secret");
        Secret::new("key").write(&secret_file).unwrap();
        let got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>> = Arc::default();
        let seen = Arc::clone(&got);
        let answer = move |headers: HeaderMap, body: Bytes| async move {
            let mut all = seen.lock().unwrap();
            all.push((headers, body));
            if all.len() == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", post(answer))).await });
        let event = AgentEvent {
            format: 1,
            seq: 7,
            at: Timestamp::from_millis(0),
            kind: EventKind::Disk,
            customer: None,
            role: None,
            message: "full".to_owned(),
        };
        let (send, receive) = mpsc::channel(1);
        send.send(event).await.unwrap();
        drop(send);
        let hook = run(Webhook { url, secret_file: Some(secret_file) }, receive);
        tokio::time::timeout(Duration::from_secs(20), hook).await.unwrap();
        let all = got.lock().unwrap();
        assert_eq!(all.len(), 2, "once refused, once taken");
        let (headers, body) = &all[1];
        let value: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&value["event"]["seq"], &value["event"]["kind"]), (&7.into(), &"disk".into()));
        assert_eq!(headers["x-0711-signature"], format!("sha256={}", hex(&hmac(b"key", body))));
    }
}
