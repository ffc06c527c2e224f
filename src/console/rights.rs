//! What who asks may read: everything for the administrator, and for everybody where no permissions are kept.

use access::{ADMINISTRATOR, PasswordHash, People, Session};
use base::Rights;

use crate::state::Shared;

impl Shared {
    /// Returns what the account of a session may read; `None` when it is gone, or has another password than the session was begun with:
    /// somebody new of that name is somebody else.
    pub(crate) fn rights_of_session(&self, session: &Session) -> Option<Rights> {
        if session.account == ADMINISTRATOR {
            let password = PasswordHash::read(&self.layout.password_hash()).inspect_err(|error| {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "the administrator's sessions cannot be checked"
                );
            });
            return session.is_of(password.ok().map(|hash| hash.digest())).then_some(Rights::All);
        }
        let people = self.people()?;
        let rights = people.rights_of_person(&session.account)?;
        session.is_of(people.password_digest(&session.account)).then(|| self.limited(rights))
    }

    /// Returns what an account of the console may read; `None` when there is no such account (any more).
    pub(crate) fn rights_of_account(&self, account: &str) -> Option<Rights> {
        if account == ADMINISTRATOR {
            return Some(Rights::All);
        }
        self.people()?.rights_of_person(account).map(|rights| self.limited(rights))
    }

    /// Returns what a program that shows this token may read; `None` for a token nobody has.
    pub(crate) fn rights_of_token(&self, token: &str) -> Option<Rights> {
        // Both are compared always, so that the time says nothing about which one is in use.
        if self.api_token.matches(token) | self.role_token.matches(token) {
            return Some(Rights::All);
        }
        self.people()?.rights_of_token(token).map(|rights| self.limited(rights))
    }

    /// Returns whether somebody beside the administrator may log in.
    pub(crate) fn has_people(&self) -> bool {
        self.people().is_some_and(|people| !people.list().is_empty())
    }

    /// Returns the people; `None` when their list cannot be used: then there is nobody but the administrator.
    pub(crate) fn people(&self) -> Option<People> {
        match People::read(&self.layout.people()) {
            Ok(people) => Some(people),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "only the administrator can ask");
                None
            }
        }
    }

    fn limited(&self, rights: Rights) -> Rights {
        if self.config.permissions.is_off() { Rights::All } else { rights }
    }
}
