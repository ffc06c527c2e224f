use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use audit::{Act, Log, Outcome as Ending};
use base::config::ModelRef;
use base::file::{self, Lock, LockError};
use base::{Clock, CustomerLayout, Layout};
use bundle::release::VerifiedRelease;
use plan::{Plan, Receipt, StepId};
use stack::docker::Engine;
use tokio_util::sync::CancellationToken;

use crate::error::Cause;
use crate::event::{Event, Sink};
use crate::execute::execute;
use crate::journal_file::JournalFile;
use crate::record::{ended, entry, record};
use crate::step::World;
use crate::{Error, images, receipt};

/// Where model files come from when this user's cache does not have them. The rooms are wired by `cli`.
pub trait ModelSource: Send + Sync {
    /// Returns the path of a file with the model's content; it is checked again when it is put in place.
    ///
    /// `progress` takes bytes done and bytes in all (0 when unknown).
    fn obtain<'a>(
        &'a self,
        model: &'a ModelRef,
        progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> Pin<Box<dyn Future<Output = Result<PathBuf, Cause>> + Send + 'a>>;
}

/// Executes one plan.
pub struct Installer<'a> {
    /// Where.
    pub layout: &'a Layout,
    /// What.
    pub plan: &'a Plan,
    /// The license's envelope; its digest is in the plan.
    pub license: &'a [u8],
    /// The binary to install; its digest is in the plan.
    pub binary: &'a Path,
    /// Where models come from.
    pub models: &'a dyn ModelSource,
    /// Where images come from, when the services are containers.
    pub release: Option<&'a VerifiedRelease>,
    /// Wait for another install of the same customer, instead of saying who it is.
    pub waits: bool,
    /// The last step that is done; all of them without one. What is left is for a later run of the same plan.
    pub until: Option<StepId>,
    /// Tells the time for the journal.
    pub clock: Clock,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What is.
    pub receipt: Receipt,
    /// What each step left, in the order of the plan.
    pub evidence: Vec<(plan::StepId, plan::journal::Evidence)>,
}

const LOCK_LOOK_EVERY: Duration = Duration::from_millis(300);

impl Installer<'_> {
    /// Executes the plan, going on where an earlier run of it stopped. Returns nothing when it was to stop before the end.
    ///
    /// `cancel` stops between steps and where a step waits; what was done stays done.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Interrupted`], or [`Error::Step`] with what went wrong.
    pub async fn run(&self, events: Sink<'_>, cancel: &CancellationToken) -> Result<Option<Outcome>, Error> {
        let customer = self.layout.customer(self.plan.slug());
        file::private_dir(customer.dir()).map_err(Error::file("make folder", customer.dir()))?;
        let _lock = self.lock(&customer, events, cancel).await?;
        let act = || entry(Act::Install).object(format!("{} {}", customer.slug(), self.plan.version()));
        let plan = format!("plan {}", self.plan.digest());
        record(Log::customer(&customer), act().outcome(Ending::Begun).detail(plan)).await;
        let outcome = self.execute(&customer, events, cancel).await;
        for log in [Log::customer(&customer), Log::host(self.layout)] {
            let done = outcome.as_ref().ok().and_then(Option::as_ref);
            let adapter = done.and_then(|outcome| outcome.receipt.adapter.as_ref());
            let trained =
                adapter.and_then(|adapter| Some(format!("adapter {} {}", adapter.version.as_ref()?, adapter.decision)));
            record(log, ended(act().detail(trained.unwrap_or_default()), &outcome)).await;
        }
        outcome
    }

    async fn execute(
        &self,
        customer: &CustomerLayout,
        events: Sink<'_>,
        cancel: &CancellationToken,
    ) -> Result<Option<Outcome>, Error> {
        for dir in [customer.etc(), &customer.deployment()] {
            // Nobody writes there but the holder of the lock: what is unfinished was left by one that was killed.
            for path in file::unfinished(dir) {
                std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            }
        }
        let mut journal = JournalFile::open(&customer.journal(), self.clock)?;
        self.write_plan(customer)?;
        let mut world = World {
            layout: self.layout,
            customer: customer.clone(),
            plan: self.plan,
            license: self.license,
            binary: self.binary,
            models: self.models,
            release: self.release,
        };
        execute(self.plan, self.until, &mut journal, &mut world, events, cancel).await?;
        if self.until.is_some() {
            return Ok(None);
        }
        let receipt = receipt::write(self.plan, customer, &mut journal)?;
        events(Event::Closed { receipt: receipt.digest() });
        self.prune_images().await;
        let ids = self.plan.steps().iter().map(plan::Step::id);
        let evidence = ids.map(|id| (id, crate::execute::evidence(&journal, id))).collect();
        Ok(Some(Outcome { receipt, evidence }))
    }

    /// What stays is in nobody's way but the disk's, and goes next time.
    async fn prune_images(&self) {
        if self.plan.images().is_empty() {
            return;
        }
        let pruned = async { images::prune(self.layout, &Engine::connect().await.map_err(Error::Stack)?).await };
        if let Err(error) = pruned.await {
            tracing::warn!(error = %crate::execute::chain(&error), "cannot remove older images");
        }
    }

    /// The plan is on the disk before its first effect, and before the journal speaks of it.
    fn write_plan(&self, customer: &CustomerLayout) -> Result<(), Error> {
        let path = customer.plan();
        let bytes = self.plan.to_json().map_err(|source| Error::Format { path: path.clone(), source })?;
        if crate::files::bytes_if_any(&path, bytes.len() as u64 + 1).ok().flatten().as_ref() == Some(&bytes) {
            return Ok(());
        }
        file::write_atomic(&path, &bytes, 0o600).map_err(Error::file("write", &path))
    }

    async fn lock(
        &self,
        customer: &CustomerLayout,
        events: Sink<'_>,
        cancel: &CancellationToken,
    ) -> Result<Lock, Error> {
        let mut told = false;
        loop {
            match Lock::try_acquire(&customer.install_lock(), "install") {
                Ok(lock) => return Ok(lock),
                Err(LockError::Held { path, holder }) if !self.waits || cancel.is_cancelled() => {
                    return Err(Error::Locked { path, holder });
                }
                Err(LockError::Held { holder, .. }) => {
                    if !told {
                        events(Event::Waiting { holder });
                        told = true;
                    }
                    tokio::time::sleep(LOCK_LOOK_EVERY).await;
                }
                Err(error) => return Err(Error::Lock(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
