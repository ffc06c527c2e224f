use std::time::Instant;

use stack::{RoleRecord, RoleState};

use crate::budget::Budget;

/// One role, as the agent knows it.
pub(super) struct Supervised {
    pub(super) state: RoleState,
    pub(super) record: Option<RoleRecord>,
    /// Since when it is on its way, or was last well.
    pub(super) since: Instant,
    pub(super) was_ready: bool,
    pub(super) restarts: u32,
    pub(super) budget: Budget,
    pub(super) last_error: Option<String>,
    pub(super) is_probing: bool,
    pub(super) probed_at: Option<Instant>,
}

impl Default for Supervised {
    fn default() -> Self {
        Self {
            state: RoleState::Stopped,
            record: None,
            since: Instant::now(),
            was_ready: false,
            restarts: 0,
            budget: Budget::default(),
            last_error: None,
            is_probing: false,
            probed_at: None,
        }
    }
}

impl Supervised {
    pub(super) fn began(&mut self, record: RoleRecord) {
        self.record = Some(record);
        self.state = RoleState::Starting;
        self.since = Instant::now();
        self.was_ready = false;
        self.probed_at = None;
    }

    /// It is down, as it should be.
    pub(super) fn rest(&mut self) {
        self.record = None;
        self.state = RoleState::Stopped;
    }

    pub(super) fn forgive(&mut self) {
        self.budget.forgive();
        if matches!(self.state, RoleState::BackingOff { .. } | RoleState::NeedsAPerson { .. }) {
            self.state = RoleState::Stopped;
        }
    }
}
