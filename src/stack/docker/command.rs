//! Running `docker compose`: one at a time for a customer, also after the one who started it was killed.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base::config::ServiceConfig;
use base::file::{LockError, lock};
use base::{CustomerLayout, Role};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::applied::changes;
use super::compose::CUSTOMER_LABEL;
use super::engine::SOCKET;
use crate::Error;

/// Compose says what it does, container by container. It may take as long as it says something; a busy engine lets it wait.
const COMPOSE_SILENCE: Duration = Duration::from_secs(180);
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const OUTPUT_CHARACTERS_MAX: usize = 600;
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// The right to run `docker compose` for a customer.
///
/// It is a locked file that compose gets as its standard input, and the plugin behind the client inherits. The kernel holds such a
/// lock until the last process that has the file open is gone: an `install` that was killed leaves compose at work for some
/// seconds, and whoever comes next waits for its end instead of racing it. A signal on the parent's death
/// (`PR_SET_PDEATHSIG`) would do less: it is tied to the thread that started the child, and does not reach the plugin.
#[derive(Debug)]
pub struct Turn(File);

impl Turn {
    /// Waits until nobody runs compose for the customer.
    ///
    /// # Errors
    /// [`Error::ComposeBusy`] when that takes longer than compose itself may, [`Error::Lock`].
    pub async fn take(customer: &CustomerLayout) -> Result<Self, Error> {
        let begun = Instant::now();
        loop {
            match lock(&customer.compose_lock(), "install") {
                Ok(file) => return Ok(Self(file)),
                Err(LockError::Held { .. }) if begun.elapsed() < COMPOSE_SILENCE => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(LockError::Held { holder, .. }) => return Err(Error::ComposeBusy { holder }),
                Err(error) => return Err(Error::Lock(error)),
            }
        }
    }
}

/// What compose is told about a customer.
#[derive(Debug)]
pub struct Project<'a> {
    name: &'a str,
    file: PathBuf,
    changes: Option<PathBuf>,
    client: &'static str,
}

impl<'a> Project<'a> {
    /// Finds the client and the files: the generated one, and the administrator's changes beside it, as `docker compose` itself
    /// would.
    pub async fn open(name: &'a str, customer: &CustomerLayout) -> Self {
        Self { name, file: customer.compose(), changes: changes(customer), client: client().await }
    }

    /// Asks compose what it makes of the files, and whether the services are still those of `config`. Nothing is changed.
    ///
    /// # Errors
    /// [`Error::ComposeRefused`] with what compose said, [`Error::ChangesRefused`] for changes to what the installation relies on.
    pub async fn check(&self, config: &ServiceConfig) -> Result<(), Error> {
        let output = self.run(&["config", "--format", "json"], Stdio::null()).await.map_err(|output| {
            Error::ComposeRefused { file: self.changes.clone().unwrap_or_else(|| self.file.clone()), output }
        })?;
        let Some(path) = self.changes.clone() else { return Ok(()) };
        let resolved: Value = serde_json::from_slice(&output).unwrap_or_default();
        match refused(&resolved, config) {
            Some(what) => Err(Error::ChangesRefused { path, what }),
            None => Ok(()),
        }
    }

    /// Makes the containers and networks, or makes those anew that differ. Starts nothing.
    ///
    /// # Errors
    /// [`Error::Compose`] with what compose said.
    pub async fn create(&self, turn: Turn) -> Result<(), Error> {
        let made = self.run(&["create", "--no-build", "--remove-orphans"], turn.0.into()).await;
        made.map(drop).map_err(|output| Error::Compose { file: self.file.clone(), output })
    }

    /// Returns what compose printed, or the end of what it complained about: the first lines say what went well.
    async fn run(&self, arguments: &[&str], input: Stdio) -> Result<Vec<u8>, String> {
        let mut command = Command::new(self.client);
        command.args(["--host", &format!("unix://{SOCKET}"), "compose", "--project-name", self.name]);
        for file in [Some(&self.file), self.changes.as_ref()].into_iter().flatten() {
            command.arg("--file").arg(file);
        }
        command.args(arguments).stdin(input);
        match listen(command, COMPOSE_SILENCE).await {
            Ok((status, printed, _)) if status.success() => Ok(printed),
            Ok((_, _, said)) => Err(said),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Runs a program as long as it says something on its standard error. Returns how it ended, what it printed, and the end of what it
/// said: the last lines say what went wrong, the first ones what went well.
async fn listen(mut command: Command, silence: Duration) -> std::io::Result<(ExitStatus, Vec<u8>, String)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let late = |_| std::io::Error::other(format!("nothing was heard of it for {} s", silence.as_secs()));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let print = async {
        let mut printed = Vec::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_end(&mut printed).await?;
        }
        Ok::<_, std::io::Error>(printed)
    };
    let hear = async {
        let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
        if let Some(mut stderr) = stderr {
            loop {
                let count = tokio::time::timeout(silence, stderr.read(&mut buffer)).await.map_err(late)??;
                if count == 0 {
                    break;
                }
                said.extend_from_slice(&buffer[..count]);
                said.drain(..said.len().saturating_sub(OUTPUT_BYTES_MAX));
            }
        }
        Ok::<_, std::io::Error>(said)
    };
    // Both at once: a program whose output nobody takes stands still.
    let (printed, said) = tokio::try_join!(print, hear)?;
    let status = tokio::time::timeout(silence, child.wait()).await.map_err(late)??;
    let text: Vec<char> = String::from_utf8_lossy(&said).trim().chars().collect();
    Ok((status, printed, text[text.len().saturating_sub(OUTPUT_CHARACTERS_MAX)..].iter().collect()))
}

/// Says which of the things the installation finds its containers by was changed: everything else is the administrator's to decide.
fn refused(resolved: &Value, config: &ServiceConfig) -> Option<String> {
    let containers = config.containers.as_ref()?;
    let is_as_planned = |role: Role| {
        let service = &resolved["services"][role.name()];
        service["image"] == containers.image_of(role).to_string()
            && service["container_name"] == containers.name(role)
            && service["labels"][CUSTOMER_LABEL] == config.slug.as_str()
    };
    let role = Role::ALL.into_iter().find(|role| !is_as_planned(*role))?;
    Some(format!("image, name or label of service `{role}`"))
}

/// The client that knows compose: one that does not may stand earlier on the path.
async fn client() -> &'static str {
    for program in ["docker", "/usr/bin/docker"] {
        let mut ask = Command::new(program);
        ask.args(["compose", "version"]).stdin(Stdio::null()).kill_on_drop(true);
        let answer = tokio::time::timeout(CLIENT_PATIENCE, ask.output()).await;
        if answer.is_ok_and(|answer| answer.is_ok_and(|output| output.status.success())) {
            return program;
        }
    }
    "docker"
}

#[cfg(test)]
mod tests {
    use base::{Layout, Slug};

    use super::*;

    /// What a killed install leaves behind is a process with the file as its input, started by another that does not live any more.
    #[tokio::test]
    async fn the_next_one_waits_for_what_a_killed_one_started() {
        let dir = tempfile::tempdir().unwrap();
        let customer = Layout::rooted(dir.path()).customer(&Slug::parse("eaton").unwrap());
        let turn = Turn::take(&customer).await.unwrap();
        let mut child = std::process::Command::new("sh");
        // The shell ends at once; what it started, as the client starts the plugin, does not. (A shell takes the input of its
        // background away, but no other descriptor.)
        child.args(["-c", "exec 3<&0; sleep 1 & exit 0"]).stdin(turn.0);
        let begun = Instant::now();
        child.spawn().unwrap().wait().unwrap();
        drop(child);
        assert!(matches!(lock(&customer.compose_lock(), "test"), Err(LockError::Held { .. })));
        Turn::take(&customer).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    }

    async fn heard(script: &str, silence_ms: u64) -> Result<(bool, String, String), String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let heard = listen(command, Duration::from_millis(silence_ms)).await;
        heard
            .map(|(status, printed, said)| (status.success(), String::from_utf8_lossy(&printed).into_owned(), said))
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_program_may_take_as_long_as_it_says_something() {
        let talks = "for i in 1 2 3 4 5 6 7 8; do echo step $i >&2; sleep 0.2; done; echo result";
        let (is_well, printed, said) = heard(talks, 1_000).await.unwrap();
        assert!(is_well && said.ends_with("step 8"), "it takes longer than the silence it may keep: {said}");
        assert_eq!(printed, "result\n");
        assert!(heard("echo begin >&2; sleep 30", 300).await.unwrap_err().contains("nothing was heard"));
        let (is_well, _, said) =
            heard("yes line | head -c 100000 >&2; echo 'the cause' >&2; exit 3", 10_000).await.unwrap();
        assert!(!is_well && said.ends_with("the cause") && said.chars().count() <= OUTPUT_CHARACTERS_MAX, "{said}");
    }
}
