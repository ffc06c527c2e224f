use std::path::{Path, PathBuf};
use std::process::Stdio;

use base::Layout;
use semver::Version;
use stack::Identity;
use tokio::process::Command;

use crate::Error;

/// One version's program, to do what that version does.
#[derive(Clone, Debug)]
pub(crate) struct Program<'a> {
    /// Its file.
    pub(crate) path: &'a Path,
    /// For messages.
    pub(crate) version: &'a Version,
    /// Where it is to work.
    pub(crate) layout: &'a Layout,
}

const SAID_CHARACTERS_MAX: usize = 600;

impl Program<'_> {
    /// Runs it to its end, and returns what it printed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String, Error> {
        self.run_noted(arguments, &mut |_| Ok(())).await
    }

    /// The same; `note` is told which process works, before it is waited for.
    pub(crate) async fn run_noted(
        &self,
        arguments: &[&str],
        note: &mut (dyn FnMut(Identity) -> Result<(), Error> + Send),
    ) -> Result<String, Error> {
        let mut command = Command::new(self.path);
        // Before the verb: what follows `--` is no option.
        if let Some(root) = self.layout.root() {
            command.arg("--root").arg(root);
        }
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal is ours to answer; the child shall come to its end.
            .process_group(0);
        let verb = arguments.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default();
        let failed = |said: String| Error::Program { verb: verb.to_owned(), version: self.version.to_string(), said };
        let child = command.spawn().map_err(|error| failed(error.to_string()))?;
        if let Some(identity) = child.id().and_then(Identity::of) {
            note(identity)?;
        }
        let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let told = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        let text: Vec<char> = String::from_utf8_lossy(told).trim().chars().collect();
        let last: String = text[text.len().saturating_sub(SAID_CHARACTERS_MAX)..].iter().collect();
        Err(failed(if last.is_empty() { output.status.to_string() } else { last }))
    }
}

/// Where a version's program is linked from.
pub(crate) fn linked(layout: &Layout) -> PathBuf {
    let link = layout.binary();
    link.canonicalize().unwrap_or(link)
}
