use std::{fmt, fs};

use base::file;
use serde::{Deserialize, Serialize};

use crate::text::plain;

const NAME_CHARACTERS_MAX: usize = 64;
const PASSWD_BYTES_MAX: u64 = 4 << 20;

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Who {
    /// A user of this machine, as the kernel vouches.
    User {
        uid: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Who logged in to the machine, where that is somebody else: whoever became root.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<Login>,
    },
    /// An account of the web console.
    Console {
        account: String,
        /// The address the request came from; in front of a container it is the engine's.
        from: String,
    },
    /// A program with a token, by the token's name.
    Token { id: String },
    /// The resident agent, of its own accord.
    Agent,
    /// The log itself: what it says about its own state.
    Log,
}

/// A login session's user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub uid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Who {
    /// The user this process runs as.
    pub fn this_process() -> Self {
        Self::user(rustix::process::geteuid().as_raw(), login_uid("self"))
    }

    /// The user at the other end of a unix socket, by the credentials the kernel gave.
    pub fn peer(uid: u32, pid: Option<i32>) -> Self {
        // A process that ended meanwhile leaves no login, or that of another process with its number: only a hint, and kept as one.
        Self::user(uid, pid.and_then(|pid| login_uid(&pid.to_string())))
    }

    /// An account of the console, and the address it was used from.
    pub fn console(account: &str, from: std::net::IpAddr) -> Self {
        Self::Console { account: plain(account, NAME_CHARACTERS_MAX), from: from.to_string() }
    }

    /// A program with the token of this name; never the token.
    pub fn token(id: &str) -> Self {
        Self::Token { id: plain(id, NAME_CHARACTERS_MAX) }
    }

    fn user(uid: u32, login: Option<u32>) -> Self {
        let login = login.filter(|login| *login != uid).map(|uid| Login { uid, name: user_name(uid) });
        Self::User { uid, name: user_name(uid), login }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |uid: u32, name: &Option<String>| name.clone().unwrap_or_else(|| format!("uid {uid}"));
        match self {
            Self::User { uid, name, login: None } => f.write_str(&named(*uid, name)),
            Self::User { uid, name, login: Some(login) } => {
                write!(f, "{} as {}", named(login.uid, &login.name), named(*uid, name))
            }
            Self::Console { account, from } => write!(f, "{account} at {from}"),
            Self::Token { id } => write!(f, "token {id}"),
            Self::Agent => f.write_str("agent"),
            Self::Log => f.write_str("the log"),
        }
    }
}

/// The user who logged in, which the kernel keeps for every process (`proc(5)`, `loginuid`); the largest number is nobody.
fn login_uid(process: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/loginuid")).ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// Users from a directory service are known by their number only: a static program loads no name service.
fn user_name(uid: u32) -> Option<String> {
    let bytes = file::read_bounded("/etc/passwd".as_ref(), PASSWD_BYTES_MAX).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid)).then(|| plain(name, NAME_CHARACTERS_MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_a_stranger_a_number() {
        assert_eq!(Who::user(0, None).to_string(), "root");
        assert_eq!(Who::user(4_000_000_001, None).to_string(), "uid 4000000001");
        assert_eq!(Who::user(0, Some(4_000_000_001)).to_string(), "uid 4000000001 as root");
        assert_eq!(Who::user(0, Some(0)).to_string(), "root");
        let me = rustix::process::geteuid().as_raw();
        assert!(matches!(Who::this_process(), Who::User { uid, .. } if uid == me));
    }

    #[test]
    fn a_claimed_name_cannot_command_a_terminal() {
        let who = Who::console("admin\u{1b}[2J", [10, 0, 0, 5].into());
        assert_eq!(who.to_string(), "admin\\u{1b}[2J at 10.0.0.5");
    }
}
