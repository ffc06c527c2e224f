use std::{sync::Arc, time::Instant};

use base::Clock;
use engine::{Chat, Embedding};
use futures::Stream;
use lake::Interaction;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    Error,
    asked::Asked,
    compose::{Composer, Events, tell},
    format::{Answer, AskEvent, Question, Timings, Usage},
    generate::{eligible, generate},
    phrases,
    prompt::{messages, windows},
    quote::{quotes, sentence},
    retrieve::{DEFAULT_K, Found, MAX_K, elapsed, retrieve, with_history},
    support::ANSWER_FROM,
    version::{BASE, VersionReader},
};

/// Characters of a question; longer ones are refused rather than cut.
pub const QUESTION_CHARS: usize = 4000;
/// Events waiting for a slow reader.
const QUEUE: usize = 32;
/// Documents named when abstaining.
const NAMED: usize = 3;

/// Answers questions from one customer's lake. Cheap to clone.
#[derive(Clone)]
pub struct Brain {
    inner: Arc<Inner>,
}

struct Inner {
    lake: lake::Access,
    embedding: Embedding,
    chat: Chat,
    versions: VersionReader,
    clock: Clock,
}

impl Brain {
    /// Wires the parts together; nothing is opened or asked yet.
    pub fn new(lake: lake::Access, embedding: Embedding, chat: Chat, versions: VersionReader, clock: Clock) -> Self {
        Self { inner: Arc::new(Inner { lake, embedding, chat, versions, clock }) }
    }

    /// Answers a question; the events come as they happen and end with [`AskEvent::Done`] or an error.
    ///
    /// The exchange is recorded even when the reader goes away: the answer is finished without it (a few seconds of work at most).
    pub fn ask(&self, question: Question) -> impl Stream<Item = Result<AskEvent, Error>> + Send + use<> {
        let (events, reader) = mpsc::channel(QUEUE);
        let inner = self.inner.clone();
        tokio::spawn(async move {
            if let Err(error) = inner.answer(question, &events).await {
                // A reader that went away has nobody to tell.
                let _ = events.send(Err(error)).await;
            }
        });
        ReceiverStream::new(reader)
    }

    /// Answers a question and returns the whole answer.
    pub async fn answer(&self, question: Question) -> Result<Answer, Error> {
        use futures::StreamExt;
        let mut events = std::pin::pin!(self.ask(question));
        while let Some(event) = events.next().await {
            if let AskEvent::Done(answer) = event? {
                return Ok(*answer);
            }
        }
        Err(Error::Interrupted)
    }
}

/// How an answer came about, beside its sentences.
#[derive(Default)]
struct Draft {
    abstained: bool,
    quoted: bool,
    notes: Vec<String>,
    usage: Usage,
}

impl Inner {
    async fn answer(&self, question: Question, events: &Events) -> Result<(), Error> {
        let start = Instant::now();
        let text = checked(&question.text)?;
        let own = Asked::read(text);
        let joined = with_history(text, &own, &question.history);
        let search = joined.as_deref().unwrap_or(text);
        let mut asked = Asked::read(search);
        asked.language = own.language;
        let k = match question.k {
            0 => DEFAULT_K,
            k => k.min(MAX_K),
        };
        let mut timings = Timings::default();
        let found = retrieve((&self.lake, &question.rights), &self.embedding, &asked, search, k, &mut timings).await?;
        tell(events, AskEvent::Retrieved { passages: found.passages.clone() }).await;

        let mut version = question.version.clone().unwrap_or_else(|| (self.versions)());
        let support = found.scored.first().map_or(0.0, |s| s.score);
        let mut composer = Composer::new(events);
        let draft = if support < ANSWER_FROM {
            abstain(&asked, &found, &mut composer).await
        } else {
            let asking = (text, &asked, &found);
            self.phrase(asking, &mut version, &mut timings, &mut composer).await
        };
        timings.total_ms = elapsed(start);
        let mut answer = Answer {
            text: composer.text(),
            abstained: draft.abstained,
            language: asked.language,
            sentences: composer.sentences,
            citations: composer.citations,
            version,
            quoted: draft.quoted,
            support,
            timings,
            usage: draft.usage,
            interaction_id: None,
            notes: draft.notes,
        };
        self.record(&question, &mut answer).await;
        tell(events, AskEvent::Done(Box::new(answer))).await;
        Ok(())
    }

    async fn phrase(
        &self,
        (question, asked, found): (&str, &Asked, &Found),
        version: &mut String,
        timings: &mut Timings,
        composer: &mut Composer<'_>,
    ) -> Draft {
        let mut draft = Draft::default();
        if eligible(found).next().is_some() {
            let windows = windows(&found.candidates, &found.scored);
            let messages = messages(asked.language, question, &windows);
            let turn = generate(&self.chat, version, messages, asked, found, composer).await;
            timings.prefill_ms = turn.prefill_ms;
            timings.generate_ms = turn.generate_ms;
            draft.usage = turn.usage;
            if turn.adapter_missing {
                draft.notes.push(phrases::adapter_missing(asked.language, version));
                *version = BASE.into();
            }
            if turn.unavailable {
                draft.notes.push(phrases::model_unavailable(asked.language));
            }
        }
        if composer.sentences.is_empty() {
            draft.quoted = true;
            for best in quotes(&found.candidates, &found.scored) {
                let candidate = &found.candidates[best.candidate];
                let text = sentence(candidate, best.unit);
                composer.add(text, candidate, best.unit).await;
            }
        }
        draft
    }

    async fn record(&self, question: &Question, answer: &mut Answer) {
        let id = match new_id() {
            Ok(id) => id,
            Err(error) => {
                tracing::warn!(error = %error, "no random id for the exchange");
                answer.notes.push(phrases::not_recorded(answer.language));
                return;
            }
        };
        let interaction = Interaction {
            id: id.clone(),
            asked_ms: self.clock.now().millis(),
            question: question.text.clone(),
            answer: answer.text.clone(),
            abstained: answer.abstained,
            version: answer.version.clone(),
            citations: serde_json::json!(answer.citations),
            timings: serde_json::json!(answer.timings),
            asker: question.asker.clone(),
        };
        match self.lake.record(interaction).await {
            Ok(_) => answer.interaction_id = Some(id),
            Err(error) => {
                tracing::warn!(error = %error, "the exchange could not be recorded");
                answer.notes.push(phrases::not_recorded(answer.language));
            }
        }
    }
}

async fn abstain(asked: &Asked, found: &Found, composer: &mut Composer<'_>) -> Draft {
    let mut documents: Vec<String> = Vec::new();
    for passage in &found.passages {
        if !documents.contains(&passage.document) && documents.len() < NAMED {
            documents.push(passage.document.clone());
        }
    }
    composer.say(phrases::abstention(asked.language, found.searched, &documents)).await;
    Draft { abstained: true, ..Draft::default() }
}

/// 128 random bits, as the lake's other ids are.
fn new_id() -> std::io::Result<String> {
    let secret = base::Secret::generate()?;
    Ok(secret.expose()[..32].to_owned())
}

fn checked(text: &str) -> Result<&str, Error> {
    let text = text.trim();
    let length = text.chars().count();
    match length {
        0 => Err(Error::EmptyQuestion),
        1..=QUESTION_CHARS => Ok(text),
        _ => Err(Error::LongQuestion { length, limit: QUESTION_CHARS }),
    }
}
