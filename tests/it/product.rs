//! Runs the binary as a user does.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use serde_json::Value;

/// One `--root` with everything below it.
pub struct Product {
    pub root: PathBuf,
    _dir: tempfile::TempDir,
}

/// What a run of the binary gave.
pub struct Run {
    pub out: String,
    pub err: String,
    pub code: i32,
}

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_0711")
}

/// A file of the checkout.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs the binary with these arguments and nothing else.
pub fn run<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Run {
    Run::of(Command::new(binary()).args(args).stdin(Stdio::null()).output().unwrap())
}

impl Run {
    pub fn of(output: Output) -> Self {
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// Fails the test, showing everything, unless the run ended with `code`.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }

    /// The one JSON document the run printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err))
    }
}

impl Product {
    /// A root of its own in a temporary folder.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { root: dir.path().join("brain"), _dir: dir }
    }

    /// A folder beside the root, for input.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self._dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The binary with `--root` and these arguments, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).arg("--root").arg(&self.root).stdin(Stdio::null());
        command
    }

    /// Runs the binary with `--root` and these arguments.
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).output().unwrap())
    }

    /// Runs it and expects success.
    pub fn ok(&self, args: &[&str]) -> Run {
        self.run(args).expect(0)
    }

    /// Runs it with `--json`, expects success and returns the document.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut with_json = args.to_vec();
        with_json.push("--json");
        self.ok(&with_json).json()
    }
}

impl Product {
    /// The folder of the demo's customer.
    pub fn customer(&self) -> PathBuf {
        self.root.join("var/kessler-klemmtechnik-gmbh")
    }
}

/// The first port of a block of 100 of which none is taken, and which no other test of this run has.
pub fn free_port_base() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + u16::try_from(std::process::id() % 150).unwrap() * 100;
    loop {
        let base = start + TAKEN.fetch_add(1, Ordering::SeqCst) * 100;
        assert!(base < 32_000, "no free block of ports");
        if [0, 1, 10, 30, 40, 41, 60].iter().all(|offset| TcpListener::bind(("127.0.0.1", base + offset)).is_ok()) {
            return base;
        }
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // Whatever the test left running, or on an engine, ends with it. Failing to remove it fails no test that passed.
        if !self.root.join("run").exists() {
            return;
        }
        for customer in fs::read_dir(self.root.join("var")).into_iter().flatten().flatten() {
            let name = customer.file_name();
            if customer.path().join("plan.json").is_file() {
                let _ = self.command(&["uninstall", "--purge", "--yes", "--slug", &name.to_string_lossy()]).output();
            }
        }
    }
}
