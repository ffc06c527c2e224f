//! One llama.cpp context: what it has computed so far, and the work done in it.

use std::num::NonZeroU32;

use base::Pulse;
use llama_cpp_2::{
    context::{LlamaContext, params::LlamaContextParams},
    llama_batch::LlamaBatch,
    model::LlamaModel,
    sampling::LlamaSampler,
    token::LlamaToken,
};
use tokio::sync::mpsc;

use super::{
    ChatOptions, FinishReason, Piece, Usage,
    backend::{backend, forget_errors, last_error},
    gate::Gate,
    owner::Adapters,
};
use crate::Error;

/// Tokens of a prompt computed at once.
const BATCH_TOKENS: usize = 512;

/// Positions whose logits are computed at once by [`Session::evaluate`]; a row of logits is as wide as the vocabulary.
const EVALUATED_ROWS: usize = 64;

/// The settings and tokens of one request, ready to be computed.
pub(super) struct Work {
    pub tokens: Vec<u32>,
    pub adapter: Option<String>,
    pub max_tokens: usize,
    pub temperature: f32,
    pub top_p: f32,
    pub seed: u64,
    pub stop: Vec<String>,
}

/// A context with the tokens and the adapter its cache was computed with.
pub(super) struct Session<'model> {
    context: LlamaContext<'model>,
    model: &'model LlamaModel,
    context_tokens: usize,
    cached: Vec<u32>,
    adapter: Option<String>,
    pulse: Pulse,
}

impl<'model> Session<'model> {
    pub fn open(model: &'model LlamaModel, options: ChatOptions, pulse: Pulse) -> Result<Self, Error> {
        let threads = |count: u32| i32::try_from(count.max(1)).unwrap_or(1);
        // Threads meet some three hundred times per token. On cores that ingestion or training keep busy each meeting waits for
        // a thread that is not running: measured so, all threads took 1.3 s per token where half of them took 0.06 s. A prompt is
        // computed in far larger pieces and can use them all.
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(options.context_tokens))
            .with_n_batch(BATCH_TOKENS as u32)
            .with_n_ubatch(BATCH_TOKENS as u32)
            .with_n_threads(threads(options.threads.div_ceil(2)))
            .with_n_threads_batch(threads(options.threads));
        forget_errors();
        let context = model.new_context(backend()?, params).map_err(|error| Error::Context {
            context_tokens: options.context_tokens,
            source: last_error(&error.to_string()).into(),
        })?;
        // llama.cpp rounds the size up; what was asked for is what is promised.
        let context_tokens = options.context_tokens as usize;
        Ok(Self { context, model, context_tokens, cached: Vec::new(), adapter: None, pulse })
    }

    /// Computes an answer and sends it piece by piece. Ends early, without a word, when nobody listens any more.
    pub fn generate(&mut self, work: Work, adapters: &mut Adapters, answer: &mpsc::Sender<Result<Piece, Error>>) {
        if let Err(error) = self.try_generate(work, adapters, answer) {
            self.forget();
            // A reader who left needs no error.
            let _ = answer.try_send(Err(error));
        }
    }

    fn try_generate(
        &mut self,
        work: Work,
        adapters: &mut Adapters,
        answer: &mpsc::Sender<Result<Piece, Error>>,
    ) -> Result<(), Error> {
        self.wear(work.adapter.as_deref(), adapters)?;
        let prompt_tokens = work.tokens.len();
        let cached_tokens = self.keep_common_prefix(&work.tokens)?;
        for part in work.tokens[cached_tokens..].chunks(BATCH_TOKENS) {
            if answer.is_closed() {
                return Ok(());
            }
            self.compute(part, LogitsOf::Last)?;
        }
        let mut sampler = sampler(&work);
        let mut gate = Gate::new(work.stop);
        let room = (self.context_tokens - prompt_tokens).min(work.max_tokens);
        let mut completion_tokens = 0;
        let vocab = self.model.vocab();
        let (rest, finish) = loop {
            if completion_tokens == room {
                break (gate.finish(), FinishReason::Length);
            }
            let token = sampler.sample(&self.context, -1);
            if vocab.is_eog(token) {
                break (gate.finish(), FinishReason::Stop);
            }
            completion_tokens += 1;
            let (text, stopped) = gate.push(&vocab.token_to_piece(token, false, None));
            if stopped {
                break (text, FinishReason::Stop);
            }
            if !text.is_empty() && answer.try_send(Ok(Piece { text, finish: None, usage: None })).is_err() {
                return Ok(());
            }
            if answer.is_closed() {
                return Ok(());
            }
            if completion_tokens < room {
                self.compute(&[token.0 as u32], LogitsOf::Last)?;
            }
        };
        let usage = Usage { prompt_tokens, completion_tokens, cached_tokens };
        let _ = answer.try_send(Ok(Piece { text: rest, finish: Some(finish), usage: Some(usage) }));
        Ok(())
    }

    /// Returns the logits after each of `tokens`, computed in one causal pass from an empty context.
    pub fn evaluate(
        &mut self,
        tokens: &[u32],
        adapter: Option<&str>,
        adapters: &mut Adapters,
    ) -> Result<Vec<Vec<f32>>, Error> {
        self.wear(adapter, adapters)?;
        self.forget();
        let mut rows = Vec::with_capacity(tokens.len());
        for part in tokens.chunks(EVALUATED_ROWS) {
            self.compute(part, LogitsOf::All)?;
            rows.extend((0..part.len()).map(|row| self.context.get_logits_ith(row as i32).to_vec()));
        }
        Ok(rows)
    }

    /// Puts on the adapter a request names. What was computed with another is worthless and forgotten.
    fn wear(&mut self, adapter: Option<&str>, adapters: &mut Adapters) -> Result<(), Error> {
        if self.adapter.as_deref() == adapter {
            return Ok(());
        }
        self.forget();
        match (adapter, &self.adapter) {
            (Some(name), _) => {
                let found = adapters.find(name).ok_or_else(|| Error::UnknownAdapter { name: name.into() })?;
                self.context.lora_adapter_set(found, 1.0).map_err(|error| Error::Decode { source: Box::new(error) })?;
            }
            (None, Some(worn)) => {
                // The call takes off whatever is worn; it only asks for some adapter to be named.
                let found = adapters.find(worn).ok_or_else(|| Error::UnknownAdapter { name: worn.clone() })?;
                self.context.lora_adapter_remove(found).map_err(|error| Error::Decode { source: Box::new(error) })?;
            }
            (None, None) => {}
        }
        self.adapter = adapter.map(str::to_owned);
        Ok(())
    }

    /// Cuts the cache back to what it shares with `tokens`, and returns how many tokens that is. The last token is always computed
    /// anew, for its logits.
    fn keep_common_prefix(&mut self, tokens: &[u32]) -> Result<usize, Error> {
        let shared = self.cached.iter().zip(tokens).take_while(|(a, b)| a == b).count().min(tokens.len() - 1);
        let cut = self.context.clear_kv_cache_seq(Some(0), Some(shared as u32), None);
        if cut != Ok(true) {
            self.forget();
            return Ok(0);
        }
        self.cached.truncate(shared);
        Ok(shared)
    }

    fn forget(&mut self) {
        self.context.clear_kv_cache();
        self.cached.clear();
    }

    fn compute(&mut self, tokens: &[u32], logits: LogitsOf) -> Result<(), Error> {
        let mut batch = LlamaBatch::new(tokens.len(), 1);
        for (index, token) in tokens.iter().enumerate() {
            let wanted = matches!(logits, LogitsOf::All) || index + 1 == tokens.len();
            let position = (self.cached.len() + index) as i32;
            batch
                .add(LlamaToken(*token as i32), position, &[0], wanted)
                .map_err(|error| Error::Decode { source: Box::new(error) })?;
        }
        self.context.decode(&mut batch).map_err(|error| Error::Decode { source: Box::new(error) })?;
        self.cached.extend_from_slice(tokens);
        self.pulse.step();
        Ok(())
    }
}

/// Which positions of a batch need their logits.
enum LogitsOf {
    Last,
    All,
}

fn sampler(work: &Work) -> LlamaSampler {
    if work.temperature <= 0.0 {
        return LlamaSampler::greedy();
    }
    // llama.cpp takes all ones for "choose a seed yourself".
    let seed = ((work.seed ^ (work.seed >> 32)) as u32).min(u32::MAX - 1);
    let mut chain = Vec::new();
    if work.top_p < 1.0 {
        chain.push(LlamaSampler::top_p(work.top_p.max(0.0), 1));
    }
    chain.extend([LlamaSampler::temp(work.temperature), LlamaSampler::dist(seed)]);
    LlamaSampler::chain(chain, true)
}
