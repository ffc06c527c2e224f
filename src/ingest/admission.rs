//! The license's limit: how many searchable documents there may be.

use std::sync::{Mutex, PoisonError};

use lake::{DocumentRow, DocumentStatus};

/// Counts searchable documents against the limit. Files that hold no text, or cannot be read, cost nothing.
pub(crate) struct Admission {
    searchable: Mutex<u64>,
    max_documents: u64,
}

impl Admission {
    pub fn new(searchable: u64, max_documents: u64) -> Self {
        Self { searchable: Mutex::new(searchable), max_documents }
    }

    /// Returns whether a file is worth reading: it is known as searchable, or one more is allowed.
    pub fn has_room_for(&self, known: Option<&DocumentRow>) -> bool {
        is_searchable(known) || self.with(|searchable| *searchable < self.max_documents)
    }

    /// Counts a row that takes the place of `known`, or refuses it.
    pub fn admit(&self, known: Option<&DocumentRow>, row: &DocumentRow) -> bool {
        self.with(|searchable| match (is_searchable(known), is_searchable(Some(row))) {
            (false, true) if *searchable >= self.max_documents => false,
            (false, true) => {
                *searchable += 1;
                true
            }
            (true, false) => {
                *searchable = searchable.saturating_sub(1);
                true
            }
            _ => true,
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut u64) -> T) -> T {
        act(&mut self.searchable.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_searchable(row: Option<&DocumentRow>) -> bool {
    row.is_some_and(|row| row.status == DocumentStatus::Searchable)
}
