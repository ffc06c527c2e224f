//! The handle others hold on a chat model.

use std::{
    path::Path,
    sync::{Arc, PoisonError, mpsc as queue},
    thread::{self, JoinHandle},
};

use base::Pulse;
use llama_cpp_2::model::params::LlamaModelParams;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    ChatOptions, ChatTokenizer, GenerateRequest, PieceStream, Prompt,
    owner::{self, Change, Command, Names},
    session::Work,
    tokenizer,
};
use crate::Error;

/// Requests that may wait; one more is told to come back, before anybody waits minutes.
const QUEUE: usize = 32;

/// A chat model in this process. Cheap to clone; the model goes with its last clone.
#[derive(Clone)]
pub struct ChatModel {
    commands: queue::SyncSender<Command>,
    owner: Arc<JoinHandle<()>>,
    names: Names,
    tokenizer: ChatTokenizer,
    context_tokens: usize,
    pulse: Pulse,
}

impl ChatModel {
    /// Opens a GGUF file and starts the thread that owns it. Blocks while the file is read.
    ///
    /// # Errors
    /// [`Error::ReadModel`], [`Error::ModelFormat`]; [`Error::Backend`] when no context of that size can be had.
    pub fn open(path: &Path, options: ChatOptions) -> Result<Self, Error> {
        let tokenizer = ChatTokenizer::open(path)?;
        let model = tokenizer::load(path, LlamaModelParams::default())?;
        // Beyond what it was trained on a model only babbles.
        let context_tokens = options.context_tokens.clamp(1, model.n_ctx_train().max(1));
        let options = ChatOptions { context_tokens, ..options };
        let (commands, queue) = queue::sync_channel(QUEUE);
        let (ready, opened) = queue::sync_channel(1);
        let names = Names::default();
        let pulse = Pulse::default();
        let theirs = (Arc::clone(&names), pulse.clone());
        let owner = thread::Builder::new()
            .name("llm".into())
            .spawn(move || owner::run(model, options, queue, theirs, ready))
            .map_err(|error| Error::Backend { reason: error.to_string() })?;
        opened.recv().unwrap_or(Err(Error::Stopped))?;
        let context_tokens = context_tokens as usize;
        Ok(Self { commands, owner: Arc::new(owner), names, tokenizer, context_tokens, pulse })
    }

    /// Returns the answer as it is made. A refusal comes as the stream's only item.
    ///
    /// Refused are: an empty prompt ([`Error::EmptyPrompt`]), one that leaves no room for an answer ([`Error::PromptTooLong`]), an
    /// adapter that is not loaded ([`Error::UnknownAdapter`]), and any request while too many wait ([`Error::Busy`]).
    pub fn generate(&self, request: GenerateRequest) -> PieceStream {
        match self.submit(request) {
            Ok(pieces) => Box::pin(pieces),
            Err(error) => Box::pin(tokio_stream::once(Err(error))),
        }
    }

    fn submit(&self, request: GenerateRequest) -> Result<ReceiverStream<Result<super::Piece, Error>>, Error> {
        let tokens = self.check_prompt(&request.prompt)?;
        self.check_adapter(request.adapter.as_deref())?;
        // Room for every piece there can be: the owner never waits for a slow reader.
        let most = request.max_tokens.min(self.context_tokens) + 2;
        let (answer, pieces) = mpsc::channel(most);
        let work = Work {
            tokens,
            adapter: request.adapter,
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            top_p: request.top_p,
            seed: request.seed,
            stop: request.stop,
        };
        self.send(Command::Generate(work, answer))?;
        Ok(ReceiverStream::new(pieces))
    }

    /// Returns the logits after each of `tokens`, as rows as wide as the vocabulary: what a trainer compares its own with.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`], [`Error::PromptTooLong`], [`Error::ForeignToken`], [`Error::UnknownAdapter`], [`Error::Busy`],
    /// [`Error::Decode`], [`Error::Stopped`].
    pub async fn evaluate(&self, tokens: &[u32], adapter: Option<String>) -> Result<Vec<Vec<f32>>, Error> {
        let vocabulary = self.tokenizer.vocabulary();
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary) {
            return Err(Error::ForeignToken { token: *token, vocabulary });
        }
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if tokens.len() > self.context_tokens {
            return Err(Error::PromptTooLong { prompt_tokens: tokens.len(), context_tokens: self.context_tokens });
        }
        self.check_adapter(adapter.as_deref())?;
        let (reply, rows) = oneshot::channel();
        self.send(Command::Evaluate { tokens: tokens.to_vec(), adapter, reply })?;
        rows.await.unwrap_or(Err(Error::Stopped))
    }

    /// Loads an adapter, a GGUF file or a PEFT folder with its `adapter.gguf`, under a name; an adapter of that name is replaced.
    ///
    /// # Errors
    /// [`Error::LoadAdapter`], [`Error::Busy`], [`Error::Stopped`].
    pub async fn load_adapter(&self, name: &str, path: &Path) -> Result<(), Error> {
        self.change(Change::Load { name: name.to_owned(), path: path.to_owned() }).await
    }

    /// Forgets an adapter. Requests that wait for it will be refused.
    ///
    /// # Errors
    /// [`Error::UnknownAdapter`], [`Error::Busy`], [`Error::Stopped`].
    pub async fn unload_adapter(&self, name: &str) -> Result<(), Error> {
        self.change(Change::Unload { name: name.to_owned() }).await
    }

    /// Returns the names of the loaded adapters.
    pub fn adapters(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many tokens a text has, without marks.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.count_tokens(text)
    }

    /// Returns the most tokens of prompt and answer together.
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Returns the tokenizer, shared with this model.
    pub fn tokenizer(&self) -> ChatTokenizer {
        self.tokenizer.clone()
    }

    /// Returns whether the model's thread still works. One that has ended never comes back: the role must start anew.
    pub fn is_alive(&self) -> bool {
        !self.owner.is_finished()
    }

    /// Returns the count of what it computed: a step is a token of an answer, or a piece of a prompt.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    async fn change(&self, change: Change) -> Result<(), Error> {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Change(change, reply))?;
        outcome.await.unwrap_or(Err(Error::Stopped))
    }

    fn check_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, Error> {
        let tokens = self.tokenizer.encode_prompt(prompt)?;
        if tokens.len() >= self.context_tokens {
            return Err(Error::PromptTooLong { prompt_tokens: tokens.len(), context_tokens: self.context_tokens });
        }
        Ok(tokens)
    }

    fn check_adapter(&self, adapter: Option<&str>) -> Result<(), Error> {
        match adapter {
            Some(name) if !self.adapters().iter().any(|loaded| loaded == name) => {
                Err(Error::UnknownAdapter { name: name.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.try_send(command).map_err(|error| match error {
            queue::TrySendError::Full(_) => Error::Busy { waiting: QUEUE },
            queue::TrySendError::Disconnected(_) => Error::Stopped,
        })
    }
}
