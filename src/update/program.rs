use std::path::{Path, PathBuf};
use std::process::Stdio;

use base::Layout;
use semver::Version;
use serde::Deserialize;
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
        Err(failed(reason(&output.stdout, &output.stderr).unwrap_or_else(|| output.status.to_string())))
    }
}

/// Returns why a program failed. In its own words where it told (the last line of `--json`, with all causes), else the end of what it printed.
fn reason(stdout: &[u8], stderr: &[u8]) -> Option<String> {
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    if let Some(told) = stdout.trim().lines().next_back().and_then(|line| serde_json::from_str::<Told>(line).ok()) {
        return Some(std::iter::once(told.error).chain(told.caused_by).collect::<Vec<_>>().join(": "));
    }
    let printed = [stderr.trim(), stdout.trim()].into_iter().find(|text| !text.is_empty())?;
    let skipped = printed.chars().count().saturating_sub(SAID_CHARACTERS_MAX);
    Some(printed.chars().skip(skipped).collect())
}

/// What a failed verb prints last with `--json`.
#[derive(Deserialize)]
struct Told {
    error: String,
    #[serde(default)]
    caused_by: Vec<String>,
}

/// Where a version's program is linked from.
pub(crate) fn linked(layout: &Layout) -> PathBuf {
    let link = layout.binary();
    link.canonicalize().unwrap_or(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_the_programs_own_words() {
        let check = |stdout: &str, stderr: &str, expect: Option<&str>| {
            assert_eq!(reason(stdout.as_bytes(), stderr.as_bytes()).as_deref(), expect, "{stdout:?} {stderr:?}");
        };
        let failure =
            r#"{"error":"the agent does not answer","caused_by":["no socket","not found"],"remedy":null,"exit":4}"#;
        check(
            &format!("{{\"event\":\"started\"}}\n{failure}\n"),
            "WARN something else\n",
            Some("the agent does not answer: no socket: not found"),
        );
        check("{\"event\":\"started\"}\n", "thread panicked\n", Some("thread panicked"));
        check("half a line", "", Some("half a line"));
        check("", "", None);
        let long = "ü".repeat(2000);
        check("", &long, Some(&"ü".repeat(SAID_CHARACTERS_MAX)));
    }
}
