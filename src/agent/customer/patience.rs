//! How long a role is waited for: as long as it gets there, and not much longer when it does not answer any more.

use std::time::Duration;

use base::Role;
use stack::{RoleState, Runtime};

use super::Customer;
use crate::past::Past;

/// A role under full load may miss a probe; one that misses all of them for this long is stuck.
const SILENCE_PATIENCE: Duration = Duration::from_secs(60);
/// A role that came to a standstill so often in a row does not do better the next time.
const STANDSTILLS_MAX: u32 = 3;

impl Customer {
    /// Returns whether a role that starts has shown no progress for too long.
    pub(super) fn stands_still(&mut self, role: Role, runtime: &Runtime) -> bool {
        let (log, patience) = (self.layout.log(role), stack::start_patience(role, runtime.config()));
        let known = self.at(role);
        known.watch(&log);
        known.silent_for().is_some_and(|silent| silent > patience)
    }

    /// Takes note that a role came to a standstill while it started. It is tried again some times, and then left to a person: the budget
    /// of ends counts what happens within minutes, and a standstill alone takes as long.
    pub(super) fn stood_still(&mut self, role: Role, past: &mut Past) {
        let known = self.at(role);
        let silent = known.silent_for().unwrap_or_default().as_secs();
        let how = format!("showed no progress for {silent} s while it started");
        known.standstills += 1;
        if known.standstills < STANDSTILLS_MAX {
            return self.ended(role, &how, past);
        }
        known.record = None;
        known.restarts += 1;
        known.last_error = Some(how.clone());
        known.state = RoleState::NeedsAPerson { reason: how.clone() };
        let (now, slug) = (self.clock.now(), self.slug.clone());
        past.tell(now, &slug, role, format!("{how}, the third time; it stays down until `0711 start`"));
    }

    /// Returns whether a role that was ready has not answered for too long.
    pub(super) fn is_silent(&self, role: Role) -> bool {
        self.roles.get(&role).is_some_and(|known| {
            matches!(known.state, RoleState::Unhealthy { .. }) && known.since.elapsed() > SILENCE_PATIENCE
        })
    }
}

#[cfg(test)]
mod tests {
    use base::{Clock, Layout, Slug};

    use super::*;

    #[test]
    fn the_third_standstill_is_left_to_a_person_unless_it_was_ready_between() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let mut customer =
            Customer::new(&layout, Slug::parse("eaton").unwrap(), Clock::system(), Duration::from_secs(60));
        let mut past = Past::open(&layout);
        let mut word = |customer: &mut Customer| {
            customer.stood_still(Role::Llm, &mut past);
            customer.at(Role::Llm).state.word()
        };
        assert_eq!([word(&mut customer), word(&mut customer)], ["restarting"; 2]);
        customer.at(Role::Llm).standstills = 0;
        assert_eq!(
            [word(&mut customer), word(&mut customer), word(&mut customer)],
            ["restarting", "restarting", "needs a person"]
        );
        customer.at(Role::Llm).forgive();
        assert_eq!(word(&mut customer), "restarting", "`0711 start` begins anew");
    }
}
