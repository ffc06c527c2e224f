//! How long a search takes among many passages, whether the scan in bytes finds what an exact one finds, and whether a commit costs the
//! same in a small lake and in a large one.
//!
//! `search_many ROOT PASSAGES`: fills a lake in the new folder ROOT with made-up passages, in commits as large as those of a reading, then asks
//! 200 questions in each mode. `scripts/bench-ingest.sh --search` calls it; figures come from the `dist` profile and an idle machine.
//! Ends with 1 when a bar is missed: p95 at most 50 ms, and nothing an exact scan finds is missed.

use std::{env, error::Error, path::Path, process::ExitCode, time::Instant};

use base::{Digest, Layout, Place, Slug};
use lake::{
    ChunkRow, Commit, DocumentRow, DocumentStatus, EmbedSpec, Lake, SearchMode, SearchRequest, chunk_id, document_id,
};

const DIMENSION: usize = 384;
const PER_DOCUMENT: usize = 10;
const PER_COMMIT: usize = 100;
const SUBJECTS: usize = 500;
const QUESTIONS: usize = 200;
const MAX_P95_MS: f64 = 50.0;

/// As the program itself gives its threads: the query planner recurses deeply.
const STACK_BYTES: usize = 16 << 20;

/// Pseudo-random numbers from 0 to 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    /// A unit vector near another, as passages on one subject are.
    fn near(&mut self, subject: &[f32]) -> Vec<f32> {
        let vector: Vec<f32> = subject.iter().map(|value| value + (self.next() - 0.5) * 1.2).collect();
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.into_iter().map(|value| value / length).collect()
    }

    /// Made-up words, the common ones often and most of them hardly ever, as in any language.
    fn words(&mut self, count: usize) -> String {
        let word = |rank: usize| {
            let mut rest = rank * 7919 + 13;
            let mut word = String::new();
            for _ in 0..4 {
                word.push(char::from(b"bcdfghklmnprstvwz"[rest % 17]));
                word.push(char::from(b"aeiou"[rest / 17 % 5]));
                rest /= 7;
            }
            word
        };
        let words: Vec<String> = (0..count).map(|_| word(60_000_f32.powf(self.next()) as usize)).collect();
        words.join(" ")
    }

    fn chunk(&mut self, document: &str, number: usize, ordinal: usize, subjects: &[Vec<f32>]) -> ChunkRow {
        let text = format!("{} WDU {}.{} {number}", self.words(80), number % 97, ordinal);
        ChunkRow {
            id: chunk_id(document, ordinal as u32, &text),
            document_id: document.to_owned(),
            ordinal: ordinal as u32,
            text,
            heading_path: Vec::new(),
            place: Place::default(),
            language: Some(if number.is_multiple_of(3) { "en" } else { "de" }.to_owned()),
            token_count: 100,
            readers: Vec::new(),
            vector: self.near(&subjects[(number + ordinal) % SUBJECTS]),
        }
    }
}

fn document(id: String, path: String) -> DocumentRow {
    DocumentRow {
        id,
        source: "/data".to_owned(),
        name: path.clone(),
        path,
        digest: None,
        size_bytes: 1,
        modified_ms: 1,
        format: "txt".to_owned(),
        language: None,
        title: None,
        status: DocumentStatus::Searchable,
        reason: None,
        chunk_count: PER_DOCUMENT as u32,
        ingested_ms: 1,
        readers: Vec::new(),
        metadata: Default::default(),
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [root, passages] = arguments.as_slice() else {
        return Err("usage: search_many ROOT PASSAGES".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    let (root, documents) = (Path::new(root).to_owned(), passages.parse::<usize>()? / PER_DOCUMENT);
    // On a thread of the runtime, for its stack.
    let measured = runtime.block_on(runtime.spawn(async move {
        // The cause would not cross the thread as it is.
        measure(&root, documents).await.map_err(|error| error.to_string())
    }))?;
    Ok(if measured? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(root: &Path, documents: usize) -> Result<bool, Box<dyn Error>> {
    let customer = Layout::rooted(root).customer(&Slug::parse("scale")?);
    let lake = Lake::open(&customer, EmbedSpec { dimension: DIMENSION, model: Digest::of(b"model") }).await?;
    let mut random = Random(7);
    let subjects: Vec<Vec<f32>> =
        (0..SUBJECTS).map(|_| (0..DIMENSION).map(|_| random.next() - 0.5).collect()).collect();
    let vectors = fill(&lake, &mut random, &subjects, documents).await?;
    let began = Instant::now();
    lake.refresh().await?;
    println!("refreshing the index: {:.1} s", began.elapsed().as_secs_f64());
    let (mut missed, mut asked, mut is_good) = (0, 0, true);
    for mode in [SearchMode::Hybrid, SearchMode::Vector, SearchMode::Lexical] {
        let mut millis = Vec::with_capacity(QUESTIONS);
        for question in 0..QUESTIONS {
            let vector = random.near(&subjects[question % SUBJECTS]);
            let text = format!("{} WDU {}.5", random.words(6), question % 97);
            let request = SearchRequest { mode, ..SearchRequest::hybrid(text, Some(vector.clone()), 10) };
            let began = Instant::now();
            let hits = lake.search(request).await?;
            millis.push(began.elapsed().as_secs_f64() * 1000.0);
            if mode == SearchMode::Vector && question.is_multiple_of(10) {
                let cosine = |row: &[f32]| row.iter().zip(&vector).map(|(a, b)| a * b).sum::<f32>();
                let mut exact: Vec<(f32, &str)> = vectors.iter().map(|(id, row)| (cosine(row), id.as_str())).collect();
                exact.sort_by(|a, b| b.0.total_cmp(&a.0));
                let nearest = exact.iter().take(10);
                asked += nearest.len();
                missed += nearest.filter(|(_, id)| hits.iter().all(|hit| hit.chunk_id != *id)).count();
            }
        }
        millis.sort_by(f64::total_cmp);
        let [p50, p95] = [QUESTIONS / 2, QUESTIONS * 95 / 100].map(|at| millis[at]);
        is_good &= p95 <= MAX_P95_MS;
        println!("{mode:?} among {} passages: p50 {p50:.1} ms, p95 {p95:.1} ms", vectors.len());
    }
    println!("of the {asked} nearest by an exact scan, {missed} were missed");
    Ok(is_good && missed == 0)
}

/// Commits the passages, and tells what a commit took in each tenth. Returns their ids and vectors.
async fn fill(
    lake: &Lake,
    random: &mut Random,
    subjects: &[Vec<f32>],
    documents: usize,
) -> Result<Vec<(String, Vec<f32>)>, Box<dyn Error>> {
    let mut vectors = Vec::with_capacity(documents * PER_DOCUMENT);
    let numbers: Vec<usize> = (0..documents).collect();
    let commits: Vec<&[usize]> = numbers.chunks(PER_COMMIT).collect();
    for tenth in commits.chunks(commits.len().div_ceil(10).max(1)) {
        let mut seconds = 0.0;
        for batch in tenth {
            let mut commit = Commit::default();
            for number in *batch {
                let path = format!("ordner{}/dokument{number}.txt", number / 100);
                let id = document_id("/data", &path);
                for ordinal in 0..PER_DOCUMENT {
                    let chunk = random.chunk(&id, *number, ordinal, subjects);
                    vectors.push((chunk.id.clone(), chunk.vector.clone()));
                    commit.chunks.push(chunk);
                }
                commit.upsert.push(document(id, path));
            }
            let began = Instant::now();
            lake.commit(commit).await?;
            seconds += began.elapsed().as_secs_f64();
        }
        let millis = 1000.0 * seconds / tenth.len() as f64;
        println!("up to {:>7} passages: {millis:.0} ms for a commit of {} documents", vectors.len(), PER_COMMIT);
    }
    Ok(vectors)
}
