//! A model writes a handler: it is asked, what it wrote is tried on real files, its faults go back to it, a few times.

use std::path::PathBuf;

use base::{Clock, Digest};
use extract::handler::{Runner, Validation, mask, validate};

use crate::{
    Approval, Author, Call, CallLog, Decision, Entry, Error, FORMAT, Origin, Prompt, Queue, Registry, Reply, Settings,
    State, Waiting,
    prompt::{source_of, summary_of},
};

/// The most a model hears of the faults of an attempt.
const FAULT_CHARS: usize = 2_000;

/// One attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    pub number: u32,
    pub source: Option<String>,
    pub faults: String,
}

/// What came of asking a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// It passed and is registered.
    Registered(Box<Entry>),
    /// No attempt passed: the files go on waiting.
    Failed(Vec<Round>),
}

/// What it takes to have a handler written.
pub struct Writer<'a> {
    pub author: &'a Author,
    pub settings: &'a Settings,
    pub runner: &'a Runner,
    pub registry: &'a Registry,
    pub queue: &'a Queue,
    pub log: &'a CallLog,
    pub clock: Clock,
    /// Hears of each attempt that did not pass.
    pub told: &'a (dyn Fn(&Round) + Send + Sync),
}

impl Writer<'_> {
    /// Asks the model for a handler of what waits under a kind, and registers it when it passes.
    ///
    /// # Errors
    /// [`Error::NoSamples`], and those of the model and of the files.
    pub async fn write(&self, waiting: &Waiting) -> Result<Written, Error> {
        let id = waiting.kind.id();
        let samples: Vec<PathBuf> = waiting.files.iter().filter(|file| file.is_file()).cloned().collect();
        if samples.is_empty() {
            return Err(Error::NoSamples { kind: id });
        }
        let prompt = Prompt::new(&waiting.analysis, self.author.sample_bytes().await?);
        let mut rounds: Vec<Round> = Vec::new();
        let mut last: Option<(String, String)> = None;
        for number in 1..=self.settings.repair_rounds.saturating_add(1) {
            let reply = self.ask(&id, &prompt, last.as_ref(), number).await?;
            let Some(source) = source_of(&reply.text) else {
                let round = Round { number, source: None, faults: Error::NoSource.to_string() };
                (self.told)(&round);
                rounds.push(round);
                continue;
            };
            let validation = validate(self.runner, &source, &samples).await;
            if validation.passed() {
                let origin =
                    Origin::Model { author: self.author.name().to_owned(), model: reply.model, rounds: number };
                let entry = entry(waiting, &source, origin, validation, self.settings, self.clock);
                self.registry.put(&entry, &source)?;
                self.queue.settle(&entry.kind)?;
                return Ok(Written::Registered(Box::new(entry)));
            }
            let faults = validation.faults();
            let round = Round { number, source: Some(source.clone()), faults: faults.clone() };
            (self.told)(&round);
            rounds.push(round);
            last = Some((source, for_model(&faults, &samples)));
        }
        Ok(Written::Failed(rounds))
    }

    /// One call, on record before it leaves and after it came back.
    async fn ask(
        &self,
        kind: &str,
        prompt: &Prompt,
        last: Option<&(String, String)>,
        round: u32,
    ) -> Result<Reply, Error> {
        let turns = prompt.turns(last.map(|(source, faults)| (source.as_str(), faults.as_str())));
        let body = self.author.body(&prompt.system, &turns);
        let mut call = Call {
            format: FORMAT,
            at: self.clock.now(),
            kind: kind.to_owned(),
            author: self.author.name().to_owned(),
            model: self.author.model().to_owned(),
            url: self.author.url(),
            round,
            request: Digest::of(&body),
            request_bytes: body.len() as u64,
            sample: Digest::of(prompt.sample.as_bytes()),
            sample_bytes: prompt.sample.len() as u64,
            response: None,
            status: None,
            input_tokens: None,
            output_tokens: None,
        };
        // Before it leaves: a crash meanwhile must not hide that something was sent.
        self.log.append(&call)?;
        let reply = self.author.send(&body).await;
        call.at = self.clock.now();
        match &reply {
            Ok(reply) => {
                call.model.clone_from(&reply.model);
                call.response = Some(reply.response);
                call.status = Some(reply.status);
                (call.input_tokens, call.output_tokens) = (reply.input_tokens, reply.output_tokens);
            }
            Err(Error::Refused { status, .. }) => call.status = Some(*status),
            Err(_) => {}
        }
        self.log.append(&call)?;
        reply
    }
}

/// What a model hears of the faults: masked as samples are, without the files' names, and short. An exception's text may hold some of a file.
fn for_model(faults: &str, samples: &[PathBuf]) -> String {
    let mut text = faults.to_owned();
    for name in samples.iter().filter_map(|path| path.file_name()) {
        text = text.replace(&*name.to_string_lossy(), "a file");
    }
    mask(&text).chars().take(FAULT_CHARS).collect()
}

fn entry(
    waiting: &Waiting,
    source: &str,
    origin: Origin,
    validation: Validation,
    settings: &Settings,
    clock: Clock,
) -> Entry {
    let now = clock.now();
    let (state, decision) = match settings.approve {
        Approval::Person => (State::Waiting, None),
        Approval::Automatic => (State::Approved, Some(Decision { by: "policy".to_owned(), at: now })),
    };
    Entry {
        format: FORMAT,
        name: waiting.kind.id(),
        kind: waiting.kind.clone(),
        digest: Digest::of(source.as_bytes()),
        summary: summary_of(source).unwrap_or_else(|| format!("files like {}", waiting.analysis.name)),
        origin,
        registered: now,
        state,
        decision,
        validation,
    }
}

impl Entry {
    /// A handler a person wrote, which passed.
    pub fn by_person(
        name: &str,
        kind: &extract::handler::Kind,
        source: &str,
        summary: Option<String>,
        validation: Validation,
        clock: Clock,
    ) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            kind: kind.clone(),
            digest: Digest::of(source.as_bytes()),
            summary: summary.or_else(|| summary_of(source)).unwrap_or_else(|| format!("files of {}", kind.id())),
            origin: Origin::Person,
            registered: clock.now(),
            state: State::Waiting,
            decision: None,
            validation,
        }
    }
}
