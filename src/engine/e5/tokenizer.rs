//! The XLM-RoBERTa tokenizer: SentencePiece's Unigram model over the pieces the model file holds.
//!
//! The `tokenizers` crate has the same model, but keeps its quarter of a million pieces in a trie of hash maps that takes more
//! memory than the network itself. Here the pieces stay in one blob, sorted once, and a prefix is a shrinking range of them.

use unicode_normalization::UnicodeNormalization;

use super::file::PieceTables;

/// SentencePiece's mark for a space.
const SPACE_MARK: char = '▁';

/// How far below the worst piece an unknown character scores, as in SentencePiece.
const UNKNOWN_PENALTY: f64 = 10.0;

pub(crate) struct Tokenizer {
    tables: PieceTables,
    /// The ids of the pieces a text can hold, in the order of their bytes.
    sorted: Vec<u32>,
    /// Their first eight bytes, the first the highest, zeros behind the end: a search stays in here instead of following ids to pieces.
    heads: Vec<u64>,
    /// `first[b]..first[b + 1]` is the range of `sorted` whose pieces start with byte `b`.
    first: [usize; 257],
    unknown_score: f64,
}

#[derive(Clone, Copy)]
struct Step {
    score: f64,
    piece: u32,
    from: usize,
}

impl Tokenizer {
    pub fn new(tables: PieceTables) -> Self {
        let special = [tables.bos, tables.eos, tables.pad, tables.unknown];
        let piece =
            |id: u32| &tables.blob[tables.offsets[id as usize] as usize..tables.offsets[id as usize + 1] as usize];
        let reserved = |id: &u32| special.contains(id) || piece(*id) == b"<mask>" || piece(*id).is_empty();
        let mut sorted: Vec<u32> = (0..tables.scores.len() as u32).filter(|id| !reserved(id)).collect();
        sorted.sort_unstable_by_key(|id| piece(*id));
        sorted.dedup_by_key(|id| piece(*id));
        let mut first = [sorted.len(); 257];
        for (byte, start) in first.iter_mut().take(256).enumerate() {
            *start = sorted.partition_point(|id| usize::from(piece(*id)[0]) < byte);
        }
        let head = |id: &u32| {
            let mut head = [0; 8];
            let piece = piece(*id);
            let length = piece.len().min(8);
            head[..length].copy_from_slice(&piece[..length]);
            u64::from_be_bytes(head)
        };
        let heads = sorted.iter().map(head).collect();
        let worst = tables.scores.iter().copied().fold(0.0, f32::min);
        Self { sorted, heads, first, unknown_score: f64::from(worst) - UNKNOWN_PENALTY, tables }
    }

    /// Returns the ids of `text`, at most `limit` of them, between the start and end marks.
    pub fn encode(&self, text: &str, limit: usize) -> Vec<u32> {
        let mut ids = self.pieces(text);
        ids.truncate(limit.saturating_sub(2));
        ids.insert(0, self.tables.bos);
        ids.push(self.tables.eos);
        ids
    }

    /// Returns how many pieces `text` has, without marks.
    pub fn count(&self, text: &str) -> usize {
        self.pieces(text).len()
    }

    /// Returns the ids of the likeliest split of `text` into pieces (Viterbi over byte positions).
    pub fn pieces(&self, text: &str) -> Vec<u32> {
        let text = self.normalise(text);
        let bytes = text.as_bytes();
        let unreached = Step { score: f64::NEG_INFINITY, piece: self.tables.unknown, from: 0 };
        let mut best = vec![unreached; bytes.len() + 1];
        best[0].score = 0.0;
        for (start, character) in text.char_indices() {
            let score = best[start].score;
            let mut offer = |end: usize, piece: u32, gain: f64| {
                if score + gain > best[end].score {
                    best[end] = Step { score: score + gain, piece, from: start };
                }
            };
            offer(start + character.len_utf8(), self.tables.unknown, self.unknown_score);
            self.each_prefix(&bytes[start..], |length, piece| {
                offer(start + length, piece, f64::from(self.tables.scores[piece as usize]));
            });
        }
        let mut ids = Vec::new();
        let mut end = bytes.len();
        while end > 0 {
            let step = best[end];
            let repeats_unknown = step.piece == self.tables.unknown && ids.last() == Some(&step.piece);
            if !repeats_unknown {
                ids.push(step.piece);
            }
            end = step.from;
        }
        ids.reverse();
        ids
    }

    /// Calls `found` with length and id of every piece that `bytes` starts with.
    fn each_prefix(&self, bytes: &[u8], mut found: impl FnMut(usize, u32)) {
        let Some(byte) = bytes.first() else { return };
        let (mut start, mut end) = (self.first[usize::from(*byte)], self.first[usize::from(*byte) + 1]);
        let mut depth = 1;
        while start < end {
            // The shortest piece of a range with a common prefix stands first: only it can be the prefix itself.
            let shortest = self.sorted[start];
            if self.piece(shortest).len() == depth {
                found(depth, shortest);
                start += 1;
            }
            let Some(byte) = bytes.get(depth) else { return };
            let (below, same) = match 7_usize.checked_sub(depth) {
                Some(behind) => {
                    let heads = &self.heads[start..end];
                    let at = |head: &u64| (head >> (8 * behind)) as u8;
                    let below = heads.partition_point(|head| at(head) < *byte);
                    (below, heads[below..].partition_point(|head| at(head) == *byte))
                }
                None => {
                    let range = &self.sorted[start..end];
                    let below = range.partition_point(|id| self.piece(*id)[depth] < *byte);
                    (below, range[below..].partition_point(|id| self.piece(*id)[depth] == *byte))
                }
            };
            start += below;
            end = start + same;
            depth += 1;
        }
    }

    fn piece(&self, id: u32) -> &[u8] {
        let offsets = &self.tables.offsets;
        &self.tables.blob[offsets[id as usize] as usize..offsets[id as usize + 1] as usize]
    }

    /// Applies NFKC and the file's replacements (line breaks become spaces, control characters vanish), makes one mark of each
    /// run of spaces, and puts a mark in front.
    ///
    /// NFKC comes first because the file's table knows single code points only: `u` and a combining diaeresis must meet.
    fn normalise(&self, text: &str) -> String {
        let mut normal = String::with_capacity(text.len() + text.len() / 4 + 3);
        let mut push = |c: char| {
            let c = if c == ' ' { SPACE_MARK } else { c };
            if normal.is_empty() && c != SPACE_MARK {
                normal.push(SPACE_MARK);
            }
            if !(c == SPACE_MARK && normal.ends_with(SPACE_MARK)) {
                normal.push(c);
            }
        };
        for c in text.nfkc() {
            match self.tables.replacements.get(&c) {
                Some(becomes) => becomes.iter().for_each(|c| push(*c)),
                None => push(c),
            }
        }
        if normal.is_empty() {
            normal.push(SPACE_MARK);
        }
        normal
    }
}
