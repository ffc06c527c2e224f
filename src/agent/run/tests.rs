//! The agent with real processes: each role is a shell that keeps this test program serving `/health` as its child.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};

use base::config::{FORMAT, ModelRef, ServiceConfig};
use base::{API_OFFSET, Digest, Role, Slug};
use install::control::{Client, Command, CustomerStatus, DiskStage, Status, WorkVerdict};
use stack::RoleState;
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Not a test: what a role of the tests runs. It is told its ports, and where its moods stand, on its command line, as filters that
/// match no test.
#[test]
fn role_stub() {
    let argument = |name: &str| std::env::args().find_map(|argument| Some(argument.strip_prefix(name)?.to_owned()));
    let (Some(ports), Some(moods)) = (argument("stub-ports-"), argument("stub-moods-")) else { return };
    let listen = |port: &str| std::net::TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    let mood = Path::new(&moods).join(ports.split(',').next().unwrap());
    std::thread::scope(|scope| {
        for listener in ports.split(',').map(listen) {
            let mood = &mood;
            scope.spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap(), mood)));
        }
    });
}

/// Does every small job, unless the file `mood` is there: then it answers, and does none.
fn answer(mut stream: std::net::TcpStream, mood: &Path) {
    use std::io::{Read, Write};
    let mut asked = [0; 4096];
    let length = stream.read(&mut asked).unwrap_or(0);
    let asked = String::from_utf8_lossy(&asked[..length]);
    let vector = format!(r#"{{"data":[{{"embedding":[1.0{}]}}]}}"#, ",0.0".repeat(383));
    let (status, body) = match asked.split(' ').nth(1).unwrap_or_default() {
        "/v1/pulse" => (200, r#"{"format":1,"moved":0,"running":0}"#),
        "/v1/canary" | "/v1/completions" | "/v1/embeddings" if mood.exists() => (500, r#"{"error":"out of sorts"}"#),
        "/v1/canary" => (200, r#"{"format":1,"found":{"dimension":"2"}}"#),
        "/v1/completions" => (200, r#"{"choices":[{"finish_reason":"length"}]}"#),
        "/v1/embeddings" => (200, vector.as_str()),
        "/v1/stats" => (200, r#"{"value":{"documents":3}}"#),
        "/login" => (200, "<form>"),
        _ => (200, "{}"),
    };
    // A client that has gone needs no answer.
    let _ = write!(stream, "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
}

struct Installation {
    _dir: tempfile::TempDir,
    layout: Layout,
    slug: Slug,
}

/// A block whose ports are all free just now. Tests run side by side: each call begins elsewhere.
fn free_base() -> u16 {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let offsets: Vec<u16> = Role::ALL.iter().map(|role| role.port_offset()).chain([API_OFFSET]).collect();
    let seed = u16::try_from(std::process::id() % 97).unwrap() + 25 * CALLS.fetch_add(1, Ordering::Relaxed);
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..200_u16)
        .map(|step| 12_000 + 100 * ((seed + step) % 200))
        .find(|base| offsets.iter().all(|offset| is_free(base + offset)))
        .unwrap()
}

fn installation() -> Installation {
    installation_in(tempfile::tempdir().unwrap())
}

fn installation_in(dir: tempfile::TempDir) -> Installation {
    let layout = Layout::rooted(dir.path());
    let slug = Slug::parse("eaton").unwrap();
    let customer = layout.customer(&slug);
    let model = ModelRef { name: "m".into(), digest: Digest::of(b"m"), path: "/m".into() };
    let port_base = free_base();
    let config = ServiceConfig {
        format: FORMAT,
        customer_name: "Eaton".into(),
        slug: slug.clone(),
        bind: [127, 0, 0, 1].into(),
        port_base,
        folders: vec![],
        chat_model: model.clone(),
        embed_model: model,
        max_documents: 1,
        training_minutes: 0,
        threads: 1,
        console_hosts: vec![],
        permissions: Default::default(),
        containers: None,
    };
    for folder in [customer.secrets(), layout.bin_dir(), layout.etc()] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(customer.config(), serde_yaml::to_string(&config).unwrap()).unwrap();
    let slots = format!("{{\"format\":1,\"slots\":{{\"eaton\":{{\"port_base\":{port_base}}}}}}}");
    std::fs::write(layout.slots_file(), slots).unwrap();
    let program = std::env::current_exe().unwrap();
    let ports = |role: Role| match role {
        Role::Console => format!("{},{}", config.port(role), config.api_port()),
        _ => config.port(role).to_string(),
    };
    let ports: String = Role::ALL.iter().map(|role| format!("{role}) ports={};; ", ports(*role))).collect();
    base::Secret::generate().unwrap().write(&customer.token()).unwrap();
    // The stub's filters: its own name, and two that match no test.
    let script = format!(
        "#!/bin/sh\ntrap 'kill $child; exit 0' TERM\ncase $2 in {ports} esac\n'{}' run::tests::role_stub stub-ports-$ports stub-moods-{} --nocapture &\nchild=$!\nwait $child\n",
        program.display(),
        layout.root().unwrap().display()
    );
    std::fs::write(layout.binary(), script).unwrap();
    std::fs::set_permissions(layout.binary(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Installation { _dir: dir, layout, slug }
}

impl Installation {
    fn agent(&self) -> (JoinHandle<Result<(), Error>>, CancellationToken) {
        let shutdown = CancellationToken::new();
        (tokio::spawn(run(self.layout.clone(), Notify::default(), shutdown.clone())), shutdown)
    }

    /// One whose clock is ahead by what stands in `ahead_ms`.
    fn agent_by(&self, ahead_ms: &'static AtomicI64) -> (JoinHandle<Result<(), Error>>, CancellationToken) {
        let (shutdown, clock) = (CancellationToken::new(), Clock::moved(ahead_ms));
        (tokio::spawn(run_by(clock, self.layout.clone(), Notify::default(), shutdown.clone())), shutdown)
    }

    async fn until(&self, what: &str, holds: impl Fn(&CustomerStatus) -> bool) -> CustomerStatus {
        let client = Client::new(&self.layout);
        let begun = Instant::now();
        loop {
            let status = client.status().await;
            if let Ok(Status { customers, .. }) = &status
                && let Some(customer) = customers.iter().find(|customer| customer.slug == self.slug && holds(customer))
            {
                return customer.clone();
            }
            let logs = Role::ALL
                .map(|role| std::fs::read_to_string(self.layout.customer(&self.slug).log(role)).unwrap_or_default());
            let past = client.events(0).await;
            assert!(begun.elapsed() < PATIENCE, "not {what}: {status:#?}\n{past:#?}\n{logs:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn end(&self) {
        let command = Command::default();
        let status = Client::new(&self.layout).stop(&command).await.unwrap();
        assert!(status.customers.iter().all(|customer| all(customer, &RoleState::Stopped)), "{status:#?}");
    }
}

fn all(customer: &CustomerStatus, state: &RoleState) -> bool {
    customer.roles.len() == 6 && customer.roles.iter().all(|role| role.state == *state)
}

fn pids(customer: &CustomerStatus) -> BTreeMap<Role, Option<u32>> {
    customer.roles.iter().map(|role| (role.role, role.pid)).collect()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn roles_are_started_healed_left_running_adopted_and_stopped() {
    let installation = installation();
    let (agent, shutdown) = installation.agent();
    let first = installation.until("all ready", |customer| all(customer, &RoleState::Ready)).await;
    assert!(first.roles.iter().all(|role| role.is_current && role.restarts == 0 && role.resident_bytes.is_some()));

    kill(pids(&first)[&Role::Lake].unwrap());
    let healed = installation
        .until("healed", |customer| {
            all(customer, &RoleState::Ready) && pids(customer)[&Role::Lake] != pids(&first)[&Role::Lake]
        })
        .await;
    let lake = healed.roles.iter().find(|role| role.role == Role::Lake).unwrap();
    assert_eq!((lake.restarts, lake.last_error.as_deref()), (1, Some("signal 9")));
    let events = Client::new(&installation.layout).events(0).await.unwrap();
    assert!(
        events.iter().any(|event| event.role == Some(Role::Lake) && event.message.contains("signal 9")),
        "{events:#?}"
    );

    shutdown.cancel();
    agent.await.unwrap().unwrap();
    assert!(Client::new(&installation.layout).status().await.is_err());
    let (agent, shutdown) = installation.agent();
    let adopted = installation.until("adopted", |customer| all(customer, &RoleState::Ready)).await;
    assert_eq!(pids(&adopted), pids(&healed), "adopted, not started again");

    installation.end().await;
    shutdown.cancel();
    agent.await.unwrap().unwrap();
    let (agent, shutdown) = installation.agent();
    let stopped = installation.until("known", |customer| customer.roles.len() == 6).await;
    assert!(
        all(&stopped, &RoleState::Stopped) && !stopped.is_wanted,
        "a stop holds until somebody starts: {stopped:#?}"
    );

    Client::new(&installation.layout).start(&Command::default()).await.unwrap();
    installation.until("ready again", |customer| all(customer, &RoleState::Ready)).await;
    let one = Command { role: Some(Role::Embed), customer: None };
    Client::new(&installation.layout).stop(&one).await.unwrap();
    let without = installation.until("one stopped", |customer| customer.roles[0].state == RoleState::Stopped).await;
    assert!(without.roles[1..].iter().all(|role| role.state == RoleState::Ready));
    installation.end().await;
    shutdown.cancel();
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_crash_loop_ends_with_a_person_and_a_start_gives_another_chance() {
    let installation = installation();
    let working = std::fs::read_to_string(installation.layout.binary()).unwrap();
    std::fs::write(
        installation.layout.binary(),
        "#!/bin/sh\n[ $2 = embed ] && exit 7\ntrap 'kill $!; exit 0' TERM\nsleep 100 &\nwait\n",
    )
    .unwrap();
    let (agent, shutdown) = installation.agent();
    let given_up = |customer: &CustomerStatus| matches!(&customer.roles.first().unwrap().state, RoleState::NeedsAPerson { reason } if reason.contains("exit code 7"));
    installation.until("given up", given_up).await;
    std::fs::write(installation.layout.binary(), working).unwrap();
    let command = Command { customer: Some(installation.slug.clone()), role: Some(Role::Embed) };
    Client::new(&installation.layout).start(&command).await.unwrap();
    installation.until("healed", |customer| customer.roles[0].state == RoleState::Ready).await;
    let stranger = Command { customer: Some(Slug::parse("nobody").unwrap()), role: None };
    assert!(
        Client::new(&installation.layout)
            .start(&stranger)
            .await
            .unwrap_err()
            .to_string()
            .contains("no customer `nobody`")
    );
    installation.end().await;
    shutdown.cancel();
    agent.await.unwrap().unwrap();

    let customer = audit::Log::customer(&installation.layout.customer(&installation.slug));
    let said = |log: &audit::Log| {
        let records = audit::read(log, None).unwrap().records;
        let one = |kept: audit::Kept| {
            let me = rustix::process::geteuid().as_raw();
            assert!(matches!(kept.record.who, audit::Who::User { uid, .. } if uid == me), "{kept:?}");
            format!("{} {} {}", kept.record.act.name(), kept.record.object, kept.record.outcome.name())
        };
        records.into_iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(said(&customer), ["start role embed begun"]);
    let host = audit::Log::host(&installation.layout);
    let refused = "start all roles of `nobody`, who is not here refused";
    assert_eq!(said(&host), [refused, "stop all roles of every customer begun"]);
}

/// A battery that is empty, a time server that is wrong and put right: what goes by passing time goes on, and no role is given up.
#[tokio::test]
async fn a_clock_that_jumps_keeps_no_role_down() {
    static AHEAD_MS: AtomicI64 = AtomicI64::new(0);
    const DAY_MS: i64 = 86_400_000;
    let installation = installation();
    let (agent, shutdown) = installation.agent_by(&AHEAD_MS);
    let mut before = installation.until("all ready", |customer| all(customer, &RoleState::Ready)).await;
    let jumps = [(-10_000, Role::Lake), (3_650, Role::Embed), (0, Role::Llm), (-1, Role::Console), (1, Role::Trainer)];
    for (days, role) in jumps {
        // Dead at one time, to be started again at another.
        kill(pids(&before)[&role].unwrap());
        AHEAD_MS.store(days * DAY_MS, Ordering::Relaxed);
        let healed = installation
            .until(&format!("healed {days} days away"), |customer| {
                all(customer, &RoleState::Ready) && pids(customer)[&role] != pids(&before)[&role]
            })
            .await;
        let others = |customer: &CustomerStatus| {
            let mut pids = pids(customer);
            pids.remove(&role);
            pids
        };
        assert_eq!(others(&healed), others(&before), "another role was touched, {days} days away");
        before = healed;
    }
    assert!(before.roles.iter().all(|role| role.restarts <= 1), "{before:#?}");
    installation.end().await;
    shutdown.cancel();
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_agent_per_installation() {
    let installation = installation();
    std::fs::remove_file(installation.layout.slots_file()).unwrap();
    let (first, shutdown) = installation.agent();
    let wait = async {
        while Client::new(&installation.layout).status().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    let (second, impatient) = installation.agent();
    impatient.cancel();
    assert!(matches!(second.await.unwrap(), Err(Error::AlreadyRuns { holder }) if holder.contains("agent run")));
    Client::new(&installation.layout).status().await.unwrap();
    shutdown.cancel();
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_role_that_answers_and_does_not_work_is_started_anew() {
    let installation = installation();
    std::fs::write(installation.layout.agent_config(), "format: 1\nprobe_seconds: 1\n").unwrap();
    let verdict = |customer: &CustomerStatus, role: Role| {
        let found = customer.roles.iter().find(|found| found.role == role)?;
        found.work.as_ref().map(|work| work.verdict)
    };
    let (agent, shutdown) = installation.agent();
    let all_work =
        |customer: &CustomerStatus| Role::ALL.iter().all(|role| verdict(customer, *role) == Some(WorkVerdict::Good));
    let first = installation.until("all at work", all_work).await;
    let port = first.roles.iter().find(|role| role.role == Role::Lake).unwrap().port;
    let mood = installation.layout.root().unwrap().join(port.to_string());
    std::fs::write(&mood, "").unwrap();
    let renewed = installation
        .until("renewed", |customer| {
            let pid = pids(customer)[&Role::Lake];
            pid.is_some() && pid != pids(&first)[&Role::Lake]
        })
        .await;
    let lake = renewed.roles.iter().find(|role| role.role == Role::Lake).unwrap();
    assert!(lake.last_error.as_ref().unwrap().contains("out of sorts"), "{lake:?}");
    let others = |customer: &CustomerStatus| {
        let mut pids = pids(customer);
        pids.remove(&Role::Lake);
        pids
    };
    assert_eq!(others(&renewed), others(&first), "nobody else was touched");
    std::fs::remove_file(&mood).unwrap();
    installation.until("at work again", |customer| all_work(customer) && all(customer, &RoleState::Ready)).await;
    let metrics = stack::http::Ask::new("GET", "/v1/metrics");
    let endpoint = stack::http::Endpoint::Unix(installation.layout.agent_socket());
    let text = stack::http::call(&endpoint, metrics).await.unwrap().body;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("zero711_role_restarts_total{customer=\"eaton\",role=\"lake\"} 1"), "{text}");
    let kept = install::control::past_probes(&installation.layout.customer(&installation.slug));
    assert!(kept.iter().any(|line| line.role == Role::Lake && line.verdict == WorkVerdict::Failing), "{kept:?}");
    installation.end().await;
    shutdown.cancel();
    agent.await.unwrap().unwrap();
}

/// A file system in memory, mounted over a folder until it is dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// None where this user may not mount.
    fn mount(at: &Path) -> Option<Self> {
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "none"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    /// Fills it up to so many free bytes.
    fn leave(&self, free_bytes: u64) {
        let file = self.0.join("ballast");
        let _ = std::fs::remove_file(&file);
        let (_, room) = crate::look::room("", &self.0).unwrap();
        std::fs::write(&file, vec![1; usize::try_from(room.free_bytes - free_bytes).unwrap()]).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_stops_what_fills_it_and_lets_it_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        println!("not run: this user may not mount a file system");
        return;
    };
    let installation = installation_in(dir);
    std::fs::write(installation.layout.agent_config(), "format: 1\nprobe_seconds: 1\n").unwrap();
    let (agent, shutdown) = installation.agent();
    let is_at = |customer: &CustomerStatus, stage| customer.disk.as_ref().is_some_and(|disk| disk.stage == stage);
    let resting = |customer: &CustomerStatus| {
        let held = customer.roles.iter().filter(|role| role.held.is_some() && role.state == RoleState::Stopped);
        held.map(|role| role.role).collect::<Vec<_>>()
    };
    installation.until("all ready", |customer| all(customer, &RoleState::Ready)).await;
    disk.leave(5 << 20);
    installation.until("told", |customer| is_at(customer, DiskStage::Warn) && all(customer, &RoleState::Ready)).await;
    disk.leave(2 << 20);
    let held = installation.until("resting", |customer| resting(customer) == [Role::Ingest, Role::Trainer]).await;
    assert!(is_at(&held, DiskStage::Hold), "{held:#?}");
    disk.leave(1 << 20);
    installation.until("protected", |customer| is_at(customer, DiskStage::Protect)).await;
    let told = || install::control::past_events(&installation.layout);
    let begun = Instant::now();
    while !told().iter().any(|event| event.role == Some(Role::Lake) && event.message.contains("are protected")) {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answers = |customer: &CustomerStatus| {
        let rest = [Role::Ingest, Role::Trainer];
        customer.roles.iter().filter(|role| !rest.contains(&role.role)).all(|role| role.state == RoleState::Ready)
    };
    installation.until("still answering", answers).await;
    std::fs::remove_file(disk.0.join("ballast")).unwrap();
    installation.until("back at work", |customer| all(customer, &RoleState::Ready)).await;
    installation.end().await;
    shutdown.cancel();
    agent.await.unwrap().unwrap();
    // Before the folder it lies on is removed.
    drop(disk);
}
