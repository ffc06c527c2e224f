use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use base::{Clock, Timestamp};

use super::*;
use crate::act::Report;

/// A world in which a step's effect is a mark, and every effect is counted.
#[derive(Clone, Default)]
struct Marks {
    done: BTreeSet<StepId>,
    applied: BTreeMap<StepId, u32>,
    fails_at: Option<StepId>,
    lies: bool,
}

impl Act for Marks {
    async fn probe(&mut self, step: &Step, _depth: Depth) -> Result<Probe, Error> {
        Ok(match step.id() {
            StepId::Ingest | StepId::Train | StepId::Check => Probe::Unknown,
            id if self.done.contains(&id) => Probe::Holds(Evidence::default()),
            _ => Probe::Missing,
        })
    }

    async fn apply(&mut self, step: &Step, _report: Report<'_>) -> Result<Evidence, Error> {
        let id = step.id();
        *self.applied.entry(id).or_default() += 1;
        if self.fails_at == Some(id) {
            return Err(Error::JobFailed { role: base::Role::Lake, cause: "on purpose".to_owned() });
        }
        if !self.lies {
            self.done.insert(id);
        }
        Ok(Evidence::default().with("documents", 12))
    }
}

/// The golden plan of room `plan`.
fn plan() -> Plan {
    Plan::from_json(include_bytes!("../../plan/make/golden.json")).unwrap()
}

fn journal(path: &Path) -> JournalFile {
    JournalFile::open(path, Clock::fixed(Timestamp::from_millis(1_763_812_800_000))).unwrap()
}

async fn run(path: &Path, marks: &mut Marks) -> Result<Vec<Event>, Error> {
    let events = Mutex::new(Vec::new());
    let outcome = execute(
        &plan(),
        None,
        &mut journal(path),
        marks,
        &|event| events.lock().unwrap().push(event),
        &CancellationToken::new(),
    )
    .await;
    outcome.map(|()| events.into_inner().unwrap())
}

/// What the journal knows at the end, without how it came to know it.
fn end(path: &Path) -> Vec<(StepId, Option<Evidence>)> {
    let journal = journal(path);
    plan().steps().iter().map(|step| (step.id(), journal.state().evidence(step.id()).cloned())).collect()
}

#[tokio::test]
async fn killed_after_any_byte_of_the_journal_the_end_is_the_same_and_nothing_finished_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let whole_path = dir.path().join("whole");
    let mut marks = Marks::default();
    run(&whole_path, &mut marks).await.unwrap();
    let whole = std::fs::read(&whole_path).unwrap();
    let expect: Vec<_> = end(&whole_path).into_iter().map(|(id, evidence)| (id, evidence.is_some())).collect();
    let lines: Vec<usize> = (0..=whole.len()).filter(|end| *end == 0 || whole[end - 1] == b'\n').collect();
    // After each whole line, and in the middle of each line.
    let cuts = lines.iter().flat_map(|end| [*end, end + 70]).filter(|cut| *cut <= whole.len());
    for cut in cuts {
        let kept = plan::journal::read(&whole[..cut]).unwrap();
        let finished: BTreeSet<_> =
            plan().steps().iter().map(Step::id).filter(|id| kept.state.evidence(*id).is_some()).collect();
        let begun: Vec<_> = plan()
            .steps()
            .iter()
            .map(Step::id)
            .filter(|id| kept.state.step(*id) == Some(&StepState::Started))
            .collect();
        // A step that was begun may or may not have had its effect.
        for had_effect in if begun.is_empty() { vec![false] } else { vec![false, true] } {
            let path = dir.path().join("cut");
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut world = Marks { done: finished.clone(), ..Marks::default() };
            if had_effect {
                world.done.extend(&begun);
            }
            run(&path, &mut world).await.unwrap();
            let found: Vec<_> = end(&path).into_iter().map(|(id, evidence)| (id, evidence.is_some())).collect();
            assert_eq!(found, expect, "cut at {cut}");
            let repeated: Vec<_> = world.applied.keys().filter(|id| finished.contains(id)).collect();
            assert!(repeated.is_empty(), "cut at {cut}: {repeated:?} were done again");
            assert_eq!(world.done, marks.done, "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_finished_step_that_no_longer_holds_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut marks = Marks::default();
    run(&path, &mut marks).await.unwrap();
    marks.done.remove(&StepId::Config);
    marks.applied.clear();
    run(&path, &mut marks).await.unwrap();
    assert_eq!(marks.applied, [(StepId::Config, 1)].into());
}

#[tokio::test]
async fn a_failure_is_journalled_and_the_next_run_tries_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut marks = Marks { fails_at: Some(StepId::Train), ..Marks::default() };
    let error = run(&path, &mut marks).await.unwrap_err();
    assert!(matches!(error, Error::Step { step: StepId::Train, .. }), "{error}");
    assert!(
        matches!(journal(&path).state().step(StepId::Train), Some(StepState::Failed(cause)) if cause.contains("on purpose"))
    );
    marks.fails_at = None;
    run(&path, &mut marks).await.unwrap();
    assert_eq!(
        (marks.applied[&StepId::Train], marks.applied[&StepId::Ingest], marks.applied[&StepId::Check]),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn what_was_applied_and_does_not_hold_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let mut marks = Marks { lies: true, ..Marks::default() };
    let error = run(&dir.path().join("journal"), &mut marks).await.unwrap_err();
    assert!(
        matches!(&error, Error::Step { step: StepId::Folders, source } if matches!(**source, Error::NotVerified { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_cancelled_run_begins_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let mut marks = Marks::default();
    let outcome = execute(&plan(), None, &mut journal(&path), &mut marks, &|_| (), &cancel).await;
    assert!(matches!(outcome, Err(Error::Interrupted { step: StepId::Folders })));
    assert!(marks.applied.is_empty());
}

#[tokio::test]
async fn events_tell_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let events = run(&dir.path().join("journal"), &mut Marks::default()).await.unwrap();
    let started = events.iter().filter(|event| matches!(event, Event::StepStarted { .. })).count();
    let finished = events.iter().filter(|event| matches!(event, Event::StepFinished { was_done: false, .. })).count();
    assert_eq!((started, finished), (13, 13));
    let json = serde_json::to_value(&events[1]).unwrap();
    assert_eq!(
        (&json["event"], &json["step"], &json["number"]),
        (&"step_started".into(), &"folders".into(), &1.into())
    );
}
