//! A folder of damaged and hostile files: the run ends, each file is searchable or in the report with its reason, and memory stays bounded.
//!
//! `scripts/test.sh` reads a sample; `scripts/soak.sh` (`ZERO711_SOAK=1`) a thousand files, bombs at full size among them.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::product::{Product, checkout};

/// Longer than the slowest machine needs for a thousand files, each with its own limit of time: what takes longer hangs.
const LONGEST: Duration = Duration::from_secs(45 * 60);
/// Of the run itself, which holds vectors, words and the model; a worker has a limit of its own.
const RUN_BYTES_MAX: u64 = 2 << 30;
/// The address space of a worker is limited to this.
const WORKER_BYTES_MAX: u64 = 2 << 30;

/// The same numbers each time (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n.max(1)
    }
}

/// Damages a file's bytes in one of the ways disks, lines and people do. Returns what was done, for the name.
fn damage(bytes: &mut Vec<u8>, way: usize, dice: &mut Dice) -> &'static str {
    let length = bytes.len();
    match way {
        0 => {
            bytes.truncate(dice.below(length));
            "cut"
        }
        1 => {
            for _ in 0..1 + dice.below(40) {
                let at = dice.below(length);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            "flipped"
        }
        2 => {
            let from = dice.below(length);
            let to = (from + 1 + dice.below(length / 4 + 1)).min(length);
            bytes[from..to].fill(0);
            "zeros"
        }
        3 => {
            let from = dice.below(length);
            let again = bytes[from..].to_vec();
            bytes.extend(again);
            "doubled"
        }
        4 => {
            let head = dice.below(length.min(600));
            bytes.drain(..head);
            "headless"
        }
        5 => {
            for byte in bytes.iter_mut().skip(dice.below(length)).take(64) {
                *byte = byte.wrapping_mul(31).wrapping_add(7);
            }
            "garbled"
        }
        _ => {
            bytes.clear();
            "empty"
        }
    }
}

fn fixtures(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.path().is_dir() {
            true => fixtures(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}

/// What nobody has by accident. One file is a single line of `scale` hundred kilobytes.
fn hostile(folder: &Path, scale: usize) {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let deep = 10_000 * scale.min(20);
    write("deep.json", "[".repeat(deep).as_bytes());
    write("deep.xml", "<a>".repeat(deep).as_bytes());
    write("deep.html", "<div>".repeat(deep).as_bytes());
    write("deep.md", "> ".repeat(deep).as_bytes());
    let entities: String = (0..20).map(|n| format!("<!ENTITY e{} \"&e{n};&e{n};&e{n};&e{n};\">", n + 1)).collect();
    write("entities.xml", format!("<!DOCTYPE a [<!ENTITY e0 \"ha\">{entities}]><a>&e20;</a>").as_bytes());
    write("outside.xml", b"<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>");
    write("numbers.csv", format!("{}\n", "1;".repeat(15_000 * scale.min(20))).as_bytes());
    write("nul.txt", &vec![0; 1 << 16]);
    write("no extension", &(0..=255_u8).cycle().take(1 << 16).collect::<Vec<_>>());
    write("line\nbreak.txt", b"A name with a line break.");
    write("pdf.docx", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 1 0 R >>\nendobj\n%%EOF");
    let mut line = BufWriter::new(File::create(folder.join("one line.txt")).unwrap());
    for _ in 0..scale * 100 * 1024 / 16 {
        line.write_all(b"Klemme 2,5 mm2; ").unwrap();
    }
    line.flush().unwrap();
    bomb(&folder.join("bomb.zip"), 300);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe.txt"), rustix::fs::Mode::RUSR).unwrap();
    symlink(folder, folder.join("loop")).unwrap();
    symlink("selbst.txt", folder.join("selbst.txt")).unwrap();
    symlink("/etc/passwd", folder.join("passwd.txt")).unwrap();
}

/// A zip with one member of so many megabytes of zeros.
fn bomb(path: &Path, megabytes: usize) {
    let script = "import sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z, z.open('null.txt', 'w', force_zip64=True) as m:\n\
        \x20   for _ in range(int(sys.argv[2])): m.write(bytes(1 << 20))";
    let mut python = std::process::Command::new("python3");
    assert!(python.args(["-c", script]).arg(path).arg(megabytes.to_string()).status().unwrap().success());
}

/// Peak memory of a process, in bytes.
fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[test]
fn damaged_files_end_no_run_and_are_told_one_by_one() {
    let is_soak = std::env::var_os("ZERO711_SOAK").is_some();
    // What is read of a long line is embedded, which takes the time.
    let (count, scale) = if is_soak { (1_000, 1_000) } else { (42, 1) };
    let product = Product::new();
    let folder = product.folder("share");
    let (mut sources, mut dice) = (Vec::new(), Dice(711));
    fixtures(&checkout("tests/fixtures/share"), &mut sources);
    sources.sort();
    for number in 0..count {
        let source = &sources[number % sources.len()];
        let mut bytes = fs::read(source).unwrap();
        let done = damage(&mut bytes, number % 7, &mut dice);
        // One in nine has the name of another kind of file.
        let other = &sources[dice.below(sources.len())];
        let named = if number % 9 == 0 { other } else { source };
        let ending = named.extension().unwrap_or_default().to_string_lossy();
        fs::write(folder.join(format!("{number:04} {done}.{ending}")), bytes).unwrap();
    }
    hostile(&folder, scale);
    let files = fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_file()).count();

    let begun = Instant::now();
    let output = product.folder("out").join("report.json");
    let mut command = product.command(&["ingest", folder.to_str().unwrap(), "--json"]);
    let mut run = command.stdout(File::create(&output).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    let (mut own, mut worker) = (0, 0);
    let status = loop {
        own = own.max(peak_bytes(run.id()));
        worker = children(run.id()).into_iter().map(peak_bytes).fold(worker, u64::max);
        if let Some(status) = run.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < LONGEST, "it hangs");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
    let report: Value = serde_json::from_slice(&fs::read(&output).unwrap()).unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    println!(
        "{files} files in {:.0} s: {} searchable, {} empty, {} failed, {} skipped; the run had {} MB at most, a worker {} MB",
        begun.elapsed().as_secs_f64(),
        count("searchable"),
        count("empty"),
        count("failed"),
        count("skipped"),
        own >> 20,
        worker >> 20
    );
    let told = report["files"].as_array().unwrap();
    assert!(told.iter().all(|file| !file["reason"].as_str().unwrap().is_empty()), "{report}");
    let of = |name: &str| told.iter().find(|file| file["path"].as_str().unwrap().ends_with(name));
    // The pipe and the links are told beside the files.
    for name in ["pipe.txt", "loop", "selbst.txt", "passwd.txt", "bomb.zip"] {
        assert!(of(name).is_some(), "{name} is not told: {report}");
    }
    let (unread, odd) = (told.len() as u64, 4);
    assert_eq!(count("searchable") + unread - odd, files as u64, "a file is lost: {report}");
    let secret = product.json(&["search", "root:x:0:0", "--mode", "lexical"]);
    assert!(!secret.to_string().contains("root:x:0:0"), "a file outside was read");
    assert!(own < RUN_BYTES_MAX, "the run took {} MB", own >> 20);
    assert!(worker < WORKER_BYTES_MAX, "a worker took {} MB", worker >> 20);

    // Nothing is read twice: what is damaged stays told, and costs nothing.
    let again = product.json(&["ingest", folder.to_str().unwrap()]);
    assert_eq!((again["added"].as_u64(), again["changed"].as_u64()), (Some(0), Some(0)), "{again}");
}
