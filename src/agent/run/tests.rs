//! The agent with real processes: each role is a shell that keeps this test program serving `/health` as its child.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU16, Ordering};

use base::config::{FORMAT, ModelRef, ServiceConfig};
use base::{API_OFFSET, Digest, Role, Slug};
use install::control::{Client, Command, CustomerStatus, Status};
use stack::RoleState;
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Not a test: what a role of the tests runs. It is told its port on its command line, as a filter that matches nothing.
#[test]
fn role_stub() {
    let Some(port) = std::env::args().find_map(|argument| argument.strip_prefix("stub-port-")?.parse::<u16>().ok())
    else {
        return;
    };
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for stream in listener.incoming() {
        use std::io::{Read, Write};
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    }
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
    let dir = tempfile::tempdir().unwrap();
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
        containers: None,
    };
    for folder in [customer.deployment(), layout.bin_dir(), layout.etc()] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(customer.config(), serde_yaml::to_string(&config).unwrap()).unwrap();
    let slots = format!("{{\"format\":1,\"slots\":{{\"eaton\":{{\"port_base\":{port_base}}}}}}}");
    std::fs::write(layout.slots_file(), slots).unwrap();
    let program = std::env::current_exe().unwrap();
    let ports: String = Role::ALL.iter().map(|role| format!("{role}) port={};; ", config.port(*role))).collect();
    // The stub's filters: its own name, and the port as a second filter that matches no test.
    let script = format!(
        "#!/bin/sh\ntrap 'kill $child; exit 0' TERM\ncase $2 in {ports} esac\n'{}' run::tests::role_stub stub-port-$port --nocapture &\nchild=$!\nwait $child\n",
        program.display()
    );
    std::fs::write(layout.binary(), script).unwrap();
    std::fs::set_permissions(layout.binary(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Installation { _dir: dir, layout, slug }
}

impl Installation {
    fn agent(&self) -> (JoinHandle<Result<(), Error>>, CancellationToken) {
        let shutdown = CancellationToken::new();
        (tokio::spawn(run(self.layout.clone(), shutdown.clone())), shutdown)
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
    assert!(events.iter().any(|event| event.role == Role::Lake && event.message.contains("signal 9")), "{events:#?}");

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
