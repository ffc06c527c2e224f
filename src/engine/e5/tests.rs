//! A file of whatever bytes is an error or a model, never a panic.

use std::{fs, path::Path};

use super::{Encoder, ModelFile, Packed, Tokenizer};
use crate::Error;

const HIDDEN: usize = 32;
const PIECES: [&str; 6] = ["<s>", "<pad>", "</s>", "<unk>", "▁ab", "c"];

/// Returns a whole file with one layer of the smallest sizes there are.
fn tiny_file() -> Vec<u8> {
    let mut file = b"E5S1".to_vec();
    for size in [1, HIDDEN, 1, 2, HIDDEN, PIECES.len(), 8, 1] {
        file.extend((size as u32).to_le_bytes());
    }
    file.extend(1e-12_f32.to_le_bytes());
    file.extend(32_u32.to_le_bytes());
    for id in [PIECES.len() as u32, 0, 2, 1, 3] {
        file.extend(id.to_le_bytes());
    }
    let blob = PIECES.concat();
    file.extend((blob.len() as u64).to_le_bytes());
    let mut offset = 0_u32;
    file.extend(offset.to_le_bytes());
    for piece in PIECES {
        offset += piece.len() as u32;
        file.extend(offset.to_le_bytes());
    }
    (0..PIECES.len()).for_each(|id| file.extend((-(id as f32)).to_le_bytes()));
    file.extend(blob.as_bytes());
    let replacement = [vec![b'\n', 0, 0, 0, 1], vec![b' ', 0, 0, 0]].concat();
    file.extend(1_u32.to_le_bytes());
    file.extend((replacement.len() as u32).to_le_bytes());
    file.extend(replacement);
    let square = HIDDEN * HIDDEN;
    let mut tensors =
        vec![("emb.word".to_owned(), PIECES.len() * HIDDEN, true), ("emb.pos".to_owned(), 8 * HIDDEN, false)];
    for name in ["emb.type", "emb.ln.w", "emb.ln.b"] {
        tensors.push((name.to_owned(), HIDDEN, false));
    }
    for part in ["q", "k", "v", "ao", "fi", "fo"] {
        tensors.push((format!("l0.{part}.w"), square, true));
        tensors.push((format!("l0.{part}.b"), HIDDEN, false));
    }
    for part in ["aln.w", "aln.b", "oln.w", "oln.b"] {
        tensors.push((format!("l0.{part}"), HIDDEN, false));
    }
    let bytes = |elements: usize, blocks: bool| if blocks { elements / 32 * 18 } else { elements * 4 };
    let directory: usize = 4 + tensors.iter().map(|(name, ..)| 2 + name.len() + 1 + 4 + 8 + 8).sum::<usize>();
    let mut at = file.len() + directory;
    file.extend((tensors.len() as u32).to_le_bytes());
    for (name, elements, blocks) in &tensors {
        file.extend((name.len() as u16).to_le_bytes());
        file.extend(name.as_bytes());
        file.push(u8::from(*blocks));
        file.extend((*elements as u32).to_le_bytes());
        file.extend((at as u64).to_le_bytes());
        file.extend((bytes(*elements, *blocks) as u64).to_le_bytes());
        at += bytes(*elements, *blocks);
    }
    for (_, elements, blocks) in &tensors {
        let block: Vec<u8> =
            if *blocks { [&[0x00, 0x2c][..], &[0x5a; 16]].concat() } else { 0.25_f32.to_le_bytes().to_vec() };
        (0..bytes(*elements, *blocks) / block.len()).for_each(|_| file.extend(&block));
    }
    file
}

/// Opens the bytes as a model and embeds a text with it.
fn open(dir: &Path, bytes: &[u8]) -> Result<Vec<Vec<f32>>, Error> {
    let path = dir.join("model");
    fs::write(&path, bytes).unwrap();
    let (mut file, pieces) = ModelFile::open(&path)?;
    let encoder = Encoder::read(&mut file)?;
    let ids = Tokenizer::new(pieces).encode("ab\nc ü", encoder.positions());
    Ok(encoder.encode(&Packed::new([ids.as_slice()]), false))
}

#[test]
fn a_whole_file_gives_a_vector_of_length_one() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = open(dir.path(), &tiny_file()).unwrap();
    let length: f32 = vectors[0].iter().map(|value| value * value).sum();
    assert!(vectors[0].len() == HIDDEN && (length - 1.0).abs() < 1e-5);
}

#[test]
fn a_file_cut_short_is_refused_wherever_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let whole = tiny_file();
    for length in (0..700).chain((700..whole.len()).step_by(97)) {
        let refused = open(dir.path(), &whole[..length]);
        assert!(matches!(refused, Err(Error::ModelFormat { .. })), "cut at {length}: {refused:?}");
    }
}

#[test]
fn a_changed_byte_never_panics_and_never_takes_memory_it_should_not() {
    let dir = tempfile::tempdir().unwrap();
    let whole = tiny_file();
    for at in 0..1100 {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            if let Ok(vectors) = open(dir.path(), &changed) {
                assert_eq!(vectors[0].len() % HIDDEN, 0, "byte {at} set to {value}");
            }
        }
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(ModelFile::open(dir.path()).map(drop), Err(Error::ReadModel { .. })));
    assert!(matches!(ModelFile::open(&dir.path().join("absent")).map(drop), Err(Error::ReadModel { .. })));
}

#[test]
fn the_tokenizer_takes_the_best_pieces_and_joins_the_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    fs::write(&path, tiny_file()).unwrap();
    let tokenizer = Tokenizer::new(ModelFile::open(&path).unwrap().1);
    for (text, expect) in [
        ("abc", vec![4, 5]),
        ("ab\nab", vec![4, 4]),
        ("ab  \u{a0} ab", vec![4, 4]),
        ("abxyzc", vec![4, 3, 5]),
        ("</s>c", vec![3, 5]),
        ("", vec![3]),
    ] {
        assert_eq!(tokenizer.pieces(text), expect, "{text:?}");
    }
    assert_eq!(tokenizer.encode("abccccccc", 5), [0, 4, 5, 5, 2]);
}
