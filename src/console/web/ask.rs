//! Questions of the page: `POST /api/ask` streams the answer's events, `GET /api/chunks/{id}` opens a passage.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc};

use answer::{AskEvent, Passage, Question};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use base::Explain;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::{conversations::Exchange, guard::SignedIn, refusal::Refusal, strings::Locale};
use crate::state::Shared;

/// The body of `POST /api/ask`.
#[derive(Deserialize)]
pub(crate) struct Ask {
    question: String,
}

/// An event of the stream: the answer's own, or the error that ended it.
#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    Retrieved { event: &'static str, passages: Vec<Glimpse> },
    Answer(AskEvent),
    Error { event: &'static str, message: String },
}

/// A retrieved passage without its text; the page fetches the text of what the reader opens.
#[derive(Serialize)]
struct Glimpse {
    document: String,
    source: String,
    place: String,
    heading: String,
    chunk_id: String,
}

impl From<Passage> for Glimpse {
    fn from(passage: Passage) -> Self {
        Self {
            document: passage.document,
            source: passage.source,
            place: passage.place,
            heading: passage.heading,
            chunk_id: passage.chunk_id,
        }
    }
}

/// Streams an answer as server-sent events.
pub(crate) async fn ask(
    State(state): State<Arc<Shared>>,
    Extension(signed_in): Extension<SignedIn>,
    Json(ask): Json<Ask>,
) -> Response {
    let question = Question {
        history: state.conversations.turns(&signed_in.key),
        rights: signed_in.rights.clone(),
        ..Question::new(ask.question.clone(), "console")
    };
    let events = state.brain.ask(question).map(move |event| {
        let told = match event {
            Ok(AskEvent::Retrieved { passages }) => {
                Told::Retrieved { event: "retrieved", passages: passages.into_iter().map(Glimpse::from).collect() }
            }
            Ok(event) => {
                if let AskEvent::Done(answer) = &event {
                    let question = ask.question.clone();
                    state.conversations.add(&signed_in.key, question, (**answer).clone());
                }
                Told::Answer(event)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a question could not be answered");
                let remedy = error.remedy().map_or(String::new(), |r| format!(" ({})", r.0));
                Told::Error { event: "error", message: format!("{error}{remedy}") }
            }
        };
        Ok::<_, Infallible>(frame(&told))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

fn frame(told: &Told) -> Event {
    match Event::default().json_data(told) {
        Ok(event) => event,
        Err(error) => {
            tracing::error!(error = %error, "an event cannot be written as JSON");
            Event::default().data(r#"{"event":"error","message":"an event was lost"}"#)
        }
    }
}

/// What a session asked so far.
#[derive(Serialize)]
pub(crate) struct History {
    exchanges: Vec<Exchange>,
}

/// `GET /api/history`. An answer stays what its asker may read now: one that rests on a document closed since is withheld.
pub(crate) async fn history(
    State(state): State<Arc<Shared>>,
    Extension(signed_in): Extension<SignedIn>,
    headers: HeaderMap,
) -> Result<Json<History>, Refusal> {
    let mut exchanges = state.conversations.all(&signed_in.key);
    if !signed_in.rights.is_all() {
        let cited = exchanges.iter().flat_map(|exchange| &exchange.answer.citations);
        let cited: BTreeSet<String> = cited.map(|citation| citation.document_id.clone()).collect();
        let mut open = BTreeSet::new();
        for id in cited {
            let row = state.lake.document(&id).await.map_err(|error| unreachable_lake(&error))?;
            // What is gone cannot say any more who might read it.
            if row.is_some_and(|row| signed_in.rights.may_read(&row.readers)) {
                open.insert(id);
            }
        }
        let withheld = Locale::of(&headers).words().withheld;
        for exchange in &mut exchanges {
            if exchange.answer.citations.iter().any(|citation| !open.contains(&citation.document_id)) {
                exchange.withhold(withheld);
            }
        }
    }
    Ok(Json(History { exchanges }))
}

fn unreachable_lake(error: &lake::Error) -> Refusal {
    tracing::warn!(error = error as &dyn std::error::Error, "the lake cannot be asked");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the knowledge store does not answer")
}

/// A passage as the side panel shows it.
#[derive(Serialize)]
pub(crate) struct Opened {
    text: String,
    heading: String,
    place: String,
}

/// `GET /api/chunks/{id}`.
pub(crate) async fn passage(
    State(state): State<Arc<Shared>>,
    Extension(signed_in): Extension<SignedIn>,
    Path(id): Path<String>,
) -> Result<Json<Opened>, Refusal> {
    let chunk = state.lake.chunk(&id).await.map_err(|error| unreachable_lake(&error))?;
    // What somebody may not read is not there.
    let chunk = chunk.filter(|chunk| signed_in.rights.may_read(&chunk.readers));
    let chunk = chunk.ok_or(Refusal::new(
        StatusCode::NOT_FOUND,
        "this passage is no longer there: its document was changed or removed",
    ))?;
    Ok(Json(Opened { heading: chunk.heading_path.join(" › "), place: chunk.place.to_string(), text: chunk.text }))
}
