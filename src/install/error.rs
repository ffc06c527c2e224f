use std::path::PathBuf;

use base::{Digest, Exit, Explain, Remedy, Role, Slug};
use plan::StepId;

/// A cause from another room, kept whole: what a [`crate::ModelSource`] fails with.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong while a plan is executed or undone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process executes a plan for this customer.
    #[error("cannot begin: {holder} holds `{}`", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// The lock file itself is unusable.
    #[error("cannot take the install lock")]
    Lock(#[source] base::file::LockError),
    /// A file of ours could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Says why.
        #[source]
        source: Cause,
    },
    /// A file could not be written, linked or removed.
    #[error("cannot {act} `{}`", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
    /// A stored plan, journal or receipt is damaged.
    #[error("`{}` cannot be used", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Says why.
        #[source]
        source: plan::Error,
    },
    /// What was handed over is not what the plan names.
    #[error("the {what} has digest {found}, the plan names {expected}")]
    DigestMismatch {
        /// License, binary or a model's name.
        what: String,
        /// By the plan.
        expected: Digest,
        /// In fact.
        found: Digest,
    },
    /// The license in place is a newer one.
    #[error("cannot replace the license")]
    License(#[source] license::Error),
    /// There is a file of somebody else where ours belongs.
    #[error("`{}` was not made by 0711 and is in the way", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
    },
    /// A folder of ours holds another file system.
    #[error("`{}` is a mount of its own, and its owner is not changed", path.display())]
    MountInside {
        /// Where.
        path: PathBuf,
        /// Who must own it.
        user: u32,
        /// And with which group.
        group: u32,
    },
    /// Another install was faster.
    #[error("the ports from {port_base} on were given to `{owner}` in the meantime")]
    SlotTaken {
        /// The block.
        port_base: u16,
        /// Whose it is.
        owner: Slug,
    },
    /// The source has no such model.
    #[error("cannot get model `{name}`")]
    Model {
        /// Which.
        name: String,
        /// Says why.
        #[source]
        source: Cause,
    },
    /// The engine lacks an image, and no bundle with it was named.
    #[error("the engine does not have the image `{name}`, and no bundle with it was named")]
    ImageMissing {
        /// Which.
        name: String,
    },
    /// The bundle was changed after it was proven.
    #[error("cannot take an image from the bundle")]
    Release(#[source] bundle::release::ReleaseError),
    /// The engine, compose, or a container refused.
    #[error(transparent)]
    Stack(stack::Error),
    /// A program of the system failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        output: String,
    },
    /// The agent does not come up, or does not answer.
    #[error("the agent does not answer")]
    Agent {
        /// Says why.
        #[source]
        source: Cause,
    },
    /// A role needs a person, or takes too long.
    #[error("role `{role}` does not become ready: {reason}")]
    RoleNotReady {
        /// Which.
        role: Role,
        /// What the agent says about it.
        reason: String,
    },
    /// A role does not answer.
    #[error("role `{role}` does not answer")]
    Role {
        /// Which.
        role: Role,
        /// Says why.
        #[source]
        source: stack::http::CallError,
    },
    /// A job of a role failed.
    #[error("role `{role}` could not do it: {cause}")]
    JobFailed {
        /// Which.
        role: Role,
        /// In the role's words.
        cause: String,
    },
    /// A running role could not be stopped.
    #[error("cannot stop the services")]
    Stop(#[source] stack::Error),
    /// Applied, and still not so.
    #[error("step `{step}` was done and does not hold")]
    NotVerified {
        /// Which.
        step: StepId,
    },
    /// Ctrl-C.
    #[error("stopped at step `{step}`")]
    Interrupted {
        /// The step that is not finished.
        step: StepId,
    },
    /// A step failed; the journal says so too.
    #[error("step `{step}` failed")]
    Step {
        /// Which.
        step: StepId,
        /// Says why.
        #[source]
        source: Box<Error>,
    },
    /// A report is not what the key signed.
    #[error("cannot trust the report `{}`", path.display())]
    Report {
        /// Which.
        path: PathBuf,
        /// Says why.
        #[source]
        source: base::dsse::Error,
    },
    /// A statement cannot be written, or was written by another version.
    #[error("the report's statement is not the JSON it should be")]
    ReportFormat {
        /// Says why.
        #[source]
        source: serde_json::Error,
    },
    /// The installation has no key, and none could be made.
    #[error("cannot sign")]
    ReportKey(#[source] audit::Error),
    /// A password could not be made or hashed.
    #[error("cannot make the console password")]
    Password(#[source] Cause),
}

impl Error {
    pub(crate) fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Locked { .. } => "wait until it is done, or use `--wait`",
            Self::Step { source, .. } => {
                return source.remedy().or_else(|| {
                    Some(Remedy::new("mend the cause, then run the same command again: it goes on where it stopped"))
                });
            }
            Self::Interrupted { .. } => {
                "run the same command again: it goes on where it stopped; `0711 stop` stops the services that already run"
            }
            Self::DigestMismatch { .. } => "run `0711 install` again: it plans anew with what is there now",
            Self::NotOurs { .. } => "move that file away, or choose another `--root`",
            Self::MountInside { path, user, group } => {
                return Some(Remedy(format!(
                    "run `chown -R {user}:{group} {}` if it belongs to 0711, or unmount it; then run the same command again",
                    path.display()
                )));
            }
            Self::SlotTaken { .. } => "run the same command again: it takes another block",
            Self::Model { .. } => "run `0711 models fetch`, then the same command again",
            Self::ImageMissing { .. } => "name the release bundle with `--bundle PATH`",
            Self::Release(source) => return source.remedy(),
            Self::Stack(source) => return source.remedy(),
            Self::Agent { .. } => "see `0711 logs`, then run the same command again",
            Self::RoleNotReady { role, .. } | Self::Role { role, .. } | Self::JobFailed { role, .. } => {
                return Some(Remedy(format!("see `0711 logs {role}`, then run the same command again")));
            }
            Self::Format { source, .. } => return source.remedy(),
            Self::Report { source: base::dsse::Error::UntrustedKey { .. }, .. } => {
                "name the key it was made with, as it was shown then: `--key HEX`"
            }
            Self::Report { .. } => "ask for the report again, exactly as it was written",
            Self::ReportFormat { .. } => "use the version of 0711 it was made with",
            Self::ReportKey(source) => return source.remedy(),
            Self::Stop(source) => return source.remedy(),
            Self::License(source) => return source.remedy(),
            _ => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Locked { .. } => Exit::Locked,
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::Report { .. } => Exit::Untrusted,
            Self::Model { .. } => Exit::Model,
            Self::Agent { .. } | Self::RoleNotReady { .. } | Self::Role { .. } => Exit::Unavailable,
            Self::Step { source, .. } => source.exit(),
            Self::License(source) => source.exit(),
            Self::Release(source) => source.exit(),
            Self::Stack(source) => source.exit(),
            _ => Exit::Failed,
        }
    }
}
