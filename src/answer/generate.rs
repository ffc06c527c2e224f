//! The model's turn: its sentences as they complete, each kept only if a unit supports it.

use std::time::{Duration, Instant};

use engine::{Chat, ChatMessage, GenerateRequest, Prompt};
use futures::StreamExt;

use crate::{
    align::supports,
    asked::Asked,
    candidates::Scored,
    compose::Composer,
    format::Usage,
    retrieve::{Found, elapsed},
    support::ANSWER_FROM,
    units::sentences,
    version::BASE,
};

/// An answer is one or two sentences; a model that has not come to the point by then will not.
const MAX_TOKENS: usize = 80;
const MAX_SENTENCES: usize = 2;
/// After so many unsupported sentences the passages are quoted instead.
const MAX_DROPPED: usize = 2;
/// The model may be busy with another question this long before the passages are quoted.
const PATIENCE: Duration = Duration::from_secs(20);
/// A generated sentence may be supported by units that are themselves nearly as good an answer as the best one.
const SUPPORTING_FROM: f32 = 0.9;

/// What the model's turn came to.
#[derive(Default)]
pub(crate) struct Turn {
    /// The adapter was not loaded, so `base` was asked.
    pub(crate) adapter_missing: bool,
    /// The model did not answer.
    pub(crate) unavailable: bool,
    pub(crate) prefill_ms: u64,
    pub(crate) generate_ms: u64,
    pub(crate) usage: Usage,
}

/// Asks the model and keeps what is supported. Errors of the model end its turn; they never end the answer.
pub(crate) async fn generate(
    chat: &Chat,
    version: &str,
    messages: Vec<ChatMessage>,
    asked: &Asked,
    found: &Found,
    composer: &mut Composer<'_>,
) -> Turn {
    let mut turn = Turn::default();
    let start = Instant::now();
    let adapter = (version != BASE).then(|| version.to_owned());
    let mut asking = Asking { asked, found, composer, start };
    let answered = asking.listen(chat, adapter.clone(), &messages, &mut turn).await;
    if !answered && adapter.is_some() {
        turn.adapter_missing = asking.listen(chat, None, &messages, &mut turn).await;
    }
    turn.generate_ms = elapsed(start).saturating_sub(turn.prefill_ms);
    turn
}

/// The units a generated sentence may rest on: sentences, no rows, nearly as good as the best unit. When there is none, the model need not be asked.
pub(crate) fn eligible(found: &Found) -> impl Iterator<Item = &Scored> {
    let best = found.scored.first().map_or(0.0, |s| s.score);
    found
        .scored
        .iter()
        .take_while(move |s| s.score >= ANSWER_FROM && s.score >= best * SUPPORTING_FROM)
        .filter(|s| !found.candidates[s.candidate].units[s.unit].row)
}

struct Asking<'a, 'e> {
    asked: &'a Asked,
    found: &'a Found,
    composer: &'a mut Composer<'e>,
    start: Instant,
}

impl Asking<'_, '_> {
    /// Returns whether the model answered anything at all.
    async fn listen(
        &mut self,
        chat: &Chat,
        adapter: Option<String>,
        messages: &[ChatMessage],
        turn: &mut Turn,
    ) -> bool {
        let request = GenerateRequest {
            prompt: Prompt::Messages(messages.to_vec()),
            adapter,
            max_tokens: MAX_TOKENS,
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
            stop: vec!["\n\n".into()],
        };
        turn.unavailable = true;
        let mut pieces = chat.generate(request);
        let (mut text, mut dropped) = (String::new(), 0);
        loop {
            let piece = match tokio::time::timeout(PATIENCE, pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => {
                    tracing::warn!(error = %error, "the language model failed while answering");
                    return !turn.unavailable;
                }
                Ok(None) => break,
                Err(_) => return !turn.unavailable,
            };
            if turn.unavailable {
                turn.unavailable = false;
                turn.prefill_ms = elapsed(self.start);
            }
            // A turn that is ended early has no last piece; then one piece is about one token.
            turn.usage.completion_tokens += 1;
            if let Some(usage) = piece.usage {
                turn.usage = Usage { prompt_tokens: usage.prompt_tokens, completion_tokens: usage.completion_tokens };
            }
            text.push_str(&piece.text);
            let found = sentences(&text);
            // The last sentence is complete only when another one has begun.
            if let [complete, .., _] = found.as_slice() {
                let sentence = text[complete.clone()].to_owned();
                text.drain(..complete.end);
                dropped += usize::from(!self.weigh(sentence).await);
            }
            if dropped >= MAX_DROPPED || self.composer.sentences.len() >= MAX_SENTENCES {
                return true;
            }
        }
        if text.trim_end().ends_with(['.', '!', '%', '€']) {
            self.weigh(text.trim().to_owned()).await;
        }
        !turn.unavailable
    }

    /// Keeps a sentence if one of the best units supports it; returns whether it was kept.
    async fn weigh(&mut self, sentence: String) -> bool {
        let supporting = eligible(self.found).find(|s| {
            let candidate = &self.found.candidates[s.candidate];
            supports(self.asked, &sentence, &candidate.units[s.unit].shown, &candidate.beside(s.unit))
        });
        let said = self.composer.sentences.iter().any(|s| s.text == sentence);
        match supporting.filter(|_| !said && self.asked.is_met_by(&sentence)) {
            Some(unit) => {
                let candidate = &self.found.candidates[unit.candidate];
                self.composer.add(sentence, candidate, unit.unit).await;
                true
            }
            None => false,
        }
    }
}
