use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base::{Digest, Secret, Timestamp};

use crate::Error;

const IDLE_MS: i64 = 8 * 3_600_000;
const ABSOLUTE_MS: i64 = 7 * 24 * 3_600_000;
const MAX_SESSIONS: usize = 1024;

/// Sessions of the console. They live in memory: after a restart people log in again.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Digest, Entry>>);

/// A session that was just begun: the only moment its id is known here.
#[derive(Debug)]
pub struct NewSession {
    /// 256 random bits, for the cookie.
    pub id: Secret,
    pub session: Session,
}

/// What a valid session id stands for.
#[derive(Clone, Debug)]
pub struct Session {
    pub account: String,
    /// The digest of the stored password that was proven: a session of another one is nobody's.
    password: Digest,
    /// To be sent back with every form of this session.
    csrf: Secret,
}

impl Session {
    /// Returns whether the account still has the password this session was begun with. Somebody else of the same name, or the same
    /// person after a change, has another one. `now` is nothing where there is no such account.
    pub fn is_of(&self, now: Option<Digest>) -> bool {
        now == Some(self.password)
    }

    /// Returns the token to put into the session's forms.
    pub fn csrf_token(&self) -> &str {
        self.csrf.expose()
    }

    /// Returns whether a form came from this session's own pages, in constant time.
    pub fn allows_form(&self, csrf_token: &str) -> bool {
        self.csrf.matches(csrf_token)
    }
}

#[derive(Debug)]
struct Entry {
    session: Session,
    begun: Timestamp,
    used: Timestamp,
}

impl Entry {
    fn is_over(&self, now: Timestamp) -> bool {
        let since = |then: Timestamp| now.millis().saturating_sub(then.millis());
        since(self.used) >= IDLE_MS || since(self.begun) >= ABSOLUTE_MS
    }
}

impl Sessions {
    /// Starts without sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a session for an account that proved its password, whose [`PasswordHash::digest`](crate::PasswordHash::digest) this is. When
    /// there are too many, the one unused longest ends.
    pub fn begin(&self, account: &str, password: Digest, now: Timestamp) -> Result<NewSession, Error> {
        let id = Secret::generate().map_err(Error::Random)?;
        let csrf = Secret::generate().map_err(Error::Random)?;
        let session = Session { account: account.to_owned(), password, csrf };
        let mut sessions = self.lock();
        sessions.retain(|_, entry| !entry.is_over(now));
        if sessions.len() >= MAX_SESSIONS {
            let unused = sessions.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            if let Some(key) = unused {
                sessions.remove(&key);
            }
        }
        let entry = Entry { session: session.clone(), begun: now, used: now };
        sessions.insert(key(id.expose()), entry);
        Ok(NewSession { id, session })
    }

    /// Returns the session of a cookie's id and takes note that it was used. One that idled for 8 hours or began 7 days
    /// ago is over.
    pub fn find(&self, id: &str, now: Timestamp) -> Option<Session> {
        let mut sessions = self.lock();
        let key = key(id);
        let entry = sessions.get_mut(&key)?;
        if entry.is_over(now) {
            sessions.remove(&key);
            return None;
        }
        entry.used = entry.used.max(now);
        Some(entry.session.clone())
    }

    /// Ends one session.
    pub fn end(&self, id: &str) {
        self.lock().remove(&key(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digest is what is looked up, so neither memory nor the time of a lookup tells anything about an id.
fn key(id: &str) -> Digest {
    Digest::of(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_S: i64 = 3600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    fn password(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    #[test]
    fn a_session_is_found_by_its_id_alone() {
        let sessions = Sessions::new();
        let first = sessions.begin("admin", password("old"), at(0)).unwrap();
        let second = sessions.begin("admin", password("old"), at(0)).unwrap();
        assert_eq!(first.id.expose().len(), 64);
        assert!(!first.id.matches(second.id.expose()));
        assert_eq!(sessions.find(first.id.expose(), at(1)).unwrap().account, "admin");
        for other in ["", "admin", &first.id.expose()[1..], &first.id.expose().to_uppercase()] {
            assert!(sessions.find(other, at(1)).is_none(), "{other}");
        }
        assert!(!format!("{sessions:?}").contains(first.id.expose()));
        sessions.end(first.id.expose());
        assert!(sessions.find(first.id.expose(), at(1)).is_none());
        assert!(sessions.find(second.id.expose(), at(1)).is_some());
    }

    #[test]
    fn a_form_needs_the_token_of_its_own_session() {
        let sessions = Sessions::new();
        let mine = sessions.begin("admin", password("old"), at(0)).unwrap().session;
        let other = sessions.begin("admin", password("old"), at(0)).unwrap().session;
        assert!(mine.allows_form(mine.csrf_token()));
        assert!(!mine.allows_form(other.csrf_token()));
        assert!(!mine.allows_form(""));
    }

    #[test]
    fn sessions_end_by_idling_and_by_age() {
        let sessions = Sessions::new();
        let idle = sessions.begin("a", password("old"), at(0)).unwrap().id;
        assert!(sessions.find(idle.expose(), at(8 * HOUR_S - 1)).is_some());
        assert!(sessions.find(idle.expose(), at(16 * HOUR_S - 1)).is_none());

        let busy = sessions.begin("a", password("old"), at(0)).unwrap().id;
        for hour in (0..7 * 24).step_by(4) {
            assert!(sessions.find(busy.expose(), at(hour * HOUR_S)).is_some(), "{hour}");
        }
        assert!(sessions.find(busy.expose(), at(7 * 24 * HOUR_S)).is_none());
    }

    #[test]
    fn a_session_is_of_the_password_it_was_begun_with() {
        let sessions = Sessions::new();
        let begun = sessions.begin("anna", password("old"), at(0)).unwrap().id;
        let found = sessions.find(begun.expose(), at(1)).unwrap();
        assert!(found.is_of(Some(password("old"))));
        assert!(!found.is_of(Some(password("new"))) && !found.is_of(None));
    }

    #[test]
    fn too_many_sessions_end_the_one_unused_longest() {
        let sessions = Sessions::new();
        let first = sessions.begin("a", password("old"), at(0)).unwrap().id;
        let second = sessions.begin("a", password("old"), at(1)).unwrap().id;
        for _ in 2..MAX_SESSIONS {
            sessions.begin("a", password("old"), at(2)).unwrap();
        }
        assert!(sessions.find(first.expose(), at(3)).is_some());
        sessions.begin("a", password("old"), at(4)).unwrap();
        assert!(sessions.find(second.expose(), at(4)).is_none());
        assert!(sessions.find(first.expose(), at(4)).is_some());
        assert_eq!(sessions.lock().len(), MAX_SESSIONS);
    }
}
