//! Who may read which passage, for searches: each list of readers once, and a number by slot.

use std::collections::HashMap;

use base::Rights;

#[derive(Default)]
pub(crate) struct ReaderLists {
    numbers: HashMap<Vec<String>, u32>,
    lists: Vec<Vec<String>>,
    of_slot: Vec<u32>,
}

/// By a list's number: whether somebody may read what has it. Absent for rights without limit.
pub(crate) struct Readable(Option<Vec<bool>>);

impl ReaderLists {
    /// Adds the next slot.
    pub fn push(&mut self, readers: &[String]) {
        let next = self.lists.len() as u32;
        let number = match self.numbers.get(readers) {
            Some(number) => *number,
            None => {
                self.numbers.insert(readers.to_vec(), next);
                self.lists.push(readers.to_vec());
                next
            }
        };
        self.of_slot.push(number);
    }

    /// Drops the slots that are not live; the others close up.
    pub fn retain(&mut self, live: &[bool]) {
        let mut live = live.iter();
        self.of_slot.retain(|_| live.next() == Some(&true));
    }

    /// Returns what somebody with these rights may read. There are few lists, so each is looked at once for a search.
    pub fn readable(&self, rights: &Rights) -> Readable {
        Readable((!rights.is_all()).then(|| self.lists.iter().map(|list| rights.may_read(list)).collect()))
    }

    /// Returns whether a slot may be read.
    pub fn may_read(&self, readable: &Readable, slot: u32) -> bool {
        readable.0.as_ref().is_none_or(|lists| lists[self.of_slot[slot as usize] as usize])
    }
}

impl Readable {
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }
}
