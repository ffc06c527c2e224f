//! Encryption: one key per file, from the repository's key and the file's salt. The format is at the top of `format.rs`.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    hmac,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error,
    format::{ChunkId, Kind, RepositoryId},
    key::RepositoryKey,
};

/// How many bytes a sealed piece has more than what is in it.
pub(crate) const TAG_BYTES: usize = 16;
/// The largest catalog, snapshot or index that is unpacked.
const DOCUMENT_BYTES_MAX: usize = 1 << 30;
const LEVEL: i32 = 3;

/// What the repository's key opens.
pub(crate) struct Keys {
    prk: Prk,
    chunk: hmac::Key,
    header: hmac::Key,
    /// Where files are cut.
    pub gear: u64,
    pub id: RepositoryId,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, purpose: &[u8], salt: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let info = [purpose, salt];
    // HKDF-SHA-256 gives up to 8160 bytes; more were never asked for.
    let filled = prk.expand(&info, Length(N)).and_then(|okm| okm.fill(&mut bytes));
    assert!(filled.is_ok(), "a key of {N} bytes can be derived");
    bytes
}

impl Keys {
    pub fn new(key: &RepositoryKey) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"0711 backup repository").extract(key.bytes());
        let hmac_key = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, &expand::<32>(&prk, purpose, &[]));
        Self {
            chunk: hmac_key(b"chunk id"),
            header: hmac_key(b"header"),
            gear: u64::from_le_bytes(expand(&prk, b"gear", &[])),
            id: RepositoryId(expand(&prk, b"repository id", &[])),
            prk,
        }
    }

    /// Names a chunk.
    pub fn chunk_id(&self, content: &[u8]) -> ChunkId {
        let mut id = [0; 32];
        id.copy_from_slice(hmac::sign(&self.chunk, content).as_ref());
        ChunkId(id)
    }

    pub fn sign(&self, header: &[u8]) -> [u8; 32] {
        let mut code = [0; 32];
        code.copy_from_slice(hmac::sign(&self.header, header).as_ref());
        code
    }

    pub fn signed(&self, header: &[u8], code: &[u8]) -> bool {
        hmac::verify(&self.header, header, code).is_ok()
    }

    /// Returns the key of the file with this salt.
    pub fn file(&self, kind: Kind, salt: &[u8; 32]) -> FileKey {
        FileKey::new(&expand(&self.prk, &kind.head(), salt))
    }

    /// Makes the file `name` of a value.
    pub fn document<T: Serialize>(&self, kind: Kind, name: &str, value: &T) -> Result<Vec<u8>, Error> {
        let failed = |source: std::io::Error| Error::Encode { name: name.to_owned(), source };
        let json = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
        let mut content = zstd::bulk::compress(&json, LEVEL).map_err(failed)?;
        let salt = random::<32>();
        let mut file = kind.head().to_vec();
        file.extend_from_slice(&salt);
        self.file(kind, &salt).seal(Piece::Document, &aad(kind, name), &mut content);
        file.append(&mut content);
        Ok(file)
    }

    /// Reads the file `name`. Anything but what [`Self::document`] made of this name is refused.
    pub fn open_document<T: DeserializeOwned>(&self, kind: Kind, name: &str, file: &[u8]) -> Result<T, Error> {
        let damaged = |why: &str| Error::Damaged { what: name.to_owned(), why: why.to_owned() };
        check_head(kind, name, file)?;
        let Some((salt, sealed)) = file[16..].split_first_chunk::<32>() else {
            return Err(damaged("it is cut off"));
        };
        let mut sealed = sealed.to_vec();
        let content = self.file(kind, salt).open(Piece::Document, &aad(kind, name), &mut sealed);
        let content = content.ok_or_else(|| damaged("it is not what was written"))?;
        let json = unpack(content, DOCUMENT_BYTES_MAX).ok_or_else(|| damaged("it does not unpack"))?;
        serde_json::from_slice(&json).map_err(|error| damaged(&error.to_string()))
    }
}

/// Refuses a file of another kind, and one of a later format by saying so.
pub(crate) fn check_head(kind: Kind, name: &str, file: &[u8]) -> Result<(), Error> {
    let damaged = |why: &str| Error::Damaged { what: name.to_owned(), why: why.to_owned() };
    let Some((head, _)) = file.split_first_chunk::<16>() else { return Err(damaged("it is cut off")) };
    let expected = kind.head();
    if *head == expected {
        return Ok(());
    }
    let format = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    // One bit of damage must not pass for a newer program's work: only near numbers are believed.
    if head[..8] == expected[..8] && head[12..] == expected[12..] && (crate::format::FORMAT + 1..1000).contains(&format)
    {
        return Err(Error::Newer { what: name.to_owned(), found: format, known: crate::format::FORMAT });
    }
    Err(damaged("it does not begin as such a file does"))
}

fn aad(kind: Kind, name: &str) -> Vec<u8> {
    let mut aad = kind.head().to_vec();
    aad.extend_from_slice(name.as_bytes());
    aad
}

/// Unpacks at most `most` bytes.
pub(crate) fn unpack(content: &[u8], most: usize) -> Option<Vec<u8>> {
    let claimed = zstd::zstd_safe::get_frame_content_size(content).ok()??;
    let length = usize::try_from(claimed).ok().filter(|length| *length <= most)?;
    let unpacked = zstd::bulk::decompress(content, length).ok()?;
    (unpacked.len() == length).then_some(unpacked)
}

/// What is sealed: the nonce says which.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    /// The one piece of a catalog, snapshot or index.
    Document,
    /// A chunk of a pack, by its place.
    Chunk(u64),
    /// The list of a pack.
    List,
}

impl Piece {
    fn nonce(self) -> Nonce {
        let (domain, counter) = match self {
            Self::Document => (0_u32, 0),
            Self::Chunk(place) => (1, place),
            Self::List => (2, 0),
        };
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&domain.to_le_bytes());
        nonce[4..].copy_from_slice(&counter.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The key of one file.
pub(crate) struct FileKey(LessSafeKey);

impl FileKey {
    pub fn new(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes);
        // The algorithm takes every key of 32 bytes.
        Self(LessSafeKey::new(key.unwrap_or_else(|_| unreachable!("AES-256 takes a key of 32 bytes"))))
    }

    /// Seals `content` in place, tag appended.
    pub fn seal(&self, piece: Piece, aad: &[u8], content: &mut Vec<u8>) {
        let sealed = self.0.seal_in_place_append_tag(piece.nonce(), Aad::from(aad), content);
        // It fails for more than 64 GiB only; a pack is five hundred times smaller.
        assert!(sealed.is_ok(), "a piece of {} bytes can be sealed", content.len());
    }

    /// Opens `sealed` in place; nothing when it is not what was sealed.
    pub fn open<'a>(&self, piece: Piece, aad: &[u8], sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        self.0.open_in_place(piece.nonce(), Aad::from(aad), sealed).ok().map(|content| &*content)
    }
}

/// Returns random bytes of the kernel.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    assert!(filled.is_ok(), "the kernel gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new(&RepositoryKey::generate())
    }

    #[test]
    fn a_document_opens_under_its_own_name_kind_and_key_only() {
        let keys = keys();
        let file = keys.document(Kind::Index, "index/a", &vec![1, 2, 3]).unwrap();
        let open = |keys: &Keys, kind, name, file: &[u8]| keys.open_document::<Vec<u32>>(kind, name, file);
        assert_eq!(open(&keys, Kind::Index, "index/a", &file).unwrap(), [1, 2, 3]);
        assert!(open(&keys, Kind::Index, "index/b", &file).is_err());
        assert!(open(&keys, Kind::Snapshot, "index/a", &file).is_err());
        assert!(open(&self::keys(), Kind::Index, "index/a", &file).is_err());
        for bit in 0..file.len() * 8 {
            let mut bent = file.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&keys, Kind::Index, "index/a", &bent).is_err(), "bit {bit}");
        }
        for length in 0..file.len() {
            assert!(open(&keys, Kind::Index, "index/a", &file[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_same_content_never_looks_the_same() {
        let keys = keys();
        let [a, b] = [(); 2].map(|()| keys.document(Kind::Index, "index/a", &"x").unwrap());
        assert_ne!(a[48..], b[48..]);
        assert_eq!(keys.chunk_id(b"x"), keys.chunk_id(b"x"));
        assert_ne!(keys.chunk_id(b"x"), self::keys().chunk_id(b"x"));
    }

    #[test]
    fn a_later_format_is_no_damage() {
        let keys = keys();
        let mut file = keys.document(Kind::Index, "index/a", &"x").unwrap();
        file[8] = 2;
        let refused = keys.open_document::<String>(Kind::Index, "index/a", &file).unwrap_err();
        assert!(matches!(refused, Error::Newer { found: 2, known: 1, .. }), "{refused}");
    }
}
