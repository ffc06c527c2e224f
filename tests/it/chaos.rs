//! Half an hour of misfortune under a constant load of questions, told by the soak: what runs is well in the end, and every answer that was
//! given a number is in the table.
//!
//! `ZERO711_CHAOS_MINUTES` is how long (30), `ZERO711_CHAOS_SEED` repeats a run, as far as machines repeat anything. Clocks do not jump here: those
//! of other processes cannot be moved without moving the machine's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    docker,
    product::{Product, Run, free_port_base},
    story::{self, ROLES},
};

/// Between two misfortunes. The budget of five restarts in ten minutes is for services that are broken, not for those that are shot at.
const PAUSE: Duration = Duration::from_secs(25);
const QUESTIONS: [&str; 4] = [
    "Welchen Bemessungsstrom hat die KX 4?",
    "Welchen Querschnitt klemmt die KX 10?",
    "Wer hat das Rad erfunden?",
    "What is the rated voltage of the KX 4?",
];

#[test]
fn misfortunes_end_in_health() {
    if let Some(minutes) = minutes() {
        let base = free_port_base();
        Chaos::new(base, &story::install_args(base), false).run(minutes);
    }
}

#[test]
fn misfortunes_end_in_health_containers() {
    if let Some(minutes) = minutes().filter(|_| docker::engine_is_here()) {
        let base = free_port_base();
        Chaos::new(base, &docker::install_args(base), true).run(minutes);
    }
}

fn minutes() -> Option<Duration> {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!("skipped: half an hour each; scripts/soak.sh runs it");
        return None;
    }
    let minutes = std::env::var("ZERO711_CHAOS_MINUTES").ok().map_or(30, |text| text.parse().unwrap());
    Some(Duration::from_secs(60 * minutes))
}

/// The same numbers for the same seed (xorshift64).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let seed = std::env::var("ZERO711_CHAOS_SEED").ok().map(|text| text.parse().unwrap());
        let seed = seed.unwrap_or(u64::try_from(now).unwrap() | 1);
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// What those who ask have seen.
#[derive(Default)]
struct Asked {
    accepted: Vec<String>,
    without_number: u64,
    errors: u64,
    longest_away: Duration,
    away: Duration,
}

/// A file system of its own, so that filling it harms nobody else. None without root rights: then nothing is filled.
struct SmallDisk(Option<PathBuf>);

impl SmallDisk {
    fn mount(folder: PathBuf) -> Self {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=5g,mode=0755", "tmpfs"]).arg(&folder).status();
        Self(mounted.is_ok_and(|status| status.success()).then_some(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _ = Command::new("umount").arg("--lazy").arg(folder).status();
        }
    }
}

struct Chaos {
    product: Product,
    base: u16,
    in_containers: bool,
    dice: Dice,
    done: BTreeMap<&'static str, u32>,
    persons: u32,
    agents_gone: u32,
    disk: SmallDisk,
}

impl Chaos {
    fn new(base: u16, args: &[String], in_containers: bool) -> Self {
        let mut product = Product::new();
        let disk = SmallDisk::mount(product.folder("disk"));
        product.root = product.folder("disk").join("brain");
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        let minutes = args.iter().position(|arg| *arg == "--training-minutes").unwrap();
        args[minutes + 1] = "0";
        product.ok(&args);
        Self {
            product,
            base,
            in_containers,
            dice: Dice::new(),
            done: BTreeMap::new(),
            persons: 0,
            agents_gone: 0,
            disk,
        }
    }

    fn run(mut self, length: Duration) {
        let (stop, asked) = (AtomicBool::new(false), Mutex::new(Asked::default()));
        let token = fs::read_to_string(self.secret("api-token")).unwrap();
        let header = self.product.folder("ask").join("header");
        fs::write(&header, format!("authorization: Bearer {}", token.trim())).unwrap();
        let (base, started) = (self.base, Instant::now());
        std::thread::scope(|scope| {
            scope.spawn(|| load(base, &header, &stop, &asked));
            // Whatever fails below, the load ends with it.
            let _end = Ends(&stop);
            while started.elapsed() < length {
                self.one_misfortune();
                std::thread::sleep(PAUSE);
                self.help_as_a_person_would();
            }
            self.all_is_well();
        });
        let asked = asked.into_inner().unwrap();
        println!(
            "{:?} of chaos: {:?}; a person was needed {} times; {} answers kept, {} without a number, {} errors, away for {:.1} s in all and \
             {:.1} s at most",
            started.elapsed(),
            self.done,
            self.persons,
            asked.accepted.len(),
            asked.without_number,
            asked.errors,
            asked.away.as_secs_f64(),
            asked.longest_away.as_secs_f64()
        );
        assert_eq!(self.agents_gone, 0, "the agent ended by itself");
        assert!(asked.accepted.len() > 10, "hardly a question was answered");
        let kept = self.kept();
        let lost: Vec<_> = asked.accepted.iter().filter(|id| !kept.contains(*id)).collect();
        assert!(lost.is_empty(), "{} of {} accepted interactions are lost: {lost:?}", lost.len(), asked.accepted.len());
        self.product.ok(&["uninstall", "--purge", "--yes"]);
    }

    fn secret(&self, name: &str) -> PathBuf {
        self.product.customer().join("deployment/secrets").join(name)
    }

    /// The roles as the agent sees them; none while there is no agent.
    fn roles(&self) -> Vec<Value> {
        let run = self.product.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&run.out).unwrap_or_default();
        status["roles"].as_array().cloned().unwrap_or_default()
    }

    fn pid(&self, role: &str) -> Option<Pid> {
        let roles = self.roles();
        let pid = roles.iter().find(|known| known["role"] == role)?["pid"].as_i64()?;
        Pid::from_raw(i32::try_from(pid).unwrap())
    }

    fn one_misfortune(&mut self) {
        let role = ROLES[self.dice.below(ROLES.len())];
        let kinds = if self.in_containers { 10 } else { 8 };
        let what = match self.dice.below(kinds) {
            0..=2 => {
                if let Some(pid) = self.pid(role) {
                    let _ = kill_process(pid, Signal::KILL);
                }
                "role killed"
            }
            3 => {
                // Nobody wakes it: the agent has to notice.
                if let Some(pid) = self.pid(role) {
                    let _ = kill_process(pid, Signal::STOP);
                }
                "role stopped (SIGSTOP)"
            }
            4 => {
                if let Some(pid) = self.agent() {
                    let _ = kill_process(pid, Signal::KILL);
                }
                // What systemd does where there is one.
                std::thread::sleep(Duration::from_secs(3));
                self.product.run(&["start"]);
                "agent killed"
            }
            5 => {
                if let Some(pid) = self.agent() {
                    let _ = kill_process(pid, Signal::STOP);
                    std::thread::sleep(Duration::from_secs(10));
                    let _ = kill_process(pid, Signal::CONT);
                }
                "agent stopped for 10 s"
            }
            6 => {
                self.fill(None);
                "disk full"
            }
            7 => {
                self.fill(Some(90_000_000));
                "disk nearly full"
            }
            8 => {
                restart_engine();
                "engine restarted"
            }
            _ => {
                let name = format!("{}-{role}", docker::project(&self.product.customer()));
                let _ = Command::new("docker").args(["rm", "--force", &name]).output();
                "container removed"
            }
        };
        println!("{what} ({role})");
        *self.done.entry(what).or_default() += 1;
    }

    fn agent(&self) -> Option<Pid> {
        let run = self.product.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&run.out).ok()?;
        Pid::from_raw(i32::try_from(status["agent"]["identity"]["pid"].as_i64()?).unwrap())
    }

    /// Fills the file system for 20 s, to the last byte or up to `leaves`.
    fn fill(&self, leaves: Option<u64>) {
        let Some(disk) = &self.disk.0 else { return };
        let path = disk.join("ballast");
        let status = rustix::fs::statvfs(disk).unwrap();
        let free = status.f_bavail * status.f_frsize;
        let file = File::create(&path).unwrap();
        let length = free.saturating_sub(leaves.unwrap_or(0));
        let _ = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length.max(1));
        std::thread::sleep(Duration::from_secs(20));
        drop(file);
        fs::remove_file(&path).unwrap();
    }

    /// A service that was shot at five times in ten minutes stays down until somebody starts it. An agent that ended, and was not shot at, is
    /// started again as systemd would, and told in the end.
    fn help_as_a_person_would(&mut self) {
        let roles = self.roles();
        if roles.is_empty() {
            println!("the agent is gone");
            self.agents_gone += 1;
            self.product.run(&["start"]);
        } else if roles.iter().any(|role| role["state"] == "needs_a_person") {
            self.product.run(&["start"]);
            self.persons += 1;
        }
    }

    fn all_is_well(&mut self) {
        let started = Instant::now();
        loop {
            self.help_as_a_person_would();
            let roles = self.roles();
            let is_well =
                |role: &Value| role["state"] == "ready" && role["work"]["verdict"] == "good" && role["held"].is_null();
            if roles.len() == ROLES.len() && roles.iter().all(is_well) {
                println!("all is well {:.1} s after the last misfortune", started.elapsed().as_secs_f64());
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(300), "{roles:#?}\n{}", self.product.run(&["doctor"]).out);
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// The numbers of all interactions in the table.
    fn kept(&self) -> Vec<String> {
        let host = if self.in_containers {
            let project = docker::project(&self.product.customer());
            let networks = docker::inspect(&format!("{project}-lake"))["NetworkSettings"]["Networks"].clone();
            networks[format!("{project}-core")]["IPAddress"].as_str().unwrap().to_owned()
        } else {
            "127.0.0.1".to_owned()
        };
        let token = fs::read_to_string(self.secret("token")).unwrap();
        let header = self.product.folder("ask").join("lake");
        fs::write(&header, format!("authorization: Bearer {}", token.trim())).unwrap();
        let url = format!("http://{host}:{}/v1/interactions", self.base + base::Role::Lake.port_offset());
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-H", &format!("@{}", header.display()), &url]);
        let all = Run::of(curl.output().unwrap()).expect(0).json();
        all["value"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One question after the other.
fn load(base: u16, header: &std::path::Path, stop: &AtomicBool, asked: &Mutex<Asked>) {
    let mut away: Option<Instant> = None;
    for question in QUESTIONS.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let begun = Instant::now();
        let answer = ask(base, header, question);
        let mut asked = asked.lock().unwrap();
        let Some(answer) = answer else {
            asked.errors += 1;
            away.get_or_insert(begun);
            drop(asked);
            std::thread::sleep(Duration::from_millis(500));
            continue;
        };
        if let Some(since) = away.take() {
            asked.away += since.elapsed();
            asked.longest_away = asked.longest_away.max(since.elapsed());
        }
        match answer["interaction_id"].as_str() {
            Some(id) => asked.accepted.push(id.to_owned()),
            None => asked.without_number += 1,
        }
    }
}

/// What the gateway says about an answer; nothing when it gave none.
fn ask(base: u16, header: &std::path::Path, question: &str) -> Option<Value> {
    let body = serde_json::json!({"model": "brain", "messages": [{"role": "user", "content": question}]});
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail", "--max-time", "60", "-H", "content-type: application/json", "-H"]);
    curl.arg(format!("@{}", header.display())).args(["-d", &body.to_string()]);
    let output =
        curl.arg(format!("http://127.0.0.1:{base}/v1/chat/completions")).stderr(Stdio::null()).output().ok()?;
    let answer: Value = serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())?;
    answer.get("brain").or(answer.get("x_0711")).cloned()
}

/// As an administrator does it, or a package's update.
pub fn restart_engine() {
    if Command::new("systemctl").args(["restart", "docker"]).output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let pids = Run::of(Command::new("pidof").arg("dockerd").output().unwrap()).out;
    for pid in pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let started = Instant::now();
    while Command::new("pidof").arg("dockerd").output().is_ok_and(|output| output.status.success()) {
        assert!(started.elapsed() < Duration::from_secs(60), "the engine does not end");
        std::thread::sleep(Duration::from_millis(200));
    }
    let log = File::options().append(true).create(true).open("/var/log/dockerd.log").unwrap();
    let mut engine = Command::new("setsid");
    engine.args(["--fork", "dockerd"]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    assert!(engine.status().unwrap().success());
    while !docker::engine_is_here() {
        assert!(started.elapsed() < Duration::from_secs(120), "the engine does not come back");
        std::thread::sleep(Duration::from_millis(500));
    }
}
