use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::config::ServiceConfig;
use base::{API_OFFSET, Clock, CustomerLayout, Digest, Layout, Role, Slug};

use crate::identity::command_line;
use crate::record::Ran;
use crate::{Ended, Error, Identity, Observation, RoleRecord, process};

/// The roles of one customer, as processes.
#[derive(Debug)]
pub struct Native {
    root: Option<PathBuf>,
    binary: PathBuf,
    layout: CustomerLayout,
    config: ServiceConfig,
    config_digest: Digest,
    clock: Clock,
    /// Processes this one started: they must be waited for, and tell how they ended.
    children: Mutex<BTreeMap<Role, Child>>,
}

impl Native {
    pub(crate) fn new(
        layout: &Layout,
        customer: CustomerLayout,
        config: ServiceConfig,
        config_digest: Digest,
        clock: Clock,
    ) -> Self {
        let binary = layout.binary();
        Self {
            root: layout.root().map(Path::to_owned),
            binary: binary.canonicalize().unwrap_or(binary),
            layout: customer,
            config,
            config_digest,
            clock,
            children: Mutex::default(),
        }
    }

    /// Takes over the children of an older value for the same customer, whose configuration has changed.
    pub(crate) fn inherit(&self, older: &Self) {
        self.children().append(&mut older.children());
    }

    /// Returns the configuration the roles are started with.
    pub(crate) fn config(&self) -> &ServiceConfig {
        &self.config
    }

    /// Returns whether a running role has the binary and the configuration that are in place now.
    pub(crate) fn is_current(&self, record: &RoleRecord) -> bool {
        record.binary == self.binary && record.config == self.config_digest
    }

    /// Looks where a role should be. Says `Ended` once for each end.
    pub(crate) fn observe(&self, role: Role) -> Observation {
        if let Some(how) = self.reap(role) {
            self.forget(role);
            return Observation::Ended { how };
        }
        RoleRecord::observe(&self.layout.role_record(role))
    }

    /// Starts a role, or adopts the process that already does its work.
    ///
    /// # Errors
    /// [`Error::PortHeld`] when another program has its port, [`Error::Start`], [`Error::Record`].
    pub(crate) fn start(&self, role: Role) -> Result<RoleRecord, Error> {
        if let Observation::Running(record) = self.observe(role) {
            return Ok(record);
        }
        let port = self.config.port(role);
        if let Some(listener) = host::port_holder(port) {
            // A starter that died between starting and recording leaves a role without a record.
            let Some(identity) = listener.pid.filter(|pid| self.is_our_role(role, *pid)).and_then(Identity::of) else {
                return Err(Error::PortHeld { role, port, holder: listener.holder });
            };
            // Nobody knows what configuration it read: it counts as outdated.
            return self.record(role, identity, None);
        }
        let start = |source| Error::Start { role, source };
        let mut child = process::spawn(&self.binary, &self.arguments(role), &self.layout.log(role)).map_err(start)?;
        let Some(identity) = Identity::of(child.id()) else {
            let how = child.wait().map(describe).map_err(start)?;
            return Err(start(std::io::Error::other(format!("it ended at once: {how}"))));
        };
        self.children().insert(role, child);
        self.record(role, identity, Some((&self.binary, self.config_digest)))
    }

    /// Stops a role: SIGTERM, and SIGKILL after `patience`.
    pub(crate) async fn stop(&self, role: Role, patience: Duration) -> Result<Ended, Error> {
        let ended = match self.find(role) {
            Some(identity) => {
                let stopped = process::stop(&identity, patience).await;
                stopped.map_err(|source| Error::Stop { role, pid: identity.pid, source })?
            }
            None => Ended::Gone,
        };
        if ended != Ended::Gone {
            self.reap(role);
        }
        self.forget(role);
        Ok(ended)
    }

    fn arguments(&self, role: Role) -> Vec<String> {
        let mut arguments = vec!["serve".to_owned(), role.name().to_owned()];
        if let Some(root) = &self.root {
            arguments.extend(["--root".to_owned(), root.display().to_string()]);
        }
        arguments.extend(["--customer".to_owned(), self.config.slug.to_string()]);
        arguments
    }

    /// `ran` is the binary and the configuration the process was started with, where that is known.
    fn record(&self, role: Role, identity: Identity, ran: Option<(&Path, Digest)>) -> Result<RoleRecord, Error> {
        let (binary, config) = ran.unwrap_or((Path::new(""), Digest::of(b"")));
        // A process without a command line is gone, and nobody will take its record for another's.
        let command = command_line(identity.pid).unwrap_or_else(|| vec![String::new()]);
        let ran = Ran { program: binary.to_owned(), config, command };
        RoleRecord::put(self.layout.role_record(role), role, identity, self.config.port(role), ran, self.clock.now())
    }

    /// Returns the process of a role, by its record or, without one, by its port.
    fn find(&self, role: Role) -> Option<Identity> {
        let recorded = RoleRecord::read(&self.layout.role_record(role)).filter(RoleRecord::is_alive);
        recorded.map(|record| record.identity).or_else(|| {
            let pid = host::port_holder(self.config.port(role))?.pid?;
            if self.is_our_role(role, pid) { Identity::of(pid) } else { None }
        })
    }

    /// Any version of the binary, with exactly these arguments.
    fn is_our_role(&self, role: Role, pid: u32) -> bool {
        command_line(pid).is_some_and(|command| command.get(1..) == Some(&self.arguments(role)))
    }

    fn reap(&self, role: Role) -> Option<String> {
        let mut children = self.children();
        let status = children.get_mut(&role)?.try_wait().ok()??;
        children.remove(&role);
        Some(describe(status))
    }

    fn forget(&self, role: Role) {
        // A record that stays names a dead process, which the next look finds out.
        let _ = std::fs::remove_file(self.layout.role_record(role));
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<Role, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Returns the ports that running roles of `slug` hold: they are no obstacle to a plan for the same customer.
pub fn own_ports(layout: &Layout, slug: &Slug) -> BTreeSet<u16> {
    let customer = layout.customer(slug);
    let records =
        Role::ALL.iter().filter_map(|role| RoleRecord::read(&customer.role_record(*role))).filter(RoleRecord::is_alive);
    records
        .flat_map(|record| {
            let api = (record.role == Role::Console).then(|| record.port - Role::Console.port_offset() + API_OFFSET);
            [Some(record.port), api]
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use base::config::{FORMAT, ModelRef};

    use super::*;

    /// An installation whose binary is a shell script that sleeps, or does what `script` says.
    fn installed(script: &str, port_base: u16) -> (tempfile::TempDir, Layout, Slug) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let slug = Slug::parse("eaton").unwrap();
        let customer = layout.customer(&slug);
        let model = ModelRef { name: "m".into(), digest: Digest::of(b"m"), path: "/m".into() };
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
        for folder in [customer.deployment(), customer.run_dir(), layout.bin_dir()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(customer.config(), serde_yaml::to_string(&config).unwrap()).unwrap();
        std::fs::write(layout.binary(), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(layout.binary(), std::fs::Permissions::from_mode(0o755)).unwrap();
        (dir, layout, slug)
    }

    /// A block of ports nobody uses just now.
    fn free_base() -> u16 {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port().min(65_000)
    }

    fn native(layout: &Layout, slug: &Slug) -> Native {
        match crate::Runtime::open(layout, slug, Clock::system()).unwrap() {
            crate::Runtime::Native(native) => native,
            crate::Runtime::Docker(_) => panic!("the configuration names no containers"),
        }
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_role_outlives_its_starter_and_is_adopted() {
        let (_dir, layout, slug) = installed("exec sleep 100", free_base());
        let first = native(&layout, &slug);
        let started = first.start(Role::Lake).unwrap();
        // `exec` in the script changes the command line, as a re-executed binary would: wait until it has settled.
        let settled = async {
            while command_line(started.identity.pid).is_none_or(|line| line[0] != "sleep") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.unwrap();
        let record = first.record(Role::Lake, started.identity.clone(), None).unwrap();
        assert_eq!(own_ports(&layout, &slug), [record.port].into());
        let second = native(&layout, &slug);
        assert_eq!(second.observe(Role::Lake), Observation::Running(record.clone()));
        assert_eq!(second.start(Role::Lake).unwrap().identity, record.identity, "adopted, not started again");
        assert_eq!(second.stop(Role::Lake, PATIENCE).await.unwrap(), Ended::Asked);
        assert_eq!(second.observe(Role::Lake), Observation::Absent);
        assert_eq!(own_ports(&layout, &slug), BTreeSet::new());
        assert!(matches!(first.observe(Role::Lake), Observation::Ended { how } if how == "signal 15"));
    }

    #[tokio::test]
    async fn an_end_is_told_once_and_says_how() {
        let (_dir, layout, slug) = installed("exit 3", free_base());
        let native = native(&layout, &slug);
        // It may end before it was looked at for the first time; both ways say how.
        let seen = match native.start(Role::Llm) {
            Err(error) => std::error::Error::source(&error).unwrap().to_string(),
            Ok(_) => {
                let ended = async {
                    loop {
                        match native.observe(Role::Llm) {
                            Observation::Ended { how } => break how,
                            _ => tokio::time::sleep(Duration::from_millis(5)).await,
                        }
                    }
                };
                tokio::time::timeout(PATIENCE, ended).await.unwrap()
            }
        };
        assert!(seen.ends_with("exit code 3"), "{seen}");
        assert_eq!(native.observe(Role::Llm), Observation::Absent);
    }

    #[tokio::test]
    async fn a_port_held_by_another_program_is_not_fought_over() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let (_dir, layout, slug) = installed("exec sleep 100", port - Role::Embed.port_offset());
        let native = native(&layout, &slug);
        let error = native.start(Role::Embed).unwrap_err();
        let expect = format!("(pid {})", std::process::id());
        assert!(matches!(&error, Error::PortHeld { holder, .. } if holder.ends_with(&expect)), "{error}");
        assert_eq!(native.stop(Role::Embed, PATIENCE).await.unwrap(), Ended::Gone, "a stranger is not stopped");
    }

    #[test]
    fn a_record_of_another_process_is_not_believed() {
        let (_dir, layout, slug) = installed("exec sleep 100", free_base());
        let native = native(&layout, &slug);
        let record = RoleRecord {
            format: 1,
            role: Role::Lake,
            identity: Identity::of(std::process::id()).unwrap(),
            command: vec!["0711".into(), "serve".into(), "lake".into()],
            port: 1,
            binary: "/x".into(),
            config: Digest::of(b""),
            started: Clock::system().now(),
        };
        record.write(&layout.customer(&slug).role_record(Role::Lake)).unwrap();
        assert!(matches!(native.observe(Role::Lake), Observation::Ended { .. }));
    }

    #[test]
    fn a_changed_configuration_makes_a_role_outdated() {
        let (_dir, layout, slug) = installed("exec sleep 100", free_base());
        let before = native(&layout, &slug);
        let identity = Identity::of(std::process::id()).unwrap();
        let record = before.record(Role::Lake, identity.clone(), Some((&before.binary, before.config_digest))).unwrap();
        assert!(
            !before.is_current(&before.record(Role::Lake, identity, None).unwrap()),
            "what nobody knows counts as outdated"
        );
        assert!(before.is_current(&record));
        let path = layout.customer(&slug).config();
        let text = std::fs::read_to_string(&path).unwrap().replace("threads: 1", "threads: 2");
        std::fs::write(&path, text).unwrap();
        assert!(!native(&layout, &slug).is_current(&record));
    }
}
