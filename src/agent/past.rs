use std::collections::{BTreeMap, VecDeque};

use base::{Layout, Role, Slug, Timestamp};
use install::control::{AgentEvent, EventKind, past_events};
use tokio::sync::mpsc;

use crate::ledger::Ledger;

/// What happened, as far back as is remembered; the file goes further.
#[derive(Debug)]
pub(crate) struct Past {
    seq: u64,
    events: VecDeque<AgentEvent>,
    ledger: Ledger,
    counts: BTreeMap<EventKind, u64>,
    /// Who else wants to hear of each event. A full queue loses it: nobody here waits for the outside.
    listener: Option<mpsc::Sender<AgentEvent>>,
    is_writable: bool,
}

const FORMAT: u32 = 1;
const PAST_MAX: usize = 500;
/// Some ten thousand events, years of a quiet machine.
const PART_BYTES_MAX: u64 = 2 << 20;

impl Past {
    /// Goes on where the files end.
    pub(crate) fn open(layout: &Layout) -> Self {
        let mut events: VecDeque<_> = past_events(layout).into();
        let seq = events.back().map_or(0, |event| event.seq);
        events.drain(..events.len().saturating_sub(PAST_MAX));
        let ledger = Ledger::new(layout.agent_events(), PART_BYTES_MAX);
        Self { seq, events, ledger, counts: BTreeMap::new(), listener: None, is_writable: true }
    }

    pub(crate) fn listen(&mut self, listener: mpsc::Sender<AgentEvent>) {
        self.listener = Some(listener);
    }

    /// Takes note of something that happened to a role.
    pub(crate) fn tell(&mut self, at: Timestamp, customer: &Slug, role: Role, message: impl Into<String>) {
        self.say(at, EventKind::Role, Some(customer), Some(role), message);
    }

    /// Takes note of anything else.
    pub(crate) fn say(
        &mut self,
        at: Timestamp,
        kind: EventKind,
        customer: Option<&Slug>,
        role: Option<Role>,
        message: impl Into<String>,
    ) {
        let message = message.into();
        let whose = customer.map(tracing::field::display);
        tracing::info!(event.kind = kind.name(), customer = whose, role = role.map(Role::name), "{message}");
        self.seq += 1;
        *self.counts.entry(kind).or_default() += 1;
        let event = AgentEvent { format: FORMAT, seq: self.seq, at, kind, customer: customer.cloned(), role, message };
        if let Some(listener) = &self.listener {
            let _ = listener.try_send(event.clone());
        }
        let written = self.ledger.append(&event);
        if let Err(error) = &written
            && self.is_writable
        {
            tracing::warn!(%error, "cannot keep what happened; it is remembered as long as the agent runs");
        }
        self.is_writable = written.is_ok();
        if self.events.len() == PAST_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn after(&self, seq: u64) -> Vec<AgentEvent> {
        self.events.iter().filter(|event| event.seq > seq).cloned().collect()
    }

    /// Returns how many events of each kind there were since the agent began.
    pub(crate) fn counts(&self) -> &BTreeMap<EventKind, u64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_on_after_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        std::fs::create_dir_all(layout.agent_dir()).unwrap();
        let slug = Slug::parse("eaton").unwrap();
        let at = Timestamp::from_millis(5);
        let mut past = Past::open(&layout);
        past.tell(at, &slug, Role::Lake, "started");
        past.say(at, EventKind::Host, None, None, "kernel was 6.1, is 6.12");
        let before = past.after(0);
        drop(past);
        let mut past = Past::open(&layout);
        assert_eq!(past.after(0), before);
        past.tell(at, &slug, Role::Lake, "ended");
        let new = past.after(2);
        assert_eq!((new.len(), new[0].seq, new[0].kind), (1, 3, EventKind::Role));
        assert_eq!(past.counts()[&EventKind::Role], 1);
    }
}
