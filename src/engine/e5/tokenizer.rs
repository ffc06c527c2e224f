//! The XLM-RoBERTa tokenizer: SentencePiece's Unigram model over the pieces the model file holds.
//!
//! The `tokenizers` crate has the same model, but keeps its quarter of a million pieces in a trie of hash maps that takes more
//! memory than the network itself. Here the pieces stay in one blob, sorted once, and a prefix is a shrinking range of them.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use unicode_normalization::UnicodeNormalization;

use super::file::PieceTables;

/// SentencePiece's mark for a space.
const SPACE_MARK: char = '▁';

/// How far below the worst piece an unknown character scores, as in SentencePiece.
const UNKNOWN_PENALTY: f64 = 10.0;

/// Words whose pieces are remembered, and the bytes of the longest: some 3 MB. Most of a text are words that were there before.
const KNOWN_WORDS: usize = 1 << 15;
const KNOWN_WORD_BYTES: usize = 32;

pub(crate) struct Tokenizer {
    tables: PieceTables,
    /// The ids of the pieces a text can hold, in the order of their bytes.
    sorted: Vec<u32>,
    /// Their first eight bytes, the first the highest, zeros behind the end: a search stays in here instead of following ids to pieces.
    heads: Vec<u64>,
    /// `first[b]..first[b + 1]` is the range of `sorted` whose pieces start with byte `b`.
    first: [usize; 257],
    unknown_score: f64,
    /// Whether no piece goes on behind a space, and a line break is one: then words are split one by one.
    has_words: bool,
    known_words: RwLock<HashMap<Box<str>, Box<[u32]>>>,
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
        let mark = SPACE_MARK.to_string();
        let has_mark_within = |id: &u32| piece(*id).windows(mark.len()).skip(1).any(|part| part == mark.as_bytes());
        let breaks_are_spaces = tables.replacements.get(&'\n').is_some_and(|becomes| becomes.as_slice() == [' ']);
        let has_words = breaks_are_spaces && !sorted.iter().any(has_mark_within);
        let unknown_score = f64::from(worst) - UNKNOWN_PENALTY;
        Self { sorted, heads, first, unknown_score, has_words, known_words: RwLock::default(), tables }
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

    /// Returns the ids of the likeliest split of `text` into pieces.
    pub fn pieces(&self, text: &str) -> Vec<u32> {
        // A space at the end is a piece of its own, and what looks like none may become one.
        let is_plain = |c: char| c.is_ascii_graphic() || c.is_alphanumeric();
        if !self.has_words || !text.ends_with(is_plain) {
            return self.split(&self.normalise(text));
        }
        let mut ids: Vec<u32> = Vec::with_capacity(text.len() / 3);
        let mut new = Vec::new();
        let known = self.known_words.read().unwrap_or_else(PoisonError::into_inner);
        for word in text.split([' ', '\n']).filter(|word| !word.is_empty()) {
            match known.get(word) {
                Some(pieces) => self.append(&mut ids, pieces),
                None => {
                    let normal = self.normalise(word);
                    // A word that is no character at all, or ends in one more space, leaves the one before the next word.
                    let pieces = self.split(normal.trim_end_matches(SPACE_MARK));
                    self.append(&mut ids, &pieces);
                    if word.len() <= KNOWN_WORD_BYTES {
                        new.push((word, pieces));
                    }
                }
            }
        }
        drop(known);
        // Who finds the lock taken leaves the words to the next text.
        if !new.is_empty()
            && let Ok(mut known) = self.known_words.try_write()
        {
            if known.len() + new.len() > KNOWN_WORDS {
                known.clear();
            }
            known.extend(new.into_iter().take(KNOWN_WORDS).map(|(word, pieces)| (word.into(), pieces.into())));
        }
        ids
    }

    /// Joins pieces of two words: unknown ones beside each other are one.
    fn append(&self, ids: &mut Vec<u32>, pieces: &[u32]) {
        let repeats_unknown = pieces.first() == Some(&self.tables.unknown) && ids.last() == pieces.first();
        ids.extend_from_slice(&pieces[usize::from(repeats_unknown)..]);
    }

    /// Splits normalised text (Viterbi over byte positions).
    fn split(&self, text: &str) -> Vec<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{e5::ModelFile, testing};

    #[test]
    fn words_one_by_one_are_the_text_at_once() {
        let tokenizer = Tokenizer::new(ModelFile::open(&testing::embed_model()).unwrap().1);
        assert!(tokenizer.has_words);
        let texts = [
            "Die Reihenklemme WDU 2.5 ist für 24 A und 800 V ausgelegt; die Reihenklemme wird aufgerastet.",
            "  Zwei  Leerzeichen\nund ein Umbruch\r\n\tund ein Tabulator",
            "schmales\u{a0}Leerzeichen \u{a0} und\u{200b} keines \u{7} \u{0} ende",
            "Gro\u{308}ße ﬁnden ½ ² ① ｆｕｌｌ，ｗｉｄｔｈ 端子台は電線を接続する。 ﷺ",
            "\u{10ffff} \u{10fffe}\u{10fffd} a\u{10ffff} \u{10ffff}b",
            "ends in a space ",
            "ends in a hard one\u{a0}",
            "\u{301}a \u{301}b",
            " ",
            "",
        ];
        for text in texts {
            let whole = tokenizer.split(&tokenizer.normalise(text));
            for time in ["first", "second"] {
                assert_eq!(tokenizer.pieces(text), whole, "{text:?} for the {time} time");
            }
        }
        let many = (0..2 * KNOWN_WORDS).map(|number| format!("w{number}")).collect::<Vec<_>>().join(" ");
        assert_eq!(tokenizer.pieces(&many), tokenizer.split(&tokenizer.normalise(&many)));
        assert!(tokenizer.known_words.read().unwrap().len() <= KNOWN_WORDS);
    }
}
