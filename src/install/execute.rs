use std::time::Instant;

use plan::journal::{self, Evidence, StepState};
use plan::{Plan, Step, StepId};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::act::{Act, Depth, Probe};
use crate::event::{Event, Sink};
use crate::journal_file::JournalFile;

/// Does every step of `plan` that does not hold yet, up to `until`.
///
/// # Errors
/// The first step's failure, as [`Error::Step`]; [`Error::Interrupted`] when `cancel` was asked for.
pub(crate) async fn execute(
    plan: &Plan,
    until: Option<StepId>,
    journal: &mut JournalFile,
    act: &mut impl Act,
    events: Sink<'_>,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let digest = plan.digest();
    let is_resumed = journal.state().plan() == Some(digest);
    if !is_resumed {
        journal.append(journal::Event::Opened { plan: digest })?;
    }
    let steps = plan.steps();
    events(Event::Opened { plan: digest, steps: steps.iter().map(Step::id).collect(), is_resumed });
    for (number, step) in (1..).zip(steps) {
        let id = step.id();
        if cancel.is_cancelled() {
            return Err(Error::Interrupted { step: id });
        }
        events(Event::StepStarted { step: id, number, total: steps.len(), title: step.describe() });
        let begun = Instant::now();
        let work = one(step, journal, act, events);
        // Cancel-safe: whatever the step was about to do, the next run probes it; nothing is lost by dropping it here.
        let done = tokio::select! {
            done = work => done,
            () = cancel.cancelled() => return Err(Error::Interrupted { step: id }),
        };
        match done {
            Ok((evidence, was_done)) => {
                let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                events(Event::StepFinished { step: id, evidence, was_done, elapsed_ms });
            }
            Err(error) => {
                let cause = chain(&error);
                journal.append(journal::Event::Failed { step: id, cause: cause.clone() })?;
                events(Event::StepFailed { step: id, cause });
                return Err(Error::Step { step: id, source: Box::new(error) });
            }
        }
        if until == Some(id) {
            break;
        }
    }
    Ok(())
}

/// Returns the step's evidence, and whether it held already.
async fn one(
    step: &Step,
    journal: &mut JournalFile,
    act: &mut impl Act,
    events: Sink<'_>,
) -> Result<(Evidence, bool), Error> {
    let id = step.id();
    let known = match journal.state().step(id) {
        Some(StepState::Finished(evidence)) => Some(evidence.clone()),
        // What was begun is probed, not believed.
        Some(StepState::Started | StepState::Failed(_)) | None => None,
    };
    let depth = if known.is_some() { Depth::Glance } else { Depth::Whole };
    match (act.probe(step, depth).await?, known) {
        (Probe::Holds(_) | Probe::Unknown, Some(evidence)) => return Ok((evidence, true)),
        (Probe::Holds(evidence), None) => {
            journal.append(journal::Event::Finished { step: id, evidence: evidence.clone() })?;
            return Ok((evidence, true));
        }
        (Probe::Missing, _) | (Probe::Unknown, None) => {}
    }
    journal.append(journal::Event::Started { step: id })?;
    let report = |progress| events(Event::StepProgress { step: id, progress });
    let evidence = act.apply(step, &report).await?;
    if act.probe(step, Depth::Glance).await? == Probe::Missing {
        return Err(Error::NotVerified { step: id });
    }
    journal.append(journal::Event::Finished { step: id, evidence: evidence.clone() })?;
    Ok((evidence, false))
}

/// Returns the error with the causes behind it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

/// Returns the evidence the journal has for a step of the present plan.
pub(crate) fn evidence(journal: &JournalFile, id: StepId) -> Evidence {
    journal.state().evidence(id).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
