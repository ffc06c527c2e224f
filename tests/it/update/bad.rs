//! Releases, machines and moments that are bad in a way of their own. `scripts/soak.sh` runs these.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Vendor, begin, documents, end, installed, installed_in, is_soak, patch, pids, serves, stage, until_stage, version,
    web::Published,
};
use crate::product::Product;

/// The program answers, and cites nothing any more.
#[test]
fn golden_questions_that_get_worse_are_noticed_in_the_rehearsal() {
    if !is_soak("a release of its own is built") {
        return;
    }
    let (product, vendor) = (installed(), Vendor::the());
    let bad = vendor.release("worse", "0.3.0", |bytes| patch(bytes, b"citations", b"citatians"));
    let before = pids(&product);
    let refused = product.run(&["update", "--from", &bad, "--yes", "--json"]).expect(1);
    assert!(refused.out.contains("1 of 2 golden questions"), "{}", refused.out);
    assert_eq!(pids(&product), before, "a service was touched");
    serves(&product, "0.1.0");
    assert!(product.run(&["update", "--from", &bad, "--yes"]).expect(1).err.contains("is held"));
}

/// Its agent cannot start here, where something lies in its way; it could in the rehearsal.
#[test]
fn an_agent_that_cannot_start_gives_way_to_the_old_one() {
    if !is_soak("a release of its own is built") {
        return;
    }
    let (product, vendor) = (installed(), Vendor::the());
    let bad = vendor.release("agentless", "0.3.0", |bytes| patch(bytes, b"agent.lock", b"agent.lack"));
    fs::create_dir_all(product.root.join("run/agent.lack/x")).unwrap();
    let refused = product.run(&["update", "--from", &bad, "--yes", "--json"]).expect(1);
    let state = product.json(&["update", "status"])["state"].clone();
    assert_eq!(state["attempt"]["stage"], "rolled-back", "{state}\n{}", refused.out);
    assert!(state["attempt"]["cause"].as_str().unwrap().contains("agent"), "{state}");
    println!("an agent that cannot start: the console was away for {} ms", state["attempt"]["downtime_ms"]);
    serves(&product, "0.1.0");
}

/// Killed when the new release has changed half of the data: it comes back as it was, and what was changed is kept aside.
#[test]
fn data_that_is_half_migrated_comes_back_from_the_snapshot() {
    if !is_soak("an update is killed") {
        return;
    }
    let (product, vendor) = (installed(), Vendor::the());
    let next = vendor.edited("migrates", |release| {
        release["version"] = json!("0.3.0");
        release["schemas"]["lake"] = json!(2);
    });
    let (before, lakehouse) = (documents(&product), product.customer().join("lakehouse"));
    let tables = listing(&lakehouse.join("delta"));
    let mut update = begin(&product, &next);
    until_stage(&product, "switching");
    let snapshot = product.root.join("var/update/snapshots/kessler-klemmtechnik-gmbh");
    let started = Instant::now();
    while !snapshot.join("whole.json").exists() {
        assert!(started.elapsed() < Duration::from_secs(120), "no snapshot was taken");
        std::thread::sleep(Duration::from_millis(5));
    }
    end(&mut update);
    // Half of a migration: a table is gone, another has a file of another format, a third one is new.
    fs::remove_dir_all(lakehouse.join("delta/documents")).unwrap();
    fs::write(lakehouse.join("delta/commits/_delta_log/00000000000000000099.json"), "{\"format\":2}").unwrap();
    fs::create_dir_all(lakehouse.join("delta2")).unwrap();
    product.command(&["update", "--from", &next, "--yes", "--json"]).output().unwrap();
    let state = product.json(&["update", "status"])["state"].clone();
    assert_eq!(state["attempt"]["stage"], "rolled-back", "{state}");
    serves(&product, "0.1.0");
    assert_eq!(documents(&product), before);
    // The services that run again may have written further versions since.
    let now = listing(&lakehouse.join("delta"));
    let lost: Vec<_> = tables.iter().filter(|file| !now.contains(file)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(!lakehouse.join("delta2").exists());
    assert!(snapshot.join("taken-back/lakehouse/delta2").is_dir(), "what was changed was thrown away");
}

fn listing(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.path().is_dir() {
            true => files.extend(listing(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

/// `HH:MM-HH:MM`, from so many hours after now on, six hours long.
fn window(hours_from_now: u32) -> String {
    let said = Command::new("date").args(["+%H %M"]).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let (hour, minute) = said.trim().split_once(' ').unwrap();
    let from = (hour.parse::<u32>().unwrap() + hours_from_now) % 24;
    format!("{from:02}:{minute}-{:02}:{minute}", (from + 6) % 24)
}

/// The window closes while the release is rehearsed: it is not stopped then, and the next window goes on where that one ended.
#[test]
fn a_window_that_closes_is_kept_to() {
    if !is_soak("two windows") {
        return;
    }
    let (product, vendor) = (installed(), Vendor::the());
    let good = vendor.good();
    product.ok(&["update", "configure", "--channel", &good, "--policy", "approve", "--window", &window(21)]);
    product.ok(&["update", "approve", "0.2.0"]);
    let before = pids(&product);
    let mut update = product.command(&["update", "--unattended", "--json"]).spawn().unwrap();
    until_stage(&product, "rehearsing");
    product.ok(&["update", "configure", "--window", &window(12)]);
    assert!(update.wait().unwrap().success());
    assert_eq!(stage(&product), "ready");
    assert_eq!(pids(&product), before, "a service was touched");
    serves(&product, "0.1.0");
    // Out of the window nothing happens, as often as the agent may ask.
    product.run(&["update", "--unattended", "--json"]);
    assert_eq!((stage(&product), version(&product)), ("ready".to_owned(), "0.1.0".to_owned()));
    product.ok(&["update", "configure", "--window", &window(21)]);
    // The agent may be faster.
    product.run(&["update", "--unattended", "--json"]);
    until_stage(&product, "finished");
    serves(&product, "0.2.0");

    // One that waits for its window can be given up.
    patiently(&product, &["update", "rollback", "--yes"]);
    product.ok(&["update", "configure", "--window", &window(12)]);
    patiently(&product, &["update", "approve", "0.2.0"]);
    product.run(&["update", "--unattended", "--json"]);
    until_stage(&product, "ready");
    patiently(&product, &["update", "hold", "0.2.0", "--reason", "after the audit"]);
    assert_eq!(stage(&product), "refused");
    serves(&product, "0.1.0");
}

/// The agent looks every minute, and may be at work just now.
fn patiently(product: &Product, args: &[&str]) {
    let started = Instant::now();
    loop {
        let done = product.run(args);
        if done.code != 5 || started.elapsed() > Duration::from_secs(60) {
            done.expect(0);
            return;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// An installation on a file system of its own, whose size the test changes.
struct Disk {
    product: Product,
}

impl Disk {
    /// Nothing where a file system cannot be mounted.
    fn mount() -> Option<Self> {
        let product = Product::new();
        fs::create_dir_all(&product.root).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=16g", "tmpfs"]).arg(&product.root).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: no file system can be mounted here");
            return None;
        }
        Some(Self { product })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        resize(&self.product.root, 16 << 30);
        let slug = ["uninstall", "--purge", "--yes", "--slug", "kessler-klemmtechnik-gmbh"];
        let _ = self.product.command(&slug).output();
        let _ = Command::new("umount").arg("--lazy").arg(&self.product.root).status();
    }
}

fn used_bytes(root: &Path) -> u64 {
    let space = rustix::fs::statvfs(root).unwrap();
    (space.f_blocks - space.f_bfree) * space.f_frsize
}

/// Returns whether that many bytes are used at most.
fn resize(root: &Path, bytes: u64) -> bool {
    let size = format!("remount,size={bytes}");
    Command::new("mount").args(["-o", &size]).arg(root).stderr(Stdio::null()).status().unwrap().success()
}

fn leave_free(root: &Path, bytes: u64) {
    // Somebody may write just now.
    let is_done = (0..200).any(|_| resize(root, used_bytes(root) + bytes));
    assert!(is_done, "the file system keeps its size");
}

/// Too little room is said before anything is fetched; a disk others fill meanwhile breaks the fetching off, and it goes on.
#[test]
fn a_full_disk_is_met_before_the_fetch_or_survived_in_it() {
    if !is_soak("a file system of its own") {
        return;
    }
    let Some(disk) = Disk::mount() else { return };
    let (product, vendor) = (&disk.product, Vendor::the());
    installed_in(product);
    let channel = Published::new(product, &vendor.good());
    product.ok(&["update", "configure", "--channel", &channel.server.address, "--watch-minutes", "0"]);
    let before = pids(product);
    let try_with = |free_bytes: u64| {
        leave_free(&product.root, free_bytes);
        let refused = product.run(&["update", "--yes", "--json"]).expect(1);
        let answer: Value = refused.json();
        let remedy = answer.to_string();
        let missing = remedy.split("free ").find_map(|rest| rest.split_once(" MB on the file system")?.0.parse().ok());
        missing.unwrap_or_else(|| panic!("{answer}"))
    };
    let little = 8 << 20;
    let needed_bytes = little + try_with(little) * 1_000_000;
    println!("an update needs {} MB", needed_bytes / 1_000_000);
    for percent in [10, 50, 95] {
        let _: u64 = try_with(needed_bytes * percent / 100);
    }
    assert_eq!(channel.server.take_sent_bytes(), 0, "something was fetched for which there is no room");
    assert_eq!(pids(product), before, "a service was touched");

    // Now there is room, and somebody else fills the disk.
    let all = channel.new_bytes();
    for percent in [10, 50, 95] {
        resize(&product.root, 16 << 30);
        let (root, come) = (product.root.clone(), channel.server.take_sent_bytes());
        assert!(come < all, "it was fetched anew");
        let at = (all * percent / 100).saturating_sub(staged_bytes(product));
        channel.server.when_sent(at, move || leave_free(&root, 256 << 10));
        let broken = product.run(&["update", "--yes", "--json"]);
        assert_ne!(broken.code, 0, "{}", broken.out);
        println!("full after {percent} %: {}", broken.out.trim());
        assert_eq!(version(product), "0.1.0");
        assert_eq!(pids(product), before, "a service was touched");
    }
    resize(&product.root, 16 << 30);
    channel.server.take_sent_bytes();
    let done = product.json(&["update", "--yes"]);
    assert_eq!(done["attempt"]["stage"], "finished", "{done}");
    let rest = channel.server.take_sent_bytes();
    println!("{rest} of {all} bytes were left to fetch");
    assert!(rest < all / 2, "it was fetched anew");
    serves(product, "0.2.0");
}

/// What was fetched so far.
fn staged_bytes(product: &Product) -> u64 {
    let staging = product.root.join("var/update/staging");
    let files = if staging.is_dir() { listing(&staging) } else { Vec::new() };
    let is_model = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        product.root.join("var/models/sha256").join(name).exists()
    };
    files.iter().filter(|path| !is_model(path)).map(|path| fs::metadata(path).map_or(0, |found| found.len())).sum()
}
