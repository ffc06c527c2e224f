//! `kill -9` of `install`, then the same command again: the same end, and finished work is not done twice.
//!
//! `scripts/test.sh` kills one installation at every journal record, one after the other. `scripts/soak.sh`
//! (`ZERO711_SOAK=1`) also makes a fresh installation for each of 20 random moments.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    product::{Product, checkout, free_port_base},
    story::install_args,
};

const DEADLINE: Duration = Duration::from_secs(900);

fn command(product: &Product, base: u16) -> Command {
    install(product, &install_args(base))
}

fn install(product: &Product, args: &[String]) -> Command {
    let mut command = product.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn records(product: &Product) -> Vec<Value> {
    let text = fs::read_to_string(product.customer().join("journal.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// How many different things the journal has said. A run that resumes says "started" again, and being killed at that again
/// would be no progress: each thing is an occasion once.
fn milestones(product: &Product) -> usize {
    let said = records(product).into_iter().map(|record| (record["event"].to_string(), record["step"].to_string()));
    said.collect::<std::collections::HashSet<_>>().len()
}

/// What must not depend on interruptions. Folder, ports and time differ between two installations anyway.
fn outcome(product: &Product) -> Value {
    let bytes = fs::read(product.customer().join("receipt.json")).expect("the receipt is written");
    let receipt: Value = serde_json::from_slice(&bytes).unwrap();
    let stats = product.json(&["status"]);
    json!({
        "documents": receipt["documents"],
        "documents_in_lake": stats["documents"],
        "adapter_decision": receipt["adapter"]["decision"],
        "adapter_version": receipt["adapter"]["version"],
        "models": receipt["models"].as_array().unwrap().iter().map(|model| model["digest"].clone()).collect::<Vec<_>>(),
        "license": receipt["license"],
    })
}

/// Finished steps are in the journal once each: nothing that was done is done again.
fn nothing_was_done_twice(product: &Product) {
    let mut finished = std::collections::HashMap::new();
    for record in records(product) {
        if record["event"] == "step_finished" || record["event"] == "finished" {
            *finished.entry(record["step"].to_string()).or_insert(0) += 1;
        }
    }
    for (step, times) in finished {
        assert_eq!(times, 1, "{step} was finished {times} times");
    }
}

#[test]
fn kill_at_every_journal_record() {
    kill_at_every_record(&Product::new(), &install_args(free_port_base()));
}

/// Kills `install` at each record it writes for the first time, until it comes to its end.
pub fn kill_at_every_record(product: &Product, args: &[String]) {
    let started = Instant::now();
    let mut next = 1;
    let mut kills = 0;
    loop {
        assert!(started.elapsed() < DEADLINE, "the installation does not end");
        let mut child = install(product, args).spawn().unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if milestones(product) >= next {
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        match ended {
            Some(status) => {
                assert!(status.success(), "{status}");
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                next = milestones(product) + 1;
            }
        }
    }
    println!("killed {kills} times, {} records", records(product).len());
    assert!(kills >= 12, "only {kills} kills");
    nothing_was_done_twice(product);
    let killed = outcome(product);
    assert_eq!(killed["documents"], killed["documents_in_lake"]);
    assert_eq!(killed["adapter_decision"], "promoted", "{killed}");
    // One more run finds everything in place and changes nothing.
    let receipt = fs::read(product.customer().join("receipt.json")).unwrap();
    assert!(install(product, args).status().unwrap().success());
    assert_eq!(fs::read(product.customer().join("receipt.json")).unwrap(), receipt);
}

#[test]
fn kill_at_random_moments() {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!("skipped: 20 installations take an hour; scripts/soak.sh runs them");
        return;
    }
    let whole = Product::new();
    let started = std::time::Instant::now();
    assert!(command(&whole, free_port_base()).status().unwrap().success());
    let length_ms = u64::try_from(started.elapsed().as_millis()).unwrap();
    let expect = outcome(&whole);
    drop(whole);
    for round in 0..20_u64 {
        let product = Product::new();
        let base = free_port_base();
        // The golden ratio spreads 20 moments evenly over the length of an installation.
        let moment = Duration::from_millis((round * 618 + 31) % 1000 * length_ms / 1000);
        let mut child = command(&product, base).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(command(&product, base).status().unwrap().success(), "killed after {moment:?}");
        assert_eq!(outcome(&product), expect, "killed after {moment:?}");
        nothing_was_done_twice(&product);
        println!("round {}: killed after {:.1} s, same end", round + 1, moment.as_secs_f64());
    }
}

/// `kill -9` of a reading, then the same command again: no document is lost, doubled, or half there.
#[test]
fn an_ingestion_killed_at_random_moments_ends_the_same() {
    let kills: u64 = if std::env::var_os("ZERO711_SOAK").is_some() { 50 } else { 3 };
    let share = checkout("tests/fixtures/share").display().to_string();
    let questions = ["KX 4 Bemessungsstrom", "Garantie", "EN 60947-7-1", "Händlerpreis"];
    // What can be read of a root: the counts, and the passages themselves, whole and in their order.
    let read = |product: &Product| {
        let report = product.json(&["ingest", &share]);
        let counts: Vec<Value> =
            ["searchable", "empty", "failed", "chunks"].iter().map(|of| report[of].clone()).collect();
        let found = |question: &&str| {
            let results = product.json(&["search", question, "-k", "40", "--mode", "lexical"])["results"].clone();
            let mut passages: Vec<String> =
                results.as_array().unwrap().iter().map(|hit| hit["text"].to_string()).collect();
            passages.sort();
            passages
        };
        (counts, questions.iter().map(found).collect::<Vec<_>>())
    };
    let whole = Product::new();
    let begun = Instant::now();
    whole.json(&["ingest", &share]);
    let length_ms = u64::try_from(begun.elapsed().as_millis()).unwrap();
    let expect = read(&whole);
    drop(whole);
    for round in 0..kills {
        let product = Product::new();
        // The golden ratio spreads the moments evenly over the length of a reading.
        let moment = Duration::from_millis((round * 618 + 431) % 1000 * length_ms / 1000);
        let mut child = install(&product, &["ingest".to_owned(), share.clone()]).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read(&product), expect, "killed after {moment:?}");
    }
    println!("{kills} readings of {length_ms} ms were killed");
}

#[test]
fn a_second_install_says_who_holds_the_lock() {
    let product = Product::new();
    let base = free_port_base();
    let mut first = command(&product, base).spawn().unwrap();
    let started = Instant::now();
    while records(&product).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "the first install does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    let args = install_args(base);
    let second = product.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).expect(5);
    assert!(second.err.contains(&first.id().to_string()), "{}", second.err);
    first.kill().unwrap();
    first.wait().unwrap();
}
