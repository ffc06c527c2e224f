//! How long a search takes among 200,000 passages, and whether the scan in bytes finds what an exact one finds.
//!
//! Too long for every test run; figures come from the `dist` profile and an idle machine:
//! `cargo test --profile dist --locked -p lake -- --ignored --nocapture a_search_among`.

use std::time::Instant;

use base::{Digest, Layout, Place, Slug};

use crate::{
    ChunkRow, Commit, DocumentRow, DocumentStatus, EmbedSpec, Lake, SearchMode, SearchRequest, chunk_id, document_id,
};

const DIMENSION: usize = 384;
const CHUNKS: usize = 200_000;
const PER_DOCUMENT: usize = 10;
const SUBJECTS: usize = 500;
const QUESTIONS: usize = 200;

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
}

#[tokio::test]
#[ignore = "minutes of work; for measuring"]
async fn a_search_among_200_000_passages_stays_below_50_ms_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::rooted(dir.path()).customer(&Slug::parse("scale").unwrap());
    let spec = EmbedSpec { dimension: DIMENSION, model: Digest::of(b"model") };
    let lake = Lake::open(&layout, spec).await.unwrap();
    let mut random = Random(7);
    let subjects: Vec<Vec<f32>> =
        (0..SUBJECTS).map(|_| (0..DIMENSION).map(|_| random.next() - 0.5).collect()).collect();
    let mut vectors: Vec<(String, Vec<f32>)> = Vec::with_capacity(CHUNKS);
    for batch in (0..CHUNKS / PER_DOCUMENT).collect::<Vec<_>>().chunks(500) {
        let mut commit = Commit::default();
        for number in batch {
            let path = format!("ordner{}/dokument{number}.txt", number / 100);
            let id = document_id("/data", &path);
            for ordinal in 0..PER_DOCUMENT {
                let text = format!("{} WDU {}.{} {number}", random.words(80), number % 97, ordinal);
                let vector = random.near(&subjects[(number + ordinal) % SUBJECTS]);
                let id_of = chunk_id(&id, ordinal as u32, &text);
                vectors.push((id_of.clone(), vector.clone()));
                commit.chunks.push(ChunkRow {
                    id: id_of,
                    document_id: id.clone(),
                    ordinal: ordinal as u32,
                    text,
                    heading_path: Vec::new(),
                    place: Place::default(),
                    language: Some(if number % 3 == 0 { "en" } else { "de" }.to_owned()),
                    token_count: 100,
                    readers: Vec::new(),
                    vector,
                });
            }
            commit.upsert.push(DocumentRow {
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
            });
        }
        lake.commit(commit).await.unwrap();
    }
    lake.refresh().await.unwrap();
    let (mut missed, mut asked) = (0, 0);
    for mode in [SearchMode::Hybrid, SearchMode::Vector, SearchMode::Lexical] {
        let mut millis = Vec::with_capacity(QUESTIONS);
        for question in 0..QUESTIONS {
            let vector = random.near(&subjects[question % SUBJECTS]);
            let text = format!("{} WDU {}.5", random.words(6), question % 97);
            let request = SearchRequest { mode, ..SearchRequest::hybrid(text, Some(vector.clone()), 10) };
            let started = Instant::now();
            let hits = lake.search(request).await.unwrap();
            millis.push(started.elapsed().as_secs_f64() * 1000.0);
            assert_eq!(hits.len(), 10);
            if mode == SearchMode::Vector && question % 10 == 0 {
                let cosine = |row: &[f32]| row.iter().zip(&vector).map(|(a, b)| a * b).sum::<f32>();
                let mut exact: Vec<(f32, &str)> = vectors.iter().map(|(id, row)| (cosine(row), id.as_str())).collect();
                exact.sort_by(|a, b| b.0.total_cmp(&a.0));
                asked += 10;
                missed += exact[..10].iter().filter(|(_, id)| hits.iter().all(|hit| hit.chunk_id != *id)).count();
            }
        }
        millis.sort_by(f64::total_cmp);
        let [p50, p95] = [QUESTIONS / 2, QUESTIONS * 95 / 100].map(|at| millis[at]);
        println!("{mode:?} among {CHUNKS} passages: p50 {p50:.1} ms, p95 {p95:.1} ms");
        assert!(p95 <= 50.0, "{mode:?}: {p95} ms");
    }
    println!("of the {asked} nearest by an exact scan, {missed} were missed");
    assert_eq!(missed, 0);
}
