//! `/v1/chat/completions` for the model `brain`: the last user message is the question, earlier turns are its history.

use std::convert::Infallible;

use answer::{Answer, AskEvent, Question, Turn};
use axum::{
    body::Bytes,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use base::Rights;
use engine::wire::{ChatCompletionRequest, Message};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use super::{BRAIN, fault::Fault};
use crate::state::Shared;

/// Turns of history that can matter to a follow-up.
const HISTORY: usize = 4;

/// Answers one chat request, whole or as a stream, from what its asker may read.
pub(crate) async fn chat(state: &Shared, rights: Rights, body: &Bytes) -> Result<Response, Fault> {
    let request: ChatCompletionRequest = serde_json::from_slice(body)
        .map_err(|error| Fault::bad_request(format!("the body is no chat request: {error}")))?;
    if let Some(field) = request.settings.unsupported() {
        return Err(Fault::bad_request(format!("`{field}` is not supported by `{BRAIN}`")));
    }
    let question = Question { rights, ..question(request.messages)? };
    let id = completion_id()?;
    let created = state.clock.now().millis() / 1000;
    if request.settings.stream.unwrap_or(false) {
        let usage = request.settings.stream_options.is_some_and(|o| o.include_usage);
        let head = Head { id, created, usage };
        let stream = chunks(head, state.brain.ask(question));
        return Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response());
    }
    let answer = state.brain.answer(question).await?;
    Ok(super::json(json!({
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": BRAIN,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": answer.text, "citations": answer.citations},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": usage(&answer),
        "brain": about(&answer),
    })))
}

/// Splits a conversation into the question and the turns before it.
fn question(messages: Vec<Message>) -> Result<Question, Fault> {
    let mut history = Vec::new();
    let mut open: Option<String> = None;
    for message in messages {
        let message =
            message.into_chat().map_err(|kind| Fault::bad_request(format!("`{BRAIN}` reads text, not `{kind}`")))?;
        match (message.role.as_str(), open.take()) {
            ("user", _) => open = Some(message.content),
            ("assistant", Some(question)) => history.push(Turn { question, answer: message.content }),
            // System prompts of callers do not steer the brain: what it says rests on passages alone.
            (_, before) => open = before,
        }
    }
    let text = open.ok_or_else(|| Fault::bad_request("the last message is not the user's".into()))?;
    let skip = history.len().saturating_sub(HISTORY);
    Ok(Question { history: history.split_off(skip), ..Question::new(text, "api") })
}

fn completion_id() -> Result<String, Fault> {
    let random = base::Secret::generate().map_err(|error| {
        tracing::error!(error = %error, "the system gives no random bytes");
        Fault::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "the system gives no random bytes".into(),
        )
    })?;
    Ok(format!("chatcmpl-{}", &random.expose()[..24]))
}

/// Tokens the model read and wrote; none when an answer was quoted without it or withheld.
fn usage(answer: &Answer) -> Value {
    let (prompt, completion) = (answer.usage.prompt_tokens, answer.usage.completion_tokens);
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
}

/// What a program may want to know about an answer beyond OpenAI's fields.
fn about(answer: &Answer) -> Value {
    json!({
        "abstained": answer.abstained,
        "quoted": answer.quoted,
        "version": answer.version,
        "notes": answer.notes,
        "timings": answer.timings,
        "interaction_id": answer.interaction_id,
    })
}

struct Head {
    id: String,
    created: i64,
    usage: bool,
}

impl Head {
    fn chunk(&self, delta: Value, finish: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": BRAIN,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        })
    }
}

/// Turns the answer's events into OpenAI's chunks: one per sentence, a last one with `citations`, then `[DONE]`.
fn chunks(
    head: Head,
    events: impl Stream<Item = Result<AskEvent, answer::Error>> + Send,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let mut first = true;
    let opening = head.chunk(json!({"role": "assistant", "content": ""}), None);
    let body = events.flat_map(move |event| {
        let values = match event {
            Ok(AskEvent::Sentence(sentence)) => {
                let gap = if std::mem::take(&mut first) { "" } else { " " };
                let marker = sentence.citation.map_or(String::new(), |n| format!(" [{n}]"));
                let content = format!("{gap}{}{marker}", sentence.text);
                vec![head.chunk(json!({"content": content}), None)]
            }
            Ok(AskEvent::Done(answer)) => {
                let mut last = head.chunk(json!({"citations": answer.citations}), Some("stop"));
                last["brain"] = about(&answer);
                let mut values = vec![last];
                if head.usage {
                    let mut totals = head.chunk(Value::Null, None);
                    totals["choices"] = json!([]);
                    totals["usage"] = usage(&answer);
                    values.push(totals);
                }
                values
            }
            Ok(AskEvent::Retrieved { .. } | AskEvent::Citation(_)) => Vec::new(),
            Err(error) => vec![Fault::from(error).body()],
        };
        futures::stream::iter(values)
    });
    futures::stream::iter([opening])
        .chain(body)
        .map(|value| value.to_string())
        .chain(futures::stream::iter(["[DONE]".to_owned()]))
        .map(|data| Ok(Event::default().data(data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<Message> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_last_user_message_is_the_question() {
        let found = question(messages(
            r#"[{"role":"system","content":"be rude"},{"role":"user","content":"a?"},{"role":"assistant","content":"b."},{"role":"user","content":[{"type":"text","text":"c?"}]}]"#,
        ))
        .unwrap();
        assert_eq!(found.text, "c?");
        assert_eq!(found.history.len(), 1);
        assert_eq!((found.history[0].question.as_str(), found.history[0].answer.as_str()), ("a?", "b."));
        for refused in [
            "[]",
            r#"[{"role":"user","content":"a?"},{"role":"assistant","content":"b."}]"#,
            r#"[{"role":"user","content":[{"type":"image_url"}]}]"#,
        ] {
            assert!(question(messages(refused)).is_err(), "{refused}");
        }
    }
}
