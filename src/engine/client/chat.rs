//! The role `llm` from outside.

use std::path::Path;

use async_stream::try_stream;
use base::Secret;
use futures::StreamExt;

use super::http::Service;
use crate::{
    Error, FinishReason, GenerateRequest, Piece, PieceStream, Prompt,
    wire::{
        ChatCompletionRequest, Completion, CompletionRequest, ErrorBody, LoadAdapterRequest, Model, ModelList,
        OneOrMany, Settings, StreamOptions, UnloadAdapterRequest,
    },
};

/// The name of the model without an adapter.
const BASE: &str = "base";

/// An event is a few words; a line longer than this is none.
const MAX_LINE_BYTES: usize = 1 << 20;

/// A client of the role `llm`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChatClient {
    service: Service,
}

impl ChatClient {
    /// A client of the role at `base_url` (`http://127.0.0.1:PORT`). Nothing is sent yet.
    pub fn new(base_url: impl Into<String>, token: Secret) -> Self {
        Self { service: Service::new(base_url, token) }
    }

    /// Returns the answer as it is made; errors come as items. Dropping the stream ends the work in the role.
    pub fn generate(&self, request: GenerateRequest) -> PieceStream {
        let service = self.service.clone();
        Box::pin(try_stream! {
            let model = request.adapter.unwrap_or_else(|| BASE.to_owned());
            let settings = Settings {
                max_tokens: Some(request.max_tokens),
                temperature: Some(request.temperature),
                top_p: Some(request.top_p),
                seed: Some(request.seed as i64),
                stop: (!request.stop.is_empty()).then_some(OneOrMany::Many(request.stop)),
                stream: Some(true),
                stream_options: Some(StreamOptions { include_usage: true }),
                ..Settings::default()
            };
            let (path, response) = match request.prompt {
                Prompt::Messages(messages) => {
                    let messages = messages.into_iter().map(Into::into).collect();
                    let path = "/v1/chat/completions";
                    (path, service.start(path, &ChatCompletionRequest { model, messages, settings }).await?)
                }
                Prompt::Text(text) => {
                    let path = "/v1/completions";
                    (path, service.start(path, &CompletionRequest { model, prompt: OneOrMany::One(text), settings }).await?)
                }
            };
            let url = service.url(path);
            let mut body = response.bytes_stream();
            let mut lines = Lines::default();
            let mut ending = Ending::default();
            'answer: loop {
                let Some(bytes) = body.next().await else {
                    Err(Error::Protocol { url: url.clone(), reason: "the answer breaks off".into() })?;
                    break;
                };
                let bytes = bytes.map_err(|source| Error::Reach { url: url.clone(), source: source.without_url() })?;
                for data in lines.push(&bytes).map_err(|reason| Error::Protocol { url: url.clone(), reason })? {
                    if data == "[DONE]" {
                        break 'answer;
                    }
                    let text = ending.read(&data, &url)?;
                    if !text.is_empty() {
                        yield Piece { text, finish: None, usage: None };
                    }
                }
            }
            let finish = ending.finish.ok_or_else(|| Error::Protocol { url, reason: "the answer has no end".into() })?;
            yield Piece { text: String::new(), finish: Some(finish), usage: ending.usage };
        })
    }

    /// Loads an adapter that lies below the customer's adapters.
    ///
    /// # Errors
    /// [`Error::Reach`], [`Error::Refused`].
    pub async fn load_adapter(&self, name: &str, path: &Path) -> Result<(), Error> {
        let request = LoadAdapterRequest { lora_name: name.to_owned(), lora_path: path.to_owned() };
        self.service.start("/v1/load_lora_adapter", &request).await.map(drop)
    }

    /// Forgets an adapter.
    ///
    /// # Errors
    /// [`Error::Reach`], [`Error::Refused`].
    pub async fn unload_adapter(&self, name: &str) -> Result<(), Error> {
        let request = UnloadAdapterRequest { lora_name: name.to_owned() };
        self.service.start("/v1/unload_lora_adapter", &request).await.map(drop)
    }

    /// Returns the names of the loaded adapters.
    ///
    /// # Errors
    /// [`Error::Reach`], [`Error::Refused`], [`Error::Protocol`].
    pub async fn adapters(&self) -> Result<Vec<String>, Error> {
        Ok(self.models().await?.into_iter().map(|model| model.id).filter(|id| id != BASE).collect())
    }

    /// Returns the most tokens of prompt and answer together, where the role says it.
    ///
    /// # Errors
    /// As [`Self::adapters`].
    pub async fn context_tokens(&self) -> Result<Option<usize>, Error> {
        Ok(self.models().await?.into_iter().find_map(|model| model.max_model_len))
    }

    async fn models(&self) -> Result<Vec<Model>, Error> {
        let list: ModelList = self.service.get("/v1/models").await?;
        Ok(list.data)
    }
}

/// How an answer ended, gathered from its events.
#[derive(Default)]
struct Ending {
    finish: Option<FinishReason>,
    usage: Option<crate::Usage>,
}

impl Ending {
    /// Reads one event and returns its text.
    fn read(&mut self, data: &str, url: &str) -> Result<String, Error> {
        let Ok(event) = serde_json::from_str::<Completion>(data) else {
            return Err(match serde_json::from_str::<ErrorBody>(data) {
                Ok(refusal) => Error::Refused { url: url.into(), status: 500, message: refusal.error.message },
                Err(error) => Error::Protocol { url: url.into(), reason: error.to_string() },
            });
        };
        self.usage = event.usage.map(Into::into).or(self.usage);
        let Some(choice) = event.choices.into_iter().next() else { return Ok(String::new()) };
        self.finish = match choice.finish_reason.as_deref() {
            None => self.finish,
            Some("length") => Some(FinishReason::Length),
            Some(_) => Some(FinishReason::Stop),
        };
        Ok(choice.delta.and_then(|delta| delta.content).or(choice.text).unwrap_or_default())
    }
}

/// Cuts a byte stream into the data of server-sent events.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// Takes bytes and returns the data lines they complete. Comments, names and blank lines are dropped: this wire's events have one
    /// data line each.
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, String> {
        self.0.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            let line = String::from_utf8(line).map_err(|_| "an event is not UTF-8".to_owned())?;
            if let Some(data) = line.trim_end().strip_prefix("data:") {
                found.push(data.trim_start().to_owned());
            }
        }
        if self.0.len() > MAX_LINE_BYTES { Err("an event has no end".into()) } else { Ok(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let wire = ": hello\r\ndata: {\"a\":\"ü\"}\r\n\r\nevent: x\ndata:[DONE]\n\n".as_bytes();
        for size in 1..wire.len() {
            let mut lines = Lines::default();
            let found: Vec<String> = wire.chunks(size).flat_map(|part| lines.push(part).unwrap()).collect();
            assert_eq!(found, ["{\"a\":\"ü\"}", "[DONE]"], "in parts of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        assert!(lines.push(&vec![b'x'; MAX_LINE_BYTES + 1]).is_err());
    }

    #[test]
    fn an_error_inside_a_stream_is_an_error() {
        let data =
            r#"{"error":{"message":"cannot compute the next token","type":"server_error","param":null,"code":null}}"#;
        let refused = Ending::default().read(data, "http://127.0.0.1:1/v1/completions");
        assert!(matches!(refused, Err(Error::Refused { message, .. }) if message == "cannot compute the next token"));
    }
}
