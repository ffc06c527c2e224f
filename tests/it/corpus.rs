//! Real files of the kind customers have: each is searchable, or in the report with its reason.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::product::{Product, checkout};

/// One file in so many is read here; `scripts/soak.sh` reads all of them.
const SAMPLE: usize = 8;
/// Far more than the slowest machine needs: a run that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[test]
fn every_file_of_the_corpus_is_searchable_or_reported() {
    let corpus = checkout("../shared/corpus");
    if !corpus.is_dir() {
        println!("skipped: {} is not here", corpus.display());
        return;
    }
    let product = Product::new();
    let folder = product.folder("share");
    let every = if std::env::var_os("ZERO711_SOAK").is_some() { 1 } else { SAMPLE };
    let mut files = Vec::new();
    list(&corpus, &mut files);
    files.sort();
    let files: Vec<_> = files.into_iter().step_by(every).collect();
    for file in &files {
        let target = folder.join(file.strip_prefix(&corpus).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }

    let started = Instant::now();
    let report = product.json(&["ingest", folder.to_str().unwrap()]);
    assert!(started.elapsed() < LONGEST);
    let count = |name: &str| report[name].as_u64().unwrap();
    let unsearchable = report["files"].as_array().unwrap();
    println!(
        "{} files: {} searchable, {} empty, {} failed, {} skipped; {} passages in {:.0} s",
        files.len(),
        count("searchable"),
        count("empty"),
        count("failed"),
        count("skipped"),
        count("chunks"),
        report["seconds"].as_f64().unwrap()
    );
    assert_eq!(count("searchable") + unsearchable.len() as u64, files.len() as u64, "{report}");
    assert!(unsearchable.iter().all(|file| !file["reason"].as_str().unwrap().is_empty()), "{report}");
    assert!(count("searchable") * 100 >= files.len() as u64 * 75, "{report}");

    // A second run finds nothing to do.
    let again = product.json(&["ingest", folder.to_str().unwrap()]);
    assert_eq!((again["added"].as_u64(), again["changed"].as_u64()), (Some(0), Some(0)), "{again}");
    assert_eq!(again["searchable"], report["searchable"]);
}

fn list(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}
