//! What the container engine tells by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Role;
use install::control::EventKind;
use stack::Runtime;
use stack::docker::News;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Customer;
use crate::past::Past;
use crate::supervisor::{Event, chain};

/// The engine, as the one who listens to it knows it.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// Who listens, and to what.
    task: Option<(Arc<Runtime>, AbortHandle)>,
    /// Why it does not answer, when it does not.
    lost: Option<String>,
}

/// What comes from the one who listens.
#[derive(Debug)]
pub(crate) enum Heard {
    News(News),
    /// It does not answer, or went.
    Lost(String),
}

const QUEUE: usize = 64;
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(30);
/// An end that was seen is explained by what the engine said of it shortly before.
pub(super) const HINT_HOLDS: Duration = Duration::from_secs(10);

impl Listening {
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.task {
            task.abort();
        }
    }
}

impl Customer {
    /// Makes sure that somebody listens to the engine, where there is one.
    pub(super) fn listen(&mut self, runtime: &Arc<Runtime>, send: &mpsc::Sender<Event>) {
        if self.listening.task.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, runtime)) {
            return;
        }
        if let Some((_, former)) = self.listening.task.take() {
            former.abort();
        }
        if !matches!(runtime.as_ref(), Runtime::Docker(_)) {
            return;
        }
        let (slug, send, of) = (self.slug.clone(), send.clone(), Arc::clone(runtime));
        let task = tokio::spawn(async move {
            let mut pause = AGAIN_FIRST;
            loop {
                let (news, mut told) = mpsc::channel(QUEUE);
                let Runtime::Docker(docker) = of.as_ref() else { return };
                let tell = async {
                    while let Some(news) = told.recv().await {
                        // An engine that told something is there: the next loss is a new one.
                        pause = AGAIN_FIRST;
                        let heard = Heard::News(news);
                        if send.send(Event::Engine { slug: slug.clone(), heard }).await.is_err() {
                            return;
                        }
                    }
                };
                let follow = async {
                    let outcome = docker.follow(&news).await;
                    drop(news);
                    outcome
                };
                let (outcome, ()) = tokio::join!(follow, tell);
                let why = outcome.err().map_or_else(|| "it ended the conversation".to_owned(), |error| chain(&error));
                if send.send(Event::Engine { slug: slug.clone(), heard: Heard::Lost(why) }).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN_MOST);
            }
        });
        self.listening.task = Some((Arc::clone(runtime), task.abort_handle()));
    }

    /// Takes what the engine told. Returns whether a look is worth while.
    pub(crate) fn heard(&mut self, heard: Heard, past: &mut Past) -> bool {
        let now = self.clock.now();
        let slug = self.slug.clone();
        match heard {
            Heard::News(News::Listening) => {
                if self.listening.lost.take().is_some() {
                    past.say(now, EventKind::Engine, Some(&slug), None, "the engine answers again");
                }
                self.look_soon();
            }
            Heard::Lost(why) => {
                if self.listening.lost.is_none() {
                    let text = format!("the engine does not answer ({why}); what runs is left alone");
                    past.say(now, EventKind::Engine, Some(&slug), None, text);
                    self.has_failed = true;
                }
                self.listening.lost = Some(why);
                return false;
            }
            Heard::News(News::Ended { role, how }) => self.explain(role, how),
            Heard::News(News::OutOfMemory { role }) => {
                self.explain(role, "killed: it took more memory than it may have".to_owned());
            }
            Heard::News(News::Unhealthy { role }) => {
                past.say(now, EventKind::Work, Some(&slug), Some(role), "the engine's health check of it fails");
                self.at(role).work.doubt();
            }
            Heard::News(News::Removed { role }) => {
                past.say(now, EventKind::Engine, Some(&slug), Some(role), "its container was removed");
                self.look_soon();
            }
        }
        true
    }

    /// Keeps why a role ends for the look that finds it ended; where that look was first, puts it right.
    fn explain(&mut self, role: Role, how: String) {
        let known = self.at(role);
        // The kernel's reason is the better one, and comes before the exit code it leads to.
        let has_better = known.hint.as_ref().is_some_and(|(at, hint)| {
            at.elapsed() < HINT_HOLDS && hint.starts_with("killed") && !how.starts_with("killed")
        });
        if !has_better {
            known.hint = Some((Instant::now(), how));
        }
    }

    /// Returns how a role ended, in the words of the one who knows best.
    pub(super) fn how(&mut self, role: Role, seen: String) -> String {
        match self.at(role).hint.take() {
            Some((at, hint)) if at.elapsed() < HINT_HOLDS => hint,
            _ => seen,
        }
    }
}
