use std::path::Path;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{self, PasswordHasher, PasswordVerifier, SaltString},
};
use base::{Digest, Secret};

use crate::Error;

// The first of the settings OWASP's password storage cheat sheet names as equal for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// A stored hash that asks for more than this is refused: it could only have been made to exhaust the console.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;

const LEAST_CHARACTERS: usize = 12;
const MOST_BYTES: usize = 1024;

/// A password as it is kept: argon2id in PHC form (`$argon2id$v=19$m=19456,t=2,p=1$…`).
#[derive(Clone, Debug)]
pub struct PasswordHash(Secret);

impl PasswordHash {
    /// Hashes a password with a new salt. Takes some 30 ms and 19 MiB: call it where blocking is allowed.
    pub fn of(password: &Secret) -> Result<Self, Error> {
        let password = password.expose();
        let length = password.chars().count();
        if length < LEAST_CHARACTERS {
            return Err(Error::TooShort { length, least: LEAST_CHARACTERS });
        }
        if password.len() > MOST_BYTES {
            return Err(Error::TooLong { length: password.len(), most: MOST_BYTES });
        }
        let mut salt = [0_u8; 16];
        fill(&mut salt)?;
        // These errors are no `std::error::Error` in a build without that feature, so their text is the reason.
        let failed = |error: password_hash::Error| Error::Hash { reason: error.to_string() };
        let salt = SaltString::encode_b64(&salt).map_err(failed)?;
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| failed(error.into()))?;
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password.as_bytes(), &salt)
            .map_err(failed)?;
        Ok(Self(Secret::new(hash.to_string())))
    }

    /// Takes a stored hash. Another algorithm, weaker settings than ours, or ones that would exhaust memory are refused.
    pub fn parse(phc: &Secret) -> Result<Self, Error> {
        let refused = |reason: String| Error::StoredHash { reason };
        let parsed = password_hash::PasswordHash::new(phc.expose()).map_err(|error| refused(error.to_string()))?;
        if parsed.algorithm != Algorithm::Argon2id.ident() {
            return Err(refused(format!("its algorithm is {}, not argon2id", parsed.algorithm)));
        }
        if parsed.hash.is_none() || parsed.salt.is_none() {
            return Err(refused("it has no salt or no hash".to_owned()));
        }
        let params = Params::try_from(&parsed).map_err(|error| refused(error.to_string()))?;
        let memory_fits = (MEMORY_KIB..=MAX_MEMORY_KIB).contains(&params.m_cost());
        if !memory_fits || !(PASSES..=MAX_PASSES).contains(&params.t_cost()) {
            return Err(refused(format!(
                "its settings (memory {} KiB, {} passes) are out of bounds",
                params.m_cost(),
                params.t_cost()
            )));
        }
        Ok(Self(phc.clone()))
    }

    /// Reads the hash from a file only its owner may read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&Secret::read(path).map_err(Error::Read)?)
    }

    /// Returns what tells this stored password from every other one, also from the same one stored again: each has its own salt.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text().as_bytes())
    }

    /// Returns the hash in PHC form, for a file of several.
    pub(crate) fn text(&self) -> &str {
        self.0.expose()
    }

    /// Writes the hash atomically, mode 0600.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        self.0.write(path).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// Returns whether `candidate` is the password. As slow as [`Self::of`].
    pub fn matches(&self, candidate: &str) -> bool {
        if candidate.len() > MOST_BYTES {
            return false;
        }
        // Parameters, salt and version are those of the stored hash, which `parse` bounded.
        password_hash::PasswordHash::new(self.0.expose())
            .is_ok_and(|stored| Argon2::default().verify_password(candidate.as_bytes(), &stored).is_ok())
    }
}

/// Lower-case letters and digits that no one takes for one another (no `i`, `l`, `o`, `0`, `1`).
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
const GROUPS: usize = 3;
const GROUP_LENGTH: usize = 6;

/// Makes a password a person can read out and type: three groups of six, `log2(31) × 18` = 89 bits.
pub fn generate_password() -> Result<Secret, Error> {
    let mut text = String::with_capacity(GROUPS * (GROUP_LENGTH + 1));
    for group in 0..GROUPS {
        if group > 0 {
            text.push('-');
        }
        for _ in 0..GROUP_LENGTH {
            text.push(random_letter()?);
        }
    }
    Ok(Secret::new(text))
}

fn random_letter() -> Result<char, Error> {
    loop {
        let mut byte = [0_u8; 1];
        fill(&mut byte)?;
        // 248 is the largest multiple of 31 a byte can hold: taking the rest of a larger one would favour some letters.
        if byte[0] < 248 {
            return Ok(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
        }
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::Random(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_password_is_known_again_and_nothing_else_is() {
        let password = generate_password().unwrap();
        let hash = PasswordHash::of(&password).unwrap();
        let dir = tempfile::tempdir().unwrap();
        hash.write(&dir.path().join("hash")).unwrap();
        let text = std::fs::read_to_string(dir.path().join("hash")).unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert!(!text.contains(password.expose()));

        let hash = PasswordHash::read(&dir.path().join("hash")).unwrap();
        assert!(hash.matches(password.expose()));
        for other in ["", " ", &password.expose()[1..], &password.expose().to_uppercase(), &"x".repeat(5000)] {
            assert!(!hash.matches(other), "{other}");
        }
        assert!(!format!("{hash:?}").contains("argon2id"));
    }

    #[test]
    fn hashes_of_one_password_differ() {
        let password = Secret::new("correct horse battery");
        let first = PasswordHash::of(&password).unwrap();
        let second = PasswordHash::of(&password).unwrap();
        assert_ne!(first.0.expose(), second.0.expose());
    }

    #[test]
    fn weak_foreign_and_greedy_hashes_are_refused() {
        let salt_and_hash = "c2FsdHNhbHRzYWx0c2FsdA$kN8ydvXPqv1xkRxQ8q8LQ1m3yQm0zXo1gC2sZ3m1t5A";
        let check = |head: &str| PasswordHash::parse(&Secret::new(format!("{head}${salt_and_hash}")));
        check("$argon2id$v=19$m=19456,t=2,p=1").unwrap();
        for head in [
            "$argon2i$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=8,t=1,p=1",
            "$argon2id$v=19$m=4194304,t=2,p=1",
            "$argon2id$v=19$m=19456,t=100000,p=1",
            "$scrypt$ln=16,r=8,p=1",
            "plain",
        ] {
            assert!(matches!(check(head), Err(Error::StoredHash { .. })), "{head}");
        }
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert!(matches!(PasswordHash::of(&Secret::new("short")), Err(Error::TooShort { length: 5, .. })));
        assert!(matches!(PasswordHash::of(&Secret::new("x".repeat(2000))), Err(Error::TooLong { .. })));
    }

    #[test]
    fn generated_passwords_are_readable_and_all_letters_come_up() {
        let mut met = HashSet::new();
        let mut passwords = HashSet::new();
        for _ in 0..200 {
            let password = generate_password().unwrap();
            let text = password.expose();
            assert_eq!(text.len(), 20);
            assert!(!text.contains(['i', 'l', 'o', '0', '1']), "{text}");
            met.extend(text.chars().filter(|c| *c != '-'));
            passwords.insert(text.to_owned());
        }
        // 3,600 letters of 31: that one never comes up has a chance of 31 × (30/31)^3600, about 10^-50.
        assert_eq!((met.len(), passwords.len()), (ALPHABET.len(), 200));
    }
}
