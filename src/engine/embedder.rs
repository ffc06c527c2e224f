//! The face of the local embedding model: prefixes, truncation, and the split of a batch over threads.

use std::{path::Path, sync::Arc, thread};

use base::Digest;
use rayon::prelude::*;

use crate::{
    Error,
    e5::{self, Encoder, ModelFile, Packed, Tokenizer},
};

/// The most tokens of a text the model sees, marks and prefix included; what follows is cut.
pub const MAX_TOKENS: usize = 512;

/// Tokens per packed product: enough that weights are read rarely, few enough that activations stay in a core's cache.
const PACK_TOKENS: usize = 512;

/// A batch of at most this many tokens runs on the calling thread: a question must not queue behind an ingestion batch.
const INLINE_TOKENS: usize = 160;

/// No text of [`MAX_TOKENS`] pieces has more bytes than this; cutting first bounds the tokenizer's work.
const MAX_TEXT_BYTES: usize = 1 << 16;

/// What a text is for: e5 models embed a question and a passage that answers it with different prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Query,
    Passage,
}

impl Kind {
    /// Returns the prefix the model was trained with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Query => "query: ",
            Self::Passage => "passage: ",
        }
    }
}

/// multilingual-e5-small on this machine's CPU. Cheap to clone; clones share weights and threads.
#[derive(Clone)]
pub struct Embedder(Arc<Inner>);

struct Inner {
    encoder: Encoder,
    tokenizer: EmbedTokenizer,
    digest: Digest,
    threads: rayon::ThreadPool,
}

/// The embedding model's tokenizer alone: 10 MB instead of 150.
#[derive(Clone)]
pub struct EmbedTokenizer(Arc<Tokenizer>);

impl EmbedTokenizer {
    /// Reads the tokenizer from the model file, leaving the network unread; of a model that is a folder, its `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::ReadModel`] and [`Error::ModelFormat`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let pieces = match path.is_dir() {
            true => e5::json::read(&path.join("tokenizer.json"))?,
            false => ModelFile::open(path)?.1,
        };
        Ok(Self(Arc::new(Tokenizer::new(pieces))))
    }

    /// Returns how many tokens `text` has, without prefix and marks.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.0.count(text)
    }

    fn encode(&self, text: &str, limit: usize) -> Vec<u32> {
        let cut = text.floor_char_boundary(MAX_TEXT_BYTES);
        self.0.encode(&text[..cut], limit)
    }
}

impl Embedder {
    /// Opens an `E5S1` file, with one thread per core.
    ///
    /// # Errors
    /// [`Error::ReadModel`] and [`Error::ModelFormat`]: a damaged file is refused, whatever its bytes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with_threads(path, thread::available_parallelism().map_or(1, usize::from))
    }

    /// Opens an `E5S1` file; large batches are spread over `threads` threads.
    ///
    /// # Errors
    /// As [`Self::open`]; [`Error::Backend`] when the threads cannot be started.
    pub fn open_with_threads(path: &Path, threads: usize) -> Result<Self, Error> {
        let (mut file, pieces) = ModelFile::open(path)?;
        let digest = Digest::of_file(path)
            .map_err(|error| Error::ReadModel { path: path.to_owned(), source: Box::new(error) })?;
        let encoder = Encoder::read(&mut file)?;
        let tokenizer = EmbedTokenizer(Arc::new(Tokenizer::new(pieces)));
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("embed-{index}"))
            .build()
            .map_err(|error| Error::Backend { reason: error.to_string() })?;
        Ok(Self(Arc::new(Inner { encoder, tokenizer, digest, threads })))
    }

    /// Returns the width of a vector.
    pub fn dimension(&self) -> usize {
        self.0.encoder.dimension()
    }

    /// Returns the digest of the model file; vectors of different digests must never meet.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Returns how many tokens `text` has, without prefix and marks.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.0.tokenizer.count_tokens(text)
    }

    /// Returns the tokenizer, shared with this embedder.
    pub fn shared_tokenizer(&self) -> EmbedTokenizer {
        self.0.tokenizer.clone()
    }

    /// Returns one vector of length 1 per text, in order, after putting the prefix of `kind` before each.
    ///
    /// Blocks for as long as the products take, some 10 ms per text of 100 tokens and core: call it off an async runtime's
    /// threads.
    ///
    /// # Errors
    /// None with a model that opened; the type leaves room for engines that can fail.
    pub fn embed(&self, texts: &[String], kind: Kind) -> Result<Vec<Vec<f32>>, Error> {
        let prefix = kind.prefix();
        self.embed_prefixed(&texts.iter().map(|text| format!("{prefix}{text}")).collect::<Vec<_>>())
    }

    /// As [`Self::embed`], for texts that already carry their prefix.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn embed_prefixed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, Error> {
        Ok(self.embed_counted(texts).0)
    }

    /// Returns the vectors, and how many tokens the model saw.
    pub(crate) fn embed_counted(&self, texts: &[String]) -> (Vec<Vec<f32>>, usize) {
        if texts.is_empty() {
            return (Vec::new(), 0);
        }
        let inner = &*self.0;
        let limit = MAX_TOKENS.min(inner.encoder.positions());
        let bytes: usize = texts.iter().map(String::len).sum();
        if bytes <= INLINE_TOKENS {
            let ids: Vec<Vec<u32>> = texts.iter().map(|text| inner.tokenizer.encode(text, limit)).collect();
            return (inner.encoder.encode(&pack(&ids), false), count(&ids));
        }
        let ids: Vec<Vec<u32>> =
            inner.threads.install(|| texts.par_iter().map(|text| inner.tokenizer.encode(text, limit)).collect());
        let tokens = count(&ids);
        if tokens <= INLINE_TOKENS {
            return (inner.encoder.encode(&pack(&ids), false), tokens);
        }
        let vectors = inner.threads.install(|| {
            if ids.len() == 1 {
                return inner.encoder.encode(&pack(&ids), true);
            }
            let groups = groups(&ids, inner.threads.current_num_threads());
            groups.into_par_iter().flat_map_iter(|group| inner.encoder.encode(&pack(group), false)).collect()
        });
        (vectors, tokens)
    }
}

fn pack(ids: &[Vec<u32>]) -> Packed {
    Packed::new(ids.iter().map(Vec::as_slice))
}

fn count(ids: &[Vec<u32>]) -> usize {
    ids.iter().map(Vec::len).sum()
}

/// Splits texts, in order, into runs of about equally many tokens: at most [`PACK_TOKENS`] where texts allow, and no fewer runs than
/// threads where there are enough texts.
fn groups(ids: &[Vec<u32>], threads: usize) -> Vec<&[Vec<u32>]> {
    let total = count(ids);
    let runs = total.div_ceil(PACK_TOKENS).next_multiple_of(threads).min(ids.len());
    let mut groups = Vec::with_capacity(runs);
    let (mut rest, mut left) = (ids, total);
    for remaining in (1..=runs).rev() {
        let share = left.div_ceil(remaining);
        let mut tokens = 0;
        let spare = rest.len() - (remaining - 1);
        let fits = rest[..spare].iter().take_while(|text| {
            let begins_inside = tokens < share;
            tokens += text.len();
            begins_inside
        });
        let taken = fits.count().max(1);
        let (group, tail) = rest.split_at(taken);
        left -= count(group);
        rest = tail;
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static MODEL: LazyLock<Embedder> =
        LazyLock::new(|| Embedder::open_with_threads(&crate::testing::embed_model(), 2).unwrap());

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// The first values of vectors made by the engine the file was made for. Both round products to 8 bits, each in its own way: four times
    /// what a value moves by on average is allowed, an eighth of what a typical value is.
    #[test]
    fn vectors_agree_with_the_engine_the_file_comes_from() {
        let frozen: [(Kind, &str, [f32; 8]); 4] = [
            (
                Kind::Query,
                "Wie hoch ist der Preis der Pumpe?",
                [0.051425, -0.042019, -0.045018, -0.067366, 0.064467, -0.047962, 0.014900, 0.081512],
            ),
            (
                Kind::Query,
                "The quick brown fox jumps over the lazy dog.",
                [0.051077, 0.010334, 0.009287, -0.086868, 0.117873, -0.004678, -0.006672, -0.097248],
            ),
            (
                Kind::Passage,
                "Die Pumpe P-200 fördert 40 m³/h bei 230 V.",
                [0.049710, -0.027288, -0.031997, -0.067431, 0.082874, -0.016986, -0.012886, 0.069703],
            ),
            (
                Kind::Passage,
                "A certificate of conformity is enclosed.",
                [0.042974, -0.034199, -0.043735, -0.100882, 0.000000, -0.048204, 0.056301, 0.085531],
            ),
        ];
        for (kind, text, expect) in frozen {
            let vector = MODEL.embed(&[text.to_owned()], kind).unwrap().remove(0);
            assert_eq!(vector.len(), MODEL.dimension());
            assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-5);
            for (value, expect) in vector.iter().zip(expect) {
                assert!((value - expect).abs() < 0.006, "{text}: {value} instead of {expect}");
            }
        }
    }

    #[test]
    fn a_text_has_the_same_vector_alone_and_in_any_batch() {
        let texts: Vec<String> = (0..40)
            .map(|i| format!("Absatz {i}: {}", "Die Dichtung ist alle zwei Jahre zu wechseln. ".repeat(i % 9)))
            .collect();
        let together = MODEL.embed(&texts, Kind::Passage).unwrap();
        for index in [0, 8, 17, 39] {
            let alone = MODEL.embed(&texts[index..=index], Kind::Passage).unwrap();
            assert!(cosine(&alone[0], &together[index]) > 0.99999, "text {index}");
        }
    }

    #[test]
    fn a_question_finds_its_answer_across_languages() {
        let passages = [
            "Die Gewährleistung beträgt 24 Monate.",
            "Das Gehäuse ist aus Edelstahl.",
            "Unsere Kantine öffnet um 11 Uhr.",
        ];
        let vectors = MODEL.embed(&passages.map(str::to_owned), Kind::Passage).unwrap();
        let question = MODEL.embed(&["How long is the warranty?".to_owned()], Kind::Query).unwrap().remove(0);
        let scores: Vec<f32> = vectors.iter().map(|vector| cosine(vector, &question)).collect();
        assert!(scores[0] > scores[1] && scores[0] > scores[2], "{scores:?}");
    }

    #[test]
    fn long_texts_are_cut_and_decomposed_letters_are_joined() {
        let long = "Wort ".repeat(40_000);
        let (_, tokens) = MODEL.embed_counted(&[long]);
        assert_eq!(tokens, MAX_TOKENS);
        assert_eq!(MODEL.count_tokens("Gro\u{308}ße"), MODEL.count_tokens("Größe"));
        let vectors = MODEL.embed(&["Gro\u{308}ße".to_owned(), "Größe".to_owned()], Kind::Query).unwrap();
        assert!(cosine(&vectors[0], &vectors[1]) > 0.99999);
    }

    #[test]
    fn no_text_is_lost_however_a_batch_is_split() {
        for (count, threads) in [(1, 4), (3, 2), (7, 3), (200, 4), (5, 16)] {
            let ids: Vec<Vec<u32>> = (0..count).map(|i| vec![7; 2 + (i * 37) % 300]).collect();
            let groups = groups(&ids, threads);
            assert_eq!(groups.concat(), ids, "{count} texts on {threads} threads");
            assert!(groups.iter().all(|group| !group.is_empty()) && groups.len() >= threads.min(count));
        }
    }

    #[test]
    fn no_texts_give_no_vectors() {
        assert_eq!(MODEL.embed(&[], Kind::Query).unwrap(), Vec::<Vec<f32>>::new());
    }
}
