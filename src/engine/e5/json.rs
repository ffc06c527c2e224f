//! The same tokenizer from a `tokenizer.json`, which a model that is a folder has: the format of the `tokenizers` library, model `Unigram`.
//!
//! Its `normalizer` is a compiled table of SentencePiece, which is not read: NFKC and the short list of its rule `nmt_nfkc` give the same
//! pieces for all but rare characters, and here tokens are only counted. The embedder itself has its own tokenizer.

use std::{collections::HashMap, path::Path};

use serde::Deserialize;

use super::file::PieceTables;
use crate::Error;

/// A quarter of a million pieces take 17 MB.
const MAX_BYTES: u64 = 64 << 20;
const MAX_PIECES: usize = 4_000_000;

/// Control characters that vanish, and what counts as a space (SentencePiece, `builder.cc`, rule `nmt_nfkc`).
const VANISH: [(u32, u32); 6] = [(0x01, 0x08), (0x0b, 0x0b), (0x0e, 0x1f), (0x7f, 0x7f), (0x8f, 0x8f), (0x9f, 0x9f)];
const SPACES: [u32; 14] =
    [0x09, 0x0a, 0x0c, 0x0d, 0x1680, 0x200b, 0x200c, 0x200e, 0x200f, 0x2028, 0x2029, 0x2581, 0xfeff, 0xfffd];

#[derive(Deserialize)]
struct TokenizerFile {
    model: Unigram,
}

#[derive(Deserialize)]
struct Unigram {
    #[serde(rename = "type")]
    kind: String,
    unk_id: Option<u32>,
    vocab: Vec<(String, f32)>,
}

/// Reads the tokenizer's tables.
pub(crate) fn read(path: &Path) -> Result<PieceTables, Error> {
    let bad = |reason: &str| Error::ModelFormat { path: path.to_owned(), reason: reason.to_owned() };
    let bytes = base::file::read_bounded(path, MAX_BYTES)
        .map_err(|error| Error::ReadModel { path: path.to_owned(), source: Box::new(error) })?;
    let file: TokenizerFile = serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))?;
    let Unigram { kind, unk_id, vocab } = file.model;
    if kind != "Unigram" {
        return Err(bad(&format!("its tokenizer is `{kind}`; `Unigram` is the one known")));
    }
    if vocab.len() > MAX_PIECES || vocab.iter().any(|(_, score)| !score.is_finite()) {
        return Err(bad("its pieces are too many, or have a score that is not finite"));
    }
    let id = |text: &str| vocab.iter().position(|(piece, _)| piece == text).and_then(|id| u32::try_from(id).ok());
    let missing = || bad("a special token is missing");
    let special = |text| id(text).ok_or_else(missing);
    let (bos, eos, pad) = (special("<s>")?, special("</s>")?, special("<pad>")?);
    let unknown = unk_id.filter(|id| (*id as usize) < vocab.len()).ok_or_else(missing)?;
    let (mut blob, mut offsets, mut scores) = (Vec::new(), vec![0], Vec::with_capacity(vocab.len()));
    for (piece, score) in &vocab {
        blob.extend_from_slice(piece.as_bytes());
        // Not more than the file's own bytes, which are bounded.
        offsets.push(blob.len() as u32);
        scores.push(*score);
    }
    Ok(PieceTables { bos, eos, pad, unknown, offsets, scores, blob, replacements: replacements() })
}

fn replacements() -> HashMap<char, Vec<char>> {
    let vanish = VANISH.iter().flat_map(|(first, last)| *first..=*last).map(|code| (code, vec![]));
    let spaces = SPACES.iter().map(|code| (*code, vec![' ']));
    vanish.chain(spaces).filter_map(|(code, becomes)| Some((char::from_u32(code)?, becomes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e5::{ModelFile, Tokenizer};

    fn written(json: &serde_json::Value) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json.to_string()).unwrap();
        file
    }

    /// multilingual-e5 has one vocabulary in all its sizes: the small model's file is the oracle.
    #[test]
    fn counts_as_the_model_files_own_tokenizer_does() {
        let (_, tables) = ModelFile::open(&crate::testing::embed_model()).unwrap();
        let piece = |id: usize| {
            let bytes = &tables.blob[tables.offsets[id] as usize..tables.offsets[id + 1] as usize];
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let mut vocab: Vec<_> = (0..tables.scores.len()).map(|id| (piece(id), tables.scores[id])).collect();
        // The special ones may have no text in that file.
        for (id, text) in [(tables.bos, "<s>"), (tables.pad, "<pad>"), (tables.eos, "</s>"), (tables.unknown, "<unk>")]
        {
            vocab[id as usize].0 = text.to_owned();
        }
        let unknown = tables.unknown;
        let file = written(&serde_json::json!({"model": {"type": "Unigram", "unk_id": unknown, "vocab": vocab}}));
        let (own, read) = (Tokenizer::new(tables), Tokenizer::new(read(file.path()).unwrap()));
        for text in [
            "Die Pumpe P-200 fördert 40 m³/h bei 230 V.",
            "Zeile eins\r\nZeile zwei\tmit  vielen   Leerzeichen\u{200b}und\u{a0}mehr",
            "Gro\u{308}ße ½ ﬁx ①  \u{7f}\u{1}",
            "漢字 und 😀",
            "",
            " ",
        ] {
            assert_eq!(own.pieces(text), read.pieces(text), "{text:?}");
        }
    }

    #[test]
    fn another_tokenizer_is_refused() {
        let refused = |model: serde_json::Value| {
            let file = written(&serde_json::json!({ "model": model }));
            read(file.path()).err().unwrap().to_string()
        };
        let bpe = serde_json::json!({"type": "BPE", "unk_id": 0, "vocab": []});
        assert!(refused(bpe).contains("`BPE`"));
        let vocab = serde_json::json!([["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0]]);
        assert!(refused(serde_json::json!({"type": "Unigram", "unk_id": 3, "vocab": vocab})).contains("special"));
        assert!(
            refused(serde_json::json!({"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]]})).contains("special")
        );
    }
}
