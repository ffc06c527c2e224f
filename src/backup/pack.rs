//! Packs: many chunks in one file, so that a medium holds few files and each is worth its opening.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    Error,
    format::{ChunkEntry, ChunkId, Kind, PackEntry, PackId},
    seal::{FileKey, Keys, Piece, TAG_BYTES, check_head, random, unpack},
    store::Store,
};

/// A pack is closed when it has so many bytes.
pub(crate) const FULL_BYTES: usize = 32 << 20;
/// A chunk has at most so many; see `cut.rs`.
pub(crate) const CHUNK_BYTES_MAX: usize = 4 << 20;
/// What a pack may have at most, its list included.
pub(crate) const PACK_BYTES_MAX: u64 = 128 << 20;
const HEAD_BYTES: usize = 16 + 32;
const LEVEL: i32 = 3;
/// Packs kept in memory while chunks are read: files that were written together lie together.
const KEPT_PACKS: usize = 3;

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub pack: PackId,
    /// Which chunk of the pack it is, from 0.
    pub place: u32,
    pub offset: u64,
    pub sealed_bytes: u32,
    pub raw_bytes: u32,
    pub is_zstd: bool,
}

/// Returns the name of a pack's file.
pub(crate) fn name(id: &PackId) -> String {
    let hex = id.hex();
    format!("packs/{}/{hex}", &hex[..2])
}

impl PackEntry {
    /// Returns where each chunk stands.
    pub fn locations(&self) -> impl Iterator<Item = (ChunkId, Location)> {
        let mut offset = HEAD_BYTES as u64;
        self.chunks.iter().zip(0_u32..).map(move |(chunk, place)| {
            let at = Location {
                pack: self.id,
                place,
                offset,
                sealed_bytes: chunk.sealed_bytes,
                raw_bytes: chunk.raw_bytes,
                is_zstd: chunk.is_zstd,
            };
            offset += u64::from(chunk.sealed_bytes);
            (chunk.id, at)
        })
    }
}

/// A pack that is being filled.
pub(crate) struct OpenPack {
    id: PackId,
    key: FileKey,
    bytes: Vec<u8>,
    chunks: Vec<ChunkEntry>,
}

impl OpenPack {
    pub fn new(keys: &Keys) -> Self {
        // The id is the salt of the pack's key: a pack that is begun again is another pack.
        let id = PackId(random());
        let mut bytes = Vec::with_capacity(FULL_BYTES + CHUNK_BYTES_MAX);
        bytes.extend_from_slice(&Kind::Pack.head());
        bytes.extend_from_slice(&id.0);
        Self { id, key: keys.file(Kind::Pack, &id.0), bytes, chunks: Vec::new() }
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Adds a chunk and returns where it stands.
    pub fn add(&mut self, id: ChunkId, content: &[u8]) -> Result<Location, Error> {
        let failed = |source| Error::Encode { name: "a chunk".to_owned(), source };
        let packed = zstd::bulk::compress(content, LEVEL).map_err(failed)?;
        let is_zstd = packed.len() < content.len();
        let mut sealed = if is_zstd { packed } else { content.to_vec() };
        self.key.seal(Piece::Chunk(self.chunks.len() as u64), &[], &mut sealed);
        let at = Location {
            pack: self.id,
            place: self.chunks.len() as u32,
            offset: self.bytes.len() as u64,
            sealed_bytes: sealed.len() as u32,
            raw_bytes: content.len() as u32,
            is_zstd,
        };
        self.bytes.append(&mut sealed);
        self.chunks.push(ChunkEntry { id, sealed_bytes: at.sealed_bytes, raw_bytes: at.raw_bytes, is_zstd });
        Ok(at)
    }

    /// Ends the pack: returns its entry and its file.
    pub fn close(mut self) -> Result<(PackEntry, Vec<u8>), Error> {
        let failed = |source| Error::Encode { name: "a pack".to_owned(), source };
        let json = serde_json::to_vec(&self.chunks).map_err(|error| failed(error.into()))?;
        let mut list = zstd::bulk::compress(&json, LEVEL).map_err(failed)?;
        self.key.seal(Piece::List, &self.bytes[..HEAD_BYTES], &mut list);
        let length = list.len() as u32;
        self.bytes.append(&mut list);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        let entry = PackEntry { id: self.id, size_bytes: self.bytes.len() as u64, chunks: self.chunks };
        Ok((entry, self.bytes))
    }
}

/// Reads what a pack says of itself: head and list, without the chunks.
pub(crate) fn read_list(store: &Store, keys: &Keys, id: PackId, size_bytes: u64) -> Result<PackEntry, Error> {
    let name = name(&id);
    let damaged = |why: &str| Error::damaged(&name, why);
    let least = (HEAD_BYTES + TAG_BYTES + 4) as u64;
    if !(least..=PACK_BYTES_MAX).contains(&size_bytes) {
        return Err(damaged("no pack has this size"));
    }
    let head = store.range(&name, 0, HEAD_BYTES)?;
    let tail = store.range(&name, size_bytes - 4, 4)?;
    let length = list_length(&tail, size_bytes).ok_or_else(|| damaged("its end is not what was written"))?;
    let list = store.range(&name, size_bytes - 4 - length as u64, length)?;
    open_list(keys, id, &head, list, size_bytes)
}

fn list_length(tail: &[u8], size_bytes: u64) -> Option<usize> {
    let length = u32::from_le_bytes(tail.try_into().ok()?);
    let fits = u64::from(length) + (HEAD_BYTES + 4) as u64 <= size_bytes && length as usize >= TAG_BYTES;
    fits.then_some(length as usize)
}

fn open_list(keys: &Keys, id: PackId, head: &[u8], mut list: Vec<u8>, size_bytes: u64) -> Result<PackEntry, Error> {
    let name = name(&id);
    let damaged = |why: &str| Error::damaged(&name, why);
    check_head(Kind::Pack, &name, head)?;
    if head[16..] != id.0 {
        return Err(damaged("it is another pack"));
    }
    let list_bytes = list.len() as u64;
    let opened = keys.file(Kind::Pack, &id.0).open(Piece::List, head, &mut list);
    let json = opened.and_then(|content| unpack(content, PACK_BYTES_MAX as usize));
    let json = json.ok_or_else(|| damaged("its list is not what was written"))?;
    let chunks: Vec<ChunkEntry> = serde_json::from_slice(&json).map_err(|error| damaged(&error.to_string()))?;
    let content: u64 = chunks.iter().map(|chunk| u64::from(chunk.sealed_bytes)).sum();
    if HEAD_BYTES as u64 + content + list_bytes + 4 != size_bytes {
        return Err(damaged("its size is not what was written"));
    }
    Ok(PackEntry { id, size_bytes, chunks })
}

/// A whole pack in memory.
struct WholePack {
    id: PackId,
    key: FileKey,
    bytes: Vec<u8>,
}

impl WholePack {
    fn read(store: &Store, keys: &Keys, id: PackId) -> Result<Self, Error> {
        let bytes = store.get(&name(&id), PACK_BYTES_MAX)?;
        Ok(Self { id, key: keys.file(Kind::Pack, &id.0), bytes })
    }

    /// Returns a chunk that is what it is called.
    fn chunk(&self, keys: &Keys, id: &ChunkId, at: &Location) -> Result<Vec<u8>, Error> {
        let damaged = || Error::damaged(name(&self.id), "a chunk is not what was written");
        let start = usize::try_from(at.offset).map_err(|_| damaged())?;
        let end = start.checked_add(at.sealed_bytes as usize).ok_or_else(damaged)?;
        let mut sealed = self.bytes.get(start..end).ok_or_else(damaged)?.to_vec();
        let content = self.key.open(Piece::Chunk(u64::from(at.place)), &[], &mut sealed).ok_or_else(damaged)?;
        let length = content.len();
        let content = if at.is_zstd {
            unpack(content, CHUNK_BYTES_MAX).ok_or_else(damaged)?
        } else {
            sealed.truncate(length);
            sealed
        };
        if content.len() != at.raw_bytes as usize || keys.chunk_id(&content) != *id {
            return Err(damaged());
        }
        Ok(content)
    }
}

/// Proves every byte of a pack: head, list, and each chunk against its id.
pub(crate) fn prove(store: &Store, keys: &Keys, entry: &PackEntry) -> Result<(), Error> {
    let pack = WholePack::read(store, keys, entry.id)?;
    let damaged = |why: &str| Error::damaged(name(&entry.id), why);
    let size_bytes = pack.bytes.len() as u64;
    if size_bytes != entry.size_bytes {
        return Err(damaged("its size is not what was written"));
    }
    let (body, tail) = pack.bytes.split_at(pack.bytes.len().saturating_sub(4));
    let length = list_length(tail, size_bytes).ok_or_else(|| damaged("its end is not what was written"))?;
    let list = body[body.len() - length..].to_vec();
    let found = open_list(keys, entry.id, &pack.bytes[..HEAD_BYTES], list, size_bytes)?;
    if found != *entry {
        return Err(damaged("its list is not what the index says"));
    }
    entry.locations().try_for_each(|(id, at)| pack.chunk(keys, &id, &at).map(drop))
}

/// Reads chunks; packs that were just read are at hand.
pub(crate) struct ChunkReader<'a> {
    store: &'a Store,
    keys: &'a Keys,
    kept: VecDeque<Arc<WholePack>>,
}

impl<'a> ChunkReader<'a> {
    pub fn new(store: &'a Store, keys: &'a Keys) -> Self {
        Self { store, keys, kept: VecDeque::new() }
    }

    /// Returns a chunk that is what it is called.
    pub fn read(&mut self, id: &ChunkId, at: &Location) -> Result<Vec<u8>, Error> {
        let known = self.kept.iter().find(|pack| pack.id == at.pack).cloned();
        let pack = match known {
            Some(pack) => pack,
            None => {
                let pack = Arc::new(WholePack::read(self.store, self.keys, at.pack)?);
                if self.kept.len() == KEPT_PACKS {
                    self.kept.pop_front();
                }
                self.kept.push_back(pack.clone());
                pack
            }
        };
        pack.chunk(self.keys, id, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::RepositoryKey;

    #[test]
    fn a_pack_tells_what_is_in_it_and_no_bit_of_it_can_change() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::folder(dir.path().to_owned()).unwrap();
        let keys = Keys::new(&RepositoryKey::generate());
        let mut pack = OpenPack::new(&keys);
        let contents = [b"text text text text text text".to_vec(), random::<40>().to_vec(), Vec::new()];
        for content in &contents {
            pack.add(keys.chunk_id(content), content).unwrap();
        }
        let (entry, bytes) = pack.close().unwrap();
        store.put(&name(&entry.id), &bytes).unwrap();
        assert_eq!(read_list(&store, &keys, entry.id, entry.size_bytes).unwrap(), entry);
        prove(&store, &keys, &entry).unwrap();
        let mut reader = ChunkReader::new(&store, &keys);
        for ((id, at), content) in entry.locations().zip(&contents) {
            assert_eq!(reader.read(&id, &at).unwrap(), *content);
        }
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(dir.path().join(name(&entry.id)), bent).unwrap();
            assert!(prove(&store, &keys, &entry).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            std::fs::write(dir.path().join(name(&entry.id)), &bytes[..length]).unwrap();
            assert!(prove(&store, &keys, &entry).is_err(), "{length} bytes");
            assert!(read_list(&store, &keys, entry.id, length as u64).is_err(), "{length} bytes");
        }
    }
}
