//! The repository's key: how it is made, written down, kept, and opened by a passphrase.

use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base::{Digest, Secret, file};
use zeroize::Zeroize;

use crate::{
    Error,
    format::{PassphraseSlot, RepositoryId},
    seal::{FileKey, Keys, Piece, random},
};

/// The 32 bytes that open a repository. As text it is the recovery key.
#[derive(Clone)]
pub struct RepositoryKey([u8; 32]);

/// Crockford's digits: none is taken for another, in any case.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Bytes of the checksum in a recovery key.
const CHECK_BYTES: usize = 3;
const GROUP: usize = 4;
/// 35 bytes in digits of five bits.
const LENGTH: usize = (32 + CHECK_BYTES) * 8 / 5;

/// A passphrase is guessed offline by whoever has the medium: an eighth of a second and 64 MiB for each guess.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// A slot that asks for more could only have been made to exhaust this machine.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 20;
const LEAST_CHARACTERS: usize = 12;

impl RepositoryKey {
    /// Makes a key.
    pub fn generate() -> Self {
        Self(random())
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the repository this key opens.
    pub fn repository(&self) -> RepositoryId {
        Keys::new(self).id
    }

    /// Returns the key as a person writes it down: 14 groups of four, the last digits a checksum.
    pub fn to_text(&self) -> Secret {
        let mut bytes = self.0.to_vec();
        bytes.extend_from_slice(&check(&self.0));
        let mut text = String::with_capacity(LENGTH + LENGTH / GROUP);
        for place in 0..LENGTH {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            let digit = (0..5).fold(0, |digit, bit| {
                let at = place * 5 + bit;
                digit << 1 | usize::from(bytes[at / 8] >> (7 - at % 8) & 1)
            });
            text.push(char::from(DIGITS[digit]));
        }
        bytes.zeroize();
        Secret::new(text)
    }

    /// Reads a recovery key, in any case and grouping.
    ///
    /// # Errors
    /// [`Error::KeyText`] says what is wrong with it, without repeating it.
    pub fn parse(text: &Secret) -> Result<Self, Error> {
        let mut bytes = [0_u8; 32 + CHECK_BYTES];
        let mut place = 0;
        for character in text.expose().chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let character = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let Some(digit) = DIGITS.iter().position(|known| char::from(*known) == character) else {
                return Err(Error::KeyText { reason: "it has a character no recovery key has".to_owned() });
            };
            if place == LENGTH {
                return Err(Error::KeyText { reason: format!("it has more than {LENGTH} characters") });
            }
            for bit in 0..5 {
                let at = place * 5 + bit;
                bytes[at / 8] |= u8::from(digit >> (4 - bit) & 1 == 1) << (7 - at % 8);
            }
            place += 1;
        }
        if place < LENGTH {
            return Err(Error::KeyText { reason: format!("it has {place} characters instead of {LENGTH}") });
        }
        let mut key = Self([0; 32]);
        key.0.copy_from_slice(&bytes[..32]);
        let holds = bytes[32..] == check(&key.0);
        bytes.zeroize();
        if !holds {
            return Err(Error::KeyText { reason: "a character is mistyped or two are swapped".to_owned() });
        }
        Ok(key)
    }

    /// Reads the key of a file only its owner may read.
    ///
    /// # Errors
    /// [`Error::KeyFile`], [`Error::KeyText`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&Secret::read(path).map_err(|source| Error::KeyFile { source })?)
    }

    /// Keeps the key in `folder`, under the repository's name; the folder becomes its owner's alone.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn keep(&self, folder: &Path) -> Result<PathBuf, Error> {
        let path = kept_at(folder, &self.repository());
        file::private_dir(folder).map_err(Error::write(folder))?;
        self.to_text().write(&path).map_err(Error::write(&path))?;
        Ok(path)
    }

    /// Returns the key that is kept in `folder` for a repository, if one is.
    ///
    /// # Errors
    /// [`Error::KeyFile`], [`Error::KeyText`].
    pub fn kept(folder: &Path, repository: &RepositoryId) -> Result<Option<Self>, Error> {
        let path = kept_at(folder, repository);
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        Self::read(&path).map(Some)
    }

    /// Seals the key under a passphrase. Takes some 200 ms and 64 MiB.
    pub(crate) fn slot(&self, passphrase: &Secret) -> Result<PassphraseSlot, Error> {
        let characters = passphrase.expose().chars().count();
        if characters < LEAST_CHARACTERS {
            let reason = format!("it has {characters} characters; at least {LEAST_CHARACTERS} are needed");
            return Err(Error::Passphrase { reason });
        }
        let salt = random::<32>();
        let mut slot = PassphraseSlot {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: hex::encode(salt),
            sealed: String::new(),
        };
        let mut sealed = self.0.to_vec();
        // The salt is new, and with it the key: the nonce cannot come twice.
        stretched(passphrase, &salt, &slot)?.seal(Piece::Document, &slot.settings(), &mut sealed);
        slot.sealed = hex::encode(sealed);
        Ok(slot)
    }

    /// Opens the key with a passphrase; nothing when it is another one.
    pub(crate) fn of_slot(slot: &PassphraseSlot, passphrase: &Secret) -> Result<Option<Self>, Error> {
        let refused = |reason: &str| Error::Passphrase { reason: reason.to_owned() };
        let is_bearable = slot.memory_kib <= MEMORY_KIB_MAX && slot.passes <= PASSES_MAX && slot.lanes <= 16;
        if !is_bearable {
            return Err(refused("the repository asks for more memory or time than any passphrase needs"));
        }
        let mut salt = [0; 32];
        hex::decode_to_slice(&slot.salt, &mut salt).map_err(|_| refused("the repository's salt is damaged"))?;
        let mut sealed = hex::decode(&slot.sealed).map_err(|_| refused("the repository's key is damaged"))?;
        let opened = stretched(passphrase, &salt, slot)?;
        let content = opened.open(Piece::Document, &slot.settings(), &mut sealed);
        let key = content.and_then(|content| content.try_into().ok()).map(Self);
        sealed.zeroize();
        Ok(key)
    }
}

impl PassphraseSlot {
    fn settings(&self) -> Vec<u8> {
        format!("argon2id {} {} {} {}", self.memory_kib, self.passes, self.lanes, self.salt).into_bytes()
    }
}

fn stretched(passphrase: &Secret, salt: &[u8; 32], slot: &PassphraseSlot) -> Result<FileKey, Error> {
    let failed = |error: argon2::Error| Error::Passphrase { reason: error.to_string() };
    let params = Params::new(slot.memory_kib, slot.passes, slot.lanes, Some(32)).map_err(failed)?;
    let mut bytes = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose().as_bytes(), salt, &mut bytes)
        .map_err(failed)?;
    let key = FileKey::new(&bytes);
    bytes.zeroize();
    Ok(key)
}

fn check(key: &[u8; 32]) -> [u8; CHECK_BYTES] {
    let digest = Digest::of(key);
    let bytes = digest.as_bytes();
    [bytes[0], bytes[1], bytes[2]]
}

fn kept_at(folder: &Path, repository: &RepositoryId) -> PathBuf {
    folder.join(format!("{}.key", &repository.hex()[..16]))
}

impl Drop for RepositoryKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for RepositoryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RepositoryKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_key_survives_paper() {
        let key = RepositoryKey::generate();
        let text = key.to_text();
        assert_eq!(text.expose().split('-').map(str::len).collect::<Vec<_>>(), [4; 14]);
        let sloppy = text.expose().to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        for text in [text.expose(), &sloppy, &text.expose().replace('-', "")] {
            assert_eq!(RepositoryKey::parse(&Secret::new(text)).unwrap().bytes(), key.bytes());
        }
        assert!(!format!("{key:?}").contains(&text.expose()[..4]));
    }

    #[test]
    fn a_slip_of_the_pen_is_noticed() {
        let text = RepositoryKey::generate().to_text();
        for place in 0..text.expose().len() {
            let mut slipped: Vec<char> = text.expose().chars().collect();
            if slipped[place] == '-' {
                continue;
            }
            slipped[place] = if slipped[place] == '7' { '8' } else { '7' };
            let slipped: String = slipped.into_iter().collect();
            assert!(matches!(RepositoryKey::parse(&Secret::new(slipped)), Err(Error::KeyText { .. })), "{place}");
        }
        for wrong in ["", "ABCD", &format!("{}A", text.expose()), &text.expose()[1..], "Ü"] {
            assert!(RepositoryKey::parse(&Secret::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_passphrase_opens_its_own_key_only() {
        let key = RepositoryKey::generate();
        let slot = key.slot(&Secret::new("zwölf Zeichen!")).unwrap();
        let opened = RepositoryKey::of_slot(&slot, &Secret::new("zwölf Zeichen!")).unwrap().unwrap();
        assert_eq!(opened.bytes(), key.bytes());
        assert!(RepositoryKey::of_slot(&slot, &Secret::new("zwölf Zeichen?")).unwrap().is_none());
        let weakened = PassphraseSlot { passes: 1, ..slot.clone() };
        assert!(RepositoryKey::of_slot(&weakened, &Secret::new("zwölf Zeichen!")).unwrap().is_none());
        let greedy = PassphraseSlot { memory_kib: u32::MAX, ..slot };
        assert!(matches!(RepositoryKey::of_slot(&greedy, &Secret::new("x")), Err(Error::Passphrase { .. })));
        assert!(matches!(key.slot(&Secret::new("too short")), Err(Error::Passphrase { .. })));
    }

    #[test]
    fn a_kept_key_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let key = RepositoryKey::generate();
        let path = key.keep(&folder).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(RepositoryKey::kept(&folder, &key.repository()).unwrap().unwrap().bytes(), key.bytes());
        assert!(RepositoryKey::kept(&folder, &RepositoryKey::generate().repository()).unwrap().is_none());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(RepositoryKey::kept(&folder, &key.repository()), Err(Error::KeyFile { .. })));
    }
}
