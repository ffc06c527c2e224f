use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{Digest, Role, Slug};

/// Every path of an installation. With a root folder all of them lie below it and no root rights are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: Option<PathBuf>,
}

/// The paths of one customer: one owner, one unit of backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerLayout {
    dir: PathBuf,
    run: PathBuf,
    etc: PathBuf,
    slug: Slug,
}

impl Layout {
    /// The machine's own installation: `/opt/0711`, `/etc/0711`, `/run/0711`, `/var/lib/0711`.
    pub const fn system() -> Self {
        Self { root: None }
    }

    /// An installation below one folder. A relative path is taken from the current folder.
    pub fn rooted(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        // `absolute` keeps `..`; a canonical path, where the folder exists, makes two spellings one installation.
        Self { root: Some(absolute.canonicalize().unwrap_or(absolute)) }
    }

    /// Returns the root folder, if this is not the machine's own installation.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    fn place(&self, below_root: &str, system: &str) -> PathBuf {
        match &self.root {
            Some(root) => root.join(below_root),
            None => PathBuf::from(system),
        }
    }

    /// Configuration, license, trusted release keys.
    pub fn etc(&self) -> PathBuf {
        self.place("etc", "/etc/0711")
    }

    /// What lives only as long as the machine runs: sockets, locks, pid records.
    pub fn run(&self) -> PathBuf {
        self.place("run", "/run/0711")
    }

    /// The data.
    pub fn var(&self) -> PathBuf {
        self.place("var", "/var/lib/0711")
    }

    /// The installed versions of the binary.
    pub fn bin_dir(&self) -> PathBuf {
        self.place("bin", "/opt/0711/bin")
    }

    /// The binary that runs: a link to one of the installed versions.
    pub fn binary(&self) -> PathBuf {
        self.bin_dir().join("0711")
    }

    /// Where `version` of the binary with this digest is kept beside the others.
    pub fn binary_version(&self, version: &str, digest: &Digest) -> PathBuf {
        self.bin_dir().join("versions").join(format!("{version}-{}", digest.short())).join("0711")
    }

    /// Release roots an administrator added. License roots are never read from here.
    pub fn trust_dir(&self) -> PathBuf {
        self.etc().join("trust.d")
    }

    /// What was seen of release metadata, one folder per root of trust: nothing older is taken after it.
    pub fn release_seen(&self) -> PathBuf {
        self.var().join("release-seen")
    }

    /// Which customer has which block of ports.
    pub fn slots_file(&self) -> PathBuf {
        self.etc().join("slots.json")
    }

    /// What the administrator wants of updates.
    pub fn update_settings(&self) -> PathBuf {
        self.etc().join("update.yaml")
    }

    /// What updates keep.
    pub fn update(&self) -> PathBuf {
        self.var().join("update")
    }

    /// How far an update is, and what is held.
    pub fn update_state(&self) -> PathBuf {
        self.update().join("state.json")
    }

    /// How earlier updates ended.
    pub fn update_history(&self) -> PathBuf {
        self.update().join("history.jsonl")
    }

    /// Held by the one process that carries out an update.
    pub fn update_lock(&self) -> PathBuf {
        self.update().join("update.lock")
    }

    /// Fetched bundles.
    pub fn update_staging(&self) -> PathBuf {
        self.update().join("staging")
    }

    /// The programs of releases that are to be installed, until they are.
    pub fn update_programs(&self) -> PathBuf {
        self.update().join("programs")
    }

    /// The scratch installation in which a release is rehearsed.
    pub fn update_rehearsal(&self) -> PathBuf {
        self.update().join("rehearsal")
    }

    /// The log of updates the agent starts.
    pub fn update_log(&self) -> PathBuf {
        self.agent_log_dir().join("update.log")
    }

    /// The agent's control socket.
    pub fn agent_socket(&self) -> PathBuf {
        self.run().join("agent.sock")
    }

    /// One agent runs per installation: its lock.
    pub fn agent_lock(&self) -> PathBuf {
        self.run().join("agent.lock")
    }

    /// The systemd unit that keeps the machine's own agent running. There is none below a root folder.
    pub fn agent_unit(&self) -> Option<PathBuf> {
        match &self.root {
            Some(_) => None,
            None => Some(PathBuf::from("/etc/systemd/system/0711-agent.service")),
        }
    }

    /// The systemd unit that carries out an update of the machine's own installation.
    pub fn update_unit(&self) -> Option<PathBuf> {
        self.agent_unit().map(|unit| unit.with_file_name("0711-update.service"))
    }

    /// Held while the table of slots is changed.
    pub fn slots_lock(&self) -> PathBuf {
        self.etc().join("slots.lock")
    }

    /// Which images were loaded into the engine for this installation.
    pub fn loaded_images(&self) -> PathBuf {
        self.var().join("images.json")
    }

    /// Held while that is changed.
    pub fn loaded_images_lock(&self) -> PathBuf {
        self.run().join("images.lock")
    }

    /// The agent's pid record.
    pub fn agent_record(&self) -> PathBuf {
        self.run().join("agent.json")
    }

    /// What the agent keeps: its log, what happened, and how the host was when all was well.
    pub fn agent_dir(&self) -> PathBuf {
        self.var().join("agent")
    }

    /// What happened, newest last; an older part stands beside it with `.1`.
    pub fn agent_events(&self) -> PathBuf {
        self.agent_dir().join("events.jsonl")
    }

    /// How the host was when every role was last well.
    pub fn agent_fingerprint(&self) -> PathBuf {
        self.agent_dir().join("fingerprint.json")
    }

    /// What an administrator may set about the agent. Optional.
    pub fn agent_config(&self) -> PathBuf {
        self.etc().join("agent.yaml")
    }

    /// The agent's log files.
    pub fn agent_log_dir(&self) -> PathBuf {
        self.agent_dir().join("logs")
    }

    /// The agent's log file; older parts stand beside it.
    pub fn agent_log(&self) -> PathBuf {
        self.agent_log_dir().join("agent.log")
    }

    /// The audit log of acts that concern the whole installation.
    pub fn audit(&self) -> PathBuf {
        self.agent_dir().join("audit")
    }

    /// Where that log ends, kept apart from it.
    pub fn audit_head(&self) -> PathBuf {
        self.etc().join("audit-head.json")
    }

    /// Model files, by digest.
    pub fn models(&self) -> PathBuf {
        self.var().join("models")
    }

    /// One model file of the installation.
    pub fn model(&self, digest: &Digest) -> PathBuf {
        model_in(&self.models(), digest)
    }

    /// One model of the installation that is a folder of files, by the digest of their list.
    pub fn model_folder(&self, digest: &Digest) -> PathBuf {
        self.models().join("folders").join(digest.hex())
    }

    /// The folder where a role keeps its finished jobs.
    pub fn jobs_dir(&self, slug: &Slug, role: Role) -> PathBuf {
        self.customer(slug).jobs_dir(role)
    }

    /// The paths of one customer.
    pub fn customer(&self, slug: &Slug) -> CustomerLayout {
        CustomerLayout {
            dir: self.var().join(slug.as_str()),
            run: self.run().join(slug.as_str()),
            etc: self.etc().join(slug.as_str()),
            slug: slug.clone(),
        }
    }

    /// Where a customer's data are put together before they take their place: no slug, so that nobody takes it for a customer.
    pub fn restoring(&self, slug: &Slug) -> CustomerLayout {
        let name = format!(".restoring-{slug}");
        CustomerLayout {
            dir: self.var().join(&name),
            run: self.run().join(&name),
            etc: self.etc().join(&name),
            slug: slug.clone(),
        }
    }

    /// The folder that holds one folder per customer.
    pub fn customers_dir(&self) -> PathBuf {
        self.var()
    }

    /// Where `0711 models fetch` keeps downloads for this user: `$XDG_CACHE_HOME/0711/models` or `~/.cache/0711/models`.
    pub fn model_cache() -> PathBuf {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
        cache.unwrap_or_else(|| home().join(".cache")).join("0711").join("models")
    }

    /// One model file of this user's cache.
    pub fn cached_model(digest: &Digest) -> PathBuf {
        model_in(&Self::model_cache(), digest)
    }
}

fn model_in(models: &Path, digest: &Digest) -> PathBuf {
    models.join("sha256").join(digest.hex())
}

impl CustomerLayout {
    /// The customer's slug.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The customer's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The installed license.
    pub fn license(&self) -> PathBuf {
        self.etc.join("license")
    }

    /// The folder of the installed license and configuration.
    pub fn etc(&self) -> &Path {
        &self.etc
    }

    /// The latest time ever seen, which governs expiry.
    pub fn seen(&self) -> PathBuf {
        self.dir.join("seen.json")
    }

    /// The answers the installation was made from; `0711 install --answers` repeats it.
    pub fn answers(&self) -> PathBuf {
        self.etc.join("answers.yaml")
    }

    /// Questions every release must answer as well as the one before.
    pub fn golden_questions(&self) -> PathBuf {
        self.etc.join("golden.jsonl")
    }

    /// What the stack was before the last update.
    pub fn update_snapshot(&self) -> PathBuf {
        self.dir.with_file_name("update").join("snapshots").join(self.slug.as_str())
    }

    /// What is to be.
    pub fn plan(&self) -> PathBuf {
        self.dir.join("plan.json")
    }

    /// What happened.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal.jsonl")
    }

    /// What is.
    pub fn receipt(&self) -> PathBuf {
        self.dir.join("receipt.json")
    }

    /// Held by the one process that executes a plan.
    pub fn install_lock(&self) -> PathBuf {
        self.dir.join("install.lock")
    }

    /// The tables.
    pub fn lakehouse(&self) -> PathBuf {
        self.dir.join("lakehouse")
    }

    /// The Delta tables, one folder each.
    pub fn delta(&self) -> PathBuf {
        self.lakehouse().join("delta")
    }

    /// The Lance datasets, one folder each.
    pub fn lance(&self) -> PathBuf {
        self.lakehouse().join("lance")
    }

    /// Held by the one process that writes the tables.
    pub fn lake_lock(&self) -> PathBuf {
        self.lakehouse().join("lake.lock")
    }

    /// The lake of one document that probes search: below the tables because the role that keeps it may write nowhere else.
    pub fn canary(&self) -> Self {
        Self { dir: self.lakehouse().join("canary"), ..self.clone() }
    }

    /// One commit of the lake, held for a backup that reads it.
    pub fn lake_pin(&self) -> PathBuf {
        self.lakehouse().join("pin")
    }

    /// The adapters, one folder per version, and `registry.json`.
    pub fn loras(&self) -> PathBuf {
        self.dir.join("loras")
    }

    /// Generated configuration and secrets.
    pub fn deployment(&self) -> PathBuf {
        self.dir.join("deployment")
    }

    /// The compose file, where the roles are containers.
    pub fn compose(&self) -> PathBuf {
        self.deployment().join("docker-compose.yml")
    }

    /// The administrator's own changes to the compose file. It is never written here.
    pub fn compose_override(&self) -> PathBuf {
        self.deployment().join("docker-compose.override.yml")
    }

    /// What the containers were made from.
    pub fn applied(&self) -> PathBuf {
        self.deployment().join("applied.json")
    }

    /// Held by `docker compose` while it works, also when the one that started it was killed.
    pub fn compose_lock(&self) -> PathBuf {
        self.run.join("compose.lock")
    }

    /// The administrator's own variables for the changes. It is never written here.
    pub fn compose_env(&self) -> PathBuf {
        self.deployment().join(".env")
    }

    /// The configuration every role reads.
    pub fn config(&self) -> PathBuf {
        self.deployment().join("config.yaml")
    }

    /// Secrets: folder 0700, files 0600.
    pub fn secrets(&self) -> PathBuf {
        self.deployment().join("secrets")
    }

    /// The token the roles show each other.
    pub fn token(&self) -> PathBuf {
        self.secrets().join("token")
    }

    /// The token programs show the gateway.
    pub fn api_token(&self) -> PathBuf {
        self.secrets().join("api-token")
    }

    /// The console password's argon2id hash.
    pub fn password_hash(&self) -> PathBuf {
        self.secrets().join("console-password.argon2id")
    }

    /// The generated console password until it was shown once.
    pub fn first_password(&self) -> PathBuf {
        self.secrets().join("console-password.first")
    }

    /// The key the installation signs its reports with; made when first needed.
    pub fn report_key(&self) -> PathBuf {
        self.secrets().join("report-key")
    }

    /// What was counted of attempts to leave the customer's networks.
    pub fn egress(&self) -> PathBuf {
        self.dir.join("egress.json")
    }

    /// The console's own state.
    pub fn console_state(&self) -> PathBuf {
        self.dir.join("console")
    }

    /// Who may ask beside the administrator. The console reads it.
    pub fn people(&self) -> PathBuf {
        self.console_state().join("people.json")
    }

    /// The audit log of what was done to this customer's installation.
    pub fn audit(&self) -> PathBuf {
        self.dir.join("audit")
    }

    /// Where that log ends, kept apart from it.
    pub fn audit_head(&self) -> PathBuf {
        self.audit_head_dir().join("head.json")
    }

    /// A folder of its own: what is unfinished beside the license is an installation's, and removed by the next one.
    pub fn audit_head_dir(&self) -> PathBuf {
        self.etc.join("audit")
    }

    /// The console's audit log: who logged in. A console in a container writes nowhere else.
    pub fn console_audit(&self) -> PathBuf {
        self.console_state().join("audit")
    }

    /// Where that log ends.
    pub fn console_audit_head(&self) -> PathBuf {
        self.console_state().join("audit-head.json")
    }

    /// What the probes of the roles met, newest last; an older part stands beside it with `.1`.
    pub fn probes(&self) -> PathBuf {
        self.dir.join("probes.jsonl")
    }

    /// The log files of the roles.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The log file of one role; older parts stand beside it with `.1`, `.2`, ….
    pub fn log(&self, role: Role) -> PathBuf {
        self.logs().join(format!("{role}.log"))
    }

    /// The ingestion's report and checkpoints.
    pub fn ingest_state(&self) -> PathBuf {
        self.dir.join("ingest")
    }

    /// The handlers of formats nobody else reads. The role `ingest` reads them, and must be able to.
    pub fn handlers(&self) -> PathBuf {
        self.ingest_state().join("handlers")
    }

    /// The kinds of files that wait for a handler.
    pub fn handlers_pending(&self) -> PathBuf {
        self.handlers().join("pending")
    }

    /// Every call of a model that was to write a handler, by its digests.
    pub fn handler_calls(&self) -> PathBuf {
        self.dir.join("handler-calls.jsonl")
    }

    /// What an administrator wants of handlers.
    pub fn handler_settings(&self) -> PathBuf {
        self.etc.join("handlers.yaml")
    }

    /// The folder where a role keeps its finished jobs.
    pub fn jobs_dir(&self, role: Role) -> PathBuf {
        self.dir.join("jobs").join(role.name())
    }

    /// The trainer's datasets and checkpoints.
    pub fn train_dir(&self) -> PathBuf {
        self.dir.join("train")
    }

    /// What this machine remembers of the customer's backups, and their lock. Never part of one.
    pub fn backup_state(&self) -> PathBuf {
        self.dir.join("backup")
    }

    /// What the agent's last backup said.
    pub fn backup_log(&self) -> PathBuf {
        self.logs().join("backup.log")
    }

    /// The keys of backups: folder 0700, files 0600. Never part of one.
    pub fn backup_keys(&self) -> PathBuf {
        self.etc.join("backup-keys")
    }

    /// Where and when the agent makes backups.
    pub fn backup_schedule(&self) -> PathBuf {
        self.etc.join("backup.yaml")
    }

    /// What a restored backup says of the installation it was made of: plan, journal, receipt, configuration.
    pub fn former(&self) -> PathBuf {
        self.dir.join("former")
    }

    /// The pid records of running roles, one file each.
    pub fn run_dir(&self) -> PathBuf {
        self.run.clone()
    }

    /// Says that the administrator stopped the roles: the agent then leaves them stopped until `start`, or until the
    /// machine starts anew.
    pub fn stopped_mark(&self) -> PathBuf {
        self.run.join("stopped.json")
    }

    /// The folder of the console's own socket: the agent's, and entered by the console.
    pub fn console_door(&self) -> PathBuf {
        self.run.join("console")
    }

    /// Where the console asks the agent: nothing there takes a path or a command.
    pub fn console_socket(&self) -> PathBuf {
        self.console_door().join("agent.sock")
    }

    /// The pid record of one role.
    pub fn role_record(&self, role: Role) -> PathBuf {
        self.run.join(format!("{role}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_below_the_root() {
        let layout = Layout::rooted("/tmp/x");
        let customer = layout.customer(&Slug::parse("eaton").unwrap());
        for path in [
            layout.etc(),
            layout.run(),
            layout.var(),
            layout.binary(),
            layout.models(),
            layout.agent_socket(),
            customer.license(),
            customer.delta(),
            customer.token(),
            customer.role_record(Role::Lake),
        ] {
            assert!(path.starts_with("/tmp/x"), "{path:?}");
        }
    }

    #[test]
    fn two_customers_share_no_path() {
        let layout = Layout::system();
        let [a, b] = ["a", "b"].map(|slug| layout.customer(&Slug::parse(slug).unwrap()));
        assert_ne!(a.dir(), b.dir());
        assert_ne!(a.run_dir(), b.run_dir());
        assert_ne!(a.license(), b.license());
    }
}
