//! Files with the same content: read and embedded once, put down as often as they are there.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base::Digest;
use lake::DocumentRow;

use crate::{decide::Todo, name, walk::Stamp};

/// What decides the text of a file: its bytes, and the ending of its name, which readers may take as a hint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    digest: Digest,
    ending: String,
}

/// A file whose content another one in flight has, with the stamp it had when it was digested.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pub todo: Todo,
    pub stamp: Stamp,
}

/// What is to be done with a file whose content is known.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Nobody has read this content: read it.
    Lead,
    /// Another file with this content is in flight, and this one was put beside it: nothing more to do.
    Follows,
    /// This document of the lake has the same content.
    Stored { document_id: String },
}

enum Twin {
    InFlight(Vec<Follower>),
    Stored { document_id: String },
}

/// The contents of one run.
#[derive(Default)]
pub(crate) struct Twins(Mutex<HashMap<Key, Twin>>);

impl Key {
    pub fn new(digest: Digest, file_name: &str) -> Self {
        Self { digest, ending: name::ending(file_name) }
    }
}

impl Twins {
    /// Makes a document of the lake known as the one that has its content. It must stay as it is for the whole run.
    pub fn stored(&self, row: &DocumentRow) {
        let Some(digest) = row.digest else { return };
        let document_id = row.id.clone();
        self.map().entry(Key::new(digest, &row.name)).or_insert(Twin::Stored { document_id });
    }

    /// Says what is to be done with a file of this content. After [`Claim::Lead`] the caller must [`settle`](Self::settle) or
    /// [`abandon`](Self::abandon) the key.
    pub fn claim(&self, key: &Key, follower: &Follower) -> Claim {
        let mut map = self.map();
        match map.get_mut(key) {
            Some(Twin::Stored { document_id }) => Claim::Stored { document_id: document_id.clone() },
            Some(Twin::InFlight(followers)) => {
                followers.push(follower.clone());
                Claim::Follows
            }
            None => {
                map.insert(key.clone(), Twin::InFlight(Vec::new()));
                Claim::Lead
            }
        }
    }

    /// Returns the files that wait for this content, which goes on being in flight.
    pub fn followers(&self, key: &Key) -> Vec<Follower> {
        match self.map().get_mut(key) {
            Some(Twin::InFlight(followers)) => std::mem::take(followers),
            _ => Vec::new(),
        }
    }

    /// Says that a committed document has this content, and returns the files that came too late for its commit.
    pub fn settle(&self, key: Key, document_id: String) -> Vec<Follower> {
        match self.map().insert(key, Twin::Stored { document_id }) {
            Some(Twin::InFlight(followers)) => followers,
            _ => Vec::new(),
        }
    }

    /// Says that the content was not what it was taken for, and returns the files that waited for it.
    pub fn abandon(&self, key: &Key) -> Vec<Follower> {
        match self.map().remove(key) {
            Some(Twin::InFlight(followers)) => followers,
            _ => Vec::new(),
        }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Key, Twin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
