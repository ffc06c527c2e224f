//! Answers in the two shapes of the wire, whole and as server-sent events.

use std::convert::Infallible;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};

use super::refusal::Refusal;
use crate::{
    ChatMessage, Error, Piece,
    wire::{Choice, Completion, Delta},
};

/// Which of the two completions is answered.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Face {
    Chat,
    Text,
}

impl Face {
    /// Returns a new answer's id.
    pub fn id(self) -> String {
        use std::hash::{BuildHasher, RandomState};
        let prefix = if self == Self::Chat { "chatcmpl" } else { "cmpl" };
        format!("{prefix}-{:016x}", RandomState::new().hash_one(0))
    }

    /// Returns the wire's name of the answer's type.
    pub fn object(self, streamed: bool) -> &'static str {
        match (self, streamed) {
            (Self::Chat, false) => "chat.completion",
            (Self::Chat, true) => "chat.completion.chunk",
            (Self::Text, _) => "text_completion",
        }
    }

    /// Returns a whole answer.
    pub fn whole(self, text: String) -> Choice {
        match self {
            Self::Chat => Choice { message: Some(ChatMessage::assistant(text).into()), ..Choice::default() },
            Self::Text => Choice { text: Some(text), ..Choice::default() },
        }
    }

    /// Returns what one event adds.
    fn part(self, text: String) -> Choice {
        match self {
            Self::Chat if text.is_empty() => Choice { delta: Some(Delta::default()), ..Choice::default() },
            Self::Chat => Choice { delta: Some(Delta { role: None, content: Some(text) }), ..Choice::default() },
            Self::Text => Choice { text: Some(text), ..Choice::default() },
        }
    }
}

/// Returns the answer as events: in a chat first the role, then each piece, then the reason it ended, the usage if asked for, and
/// `[DONE]`. An error in the middle is one event, and ends the stream.
pub(super) fn events(
    face: Face,
    head: Completion,
    pieces: impl Stream<Item = Result<Piece, Error>> + Send + 'static,
    with_usage: bool,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let head = Completion { object: face.object(true).into(), ..head };
    let chunk = move |choice: Choice| Completion { choices: vec![choice], ..head.clone() };
    let events = async_stream::stream! {
        if face == Face::Chat {
            let opening = Delta { role: Some("assistant".into()), content: Some(String::new()) };
            yield event(&chunk(Choice { delta: Some(opening), ..Choice::default() }));
        }
        tokio::pin!(pieces);
        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    yield event(&Refusal::from(error).body());
                    return;
                }
            };
            if !piece.text.is_empty() {
                yield event(&chunk(face.part(piece.text)));
            }
            if let Some(finish) = piece.finish {
                let last = Choice { finish_reason: Some(finish.wire().into()), ..face.part(String::new()) };
                yield event(&chunk(last));
            }
            if let Some(usage) = piece.usage.filter(|_| with_usage) {
                let total = Completion { choices: Vec::new(), usage: Some(usage.into()), ..chunk(Choice::default()) };
                yield event(&total);
            }
        }
        yield Ok(Event::default().data("[DONE]"));
    };
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn event(body: &impl serde::Serialize) -> Result<Event, Infallible> {
    // These types hold nothing JSON cannot say.
    Ok(Event::default().data(serde_json::to_string(body).unwrap_or_default()))
}
