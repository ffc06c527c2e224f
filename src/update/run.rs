use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base::file::{self, Lock};
use base::{Clock, Layout, Slug};
use bundle::release::VerifiedRelease;
use semver::Version;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::program::{Program, linked};
use crate::snapshot::Snapshot;
use crate::watch::{Downtime, watch};
use crate::{Attempt, CustomerAttempt, Error, Record, Stage, State, golden, rehearse, switch, tree, way_back};

/// Something that happens in an update, for whoever shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A stage begins.
    Stage {
        /// Which.
        stage: Stage,
        /// From this release.
        from: Version,
        /// To this one.
        to: Version,
    },
    /// What is done in it.
    Doing {
        /// For people.
        what: String,
    },
}

/// Carries out the updates of an installation. It holds the lock as long as it lives.
#[derive(Debug)]
pub struct Run<'a> {
    layout: &'a Layout,
    record: Record,
    clock: Clock,
    state: State,
    _lock: Lock,
}

type Tell<'a> = &'a (dyn Fn(Event) + Send + Sync);

impl<'a> Run<'a> {
    /// Takes the lock and reads how far the last run came. One that was broken off between stop and commit goes back.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Format`].
    pub fn open(layout: &'a Layout, clock: Clock) -> Result<Self, Error> {
        let record = Record::new(layout);
        let lock = record.lock()?;
        let mut state = record.state()?;
        if let Some(attempt) = &mut state.attempt
            && matches!(attempt.stage, Stage::Switching | Stage::Watching)
        {
            attempt.stage = Stage::RollingBack;
            attempt.cause = Some("it was broken off before it was finished".to_owned());
            record.put(&state)?;
        }
        Ok(Self { layout, record, clock, state, _lock: lock })
    }

    /// Returns what is remembered.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Changes what is remembered.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn note(&mut self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        change(&mut self.state);
        self.record.put(&self.state)
    }

    /// Keeps a release away. One that is under way and has not touched anything comes to its end.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn hold(&mut self, version: &Version, reason: &str) -> Result<(), Error> {
        self.note(|state| {
            state.held.insert(version.clone(), reason.to_owned());
            state.approved = state.approved.take().filter(|approved| approved != version);
        })?;
        let is_untouched =
            |attempt: &Attempt| attempt.to == *version && matches!(attempt.stage, Stage::Rehearsing | Stage::Ready);
        match self.state.attempt.as_ref().is_some_and(is_untouched) {
            true => self.give_up(Stage::Refused, reason),
            false => Ok(()),
        }
    }

    /// Begins an update to a proven release. `roots` are trusted for it beside those of `trust.d`. `schemas` are the formats this
    /// program writes: where the release's differ, going back takes the data back too.
    ///
    /// # Errors
    /// [`Error::NothingInstalled`], [`Error::Release`] when the bundle has no program, [`Error::File`].
    pub async fn begin(
        &mut self,
        release: &VerifiedRelease,
        bundle: &Path,
        roots: &[PathBuf],
        schemas: &BTreeMap<String, u32>,
    ) -> Result<(), Error> {
        let slugs = install::installed(self.layout).map_err(Error::Install)?;
        let mut customers = Vec::new();
        let mut from = None;
        for slug in slugs {
            // One whose installation was never finished has nothing to go back to, and is left alone.
            if let Some(receipt) = install::read_receipt(&self.layout.customer(&slug)).map_err(Error::Install)? {
                let version: Option<Version> = receipt.version.parse().ok();
                // The oldest counts: what is older than the offer is updated.
                from = from.into_iter().chain(version).min();
                customers.push(CustomerAttempt { slug, before: None, rehearsed: None, after: None });
            }
        }
        let from = from.ok_or(Error::NothingInstalled)?;
        for customer in &customers {
            Snapshot::of(self.layout.customer(&customer.slug)).discard()?;
        }
        let release_version = release.release().version.clone();
        let dir = self.layout.update_programs();
        file::private_dir(&dir).map_err(Error::file("make folder", &dir))?;
        let program = dir.join(format!("0711-{release_version}"));
        release.extract_program(&program).map_err(Error::Release)?;
        if customers.iter().any(|customer| runs_in_containers(self.layout, &customer.slug)) {
            // What is loaded for the rehearsal stays for the switch, and is this installation's to remove.
            install::expect_images(self.layout, release).await.map_err(Error::Install)?;
        }
        let attempt = Attempt {
            from,
            to: release_version,
            bundle: bundle.to_owned(),
            roots: roots.to_vec(),
            program,
            old_program: linked(self.layout),
            changes_data: release.release().schemas != *schemas,
            stage: Stage::Rehearsing,
            tries: 0,
            began: self.clock.now(),
            customers,
            child: None,
            downtime_ms: None,
            cause: None,
        };
        self.note(|state| state.attempt = Some(attempt))
    }

    /// Takes an update back that was finished.
    ///
    /// # Errors
    /// [`Error::NothingToTakeBack`] when there is none, or its way back is gone.
    pub fn take_back(&mut self) -> Result<(), Error> {
        let is_possible = self.state.attempt.as_ref().is_some_and(|attempt| {
            let saved = |customer: &CustomerAttempt| Snapshot::of(self.layout.customer(&customer.slug)).is_whole();
            attempt.stage == Stage::Finished && attempt.old_program.is_file() && attempt.customers.iter().all(saved)
        });
        if !is_possible {
            return Err(Error::NothingToTakeBack);
        }
        self.change(|attempt| {
            attempt.stage = Stage::RollingBack;
            attempt.cause = Some("a person took it back".to_owned());
        })
    }

    /// Goes on until there is nothing left to do, or only the window to wait for ([`Stage::Ready`]). `may_switch` is asked when the stack
    /// would be stopped: a rehearsal may take longer than a window.
    ///
    /// `cancel` stops before anything is touched; while a release is watched, it takes it back.
    ///
    /// # Errors
    /// What kept a stage from beginning. A release that failed is no error here but [`Stage::Refused`] or [`Stage::RolledBack`].
    pub async fn go_on(
        &mut self,
        may_switch: &(dyn Fn() -> bool + Send + Sync),
        tell: Tell<'_>,
        cancel: &CancellationToken,
    ) -> Result<Stage, Error> {
        loop {
            let Some(attempt) = self.state.attempt.clone() else { return Ok(Stage::Finished) };
            if attempt.stage.is_end() {
                return Ok(attempt.stage);
            }
            tell(Event::Stage { stage: attempt.stage, from: attempt.from.clone(), to: attempt.to.clone() });
            match attempt.stage {
                Stage::Rehearsing => {
                    // Cancel-safe: a rehearsal that is dropped is cleared away by the next one.
                    let tried = tokio::select! {
                        tried = self.rehearse(&attempt, tell) => tried,
                        () = cancel.cancelled() => return Err(Error::Interrupted),
                    };
                    match tried {
                        Ok(()) => self.enter(Stage::Ready)?,
                        // Room can be made: the release itself did nothing wrong.
                        Err(error @ Error::NoRoom { .. }) => return Err(error),
                        // An engine that was started anew, for instance; one that never takes them is no place for it.
                        Err(error @ Error::Images { .. }) if attempt.tries + 1 < Attempt::TRIES_MAX => {
                            self.change(|attempt| attempt.tries += 1)?;
                            return Err(error);
                        }
                        Err(error) => self.give_up(Stage::Refused, &format!("in the rehearsal: {}", chain(&error)))?,
                    }
                }
                Stage::Ready if !may_switch() => return Ok(Stage::Ready),
                Stage::Ready => {
                    if let Some(path) = [&attempt.bundle, &attempt.program].into_iter().find(|path| !path.exists()) {
                        return Err(Error::Gone { path: path.clone() });
                    }
                    way_back::prove(self.layout, &attempt).await?;
                    if cancel.is_cancelled() {
                        return Err(Error::Interrupted);
                    }
                    self.enter(Stage::Switching)?;
                }
                Stage::Switching => self.switch(&attempt, tell, cancel).await?,
                // Entered by `switch` alone, which stays there to its end.
                Stage::Watching => self.turn_back("it was broken off before it was finished")?,
                Stage::Committed => {
                    for customer in &attempt.customers {
                        tell(Event::Doing { what: format!("{}: reading what changed", customer.slug) });
                        switch::finish(self.layout, &customer.slug, &attempt).await?;
                    }
                    if attempt.bundle.starts_with(self.layout.update_staging()) {
                        tree::remove(&attempt.bundle)?;
                    }
                    // It is installed: what was unpacked is there twice.
                    tree::remove(&self.layout.update_programs())?;
                    // What was approved is there: the agent would ask for it again and again.
                    self.state.approved = self.state.approved.take().filter(|approved| *approved > attempt.to);
                    self.end(Stage::Finished)?;
                }
                Stage::RollingBack => {
                    self.change(|attempt| attempt.tries += 1)?;
                    let port = self.console_port(&attempt);
                    let downtime = port.map(Downtime::begin);
                    way_back::go(self.layout, &attempt).await?;
                    let away_ms = downtime.map_or(0, |downtime| downtime.away_ms());
                    let cause = attempt.cause.clone().unwrap_or_default();
                    self.change(|attempt| attempt.downtime_ms = Some(attempt.downtime_ms.unwrap_or(0) + away_ms))?;
                    self.give_up(Stage::RolledBack, &cause)?;
                }
                Stage::Finished | Stage::RolledBack | Stage::Refused => return Ok(attempt.stage),
            }
        }
    }

    async fn rehearse(&mut self, attempt: &Attempt, tell: Tell<'_>) -> Result<(), Error> {
        if attempt.customers.iter().any(|customer| runs_in_containers(self.layout, &customer.slug)) {
            tell(Event::Doing { what: format!("loading the images of {}", attempt.to) });
            let new = Program { path: &attempt.program, version: &attempt.to, layout: self.layout };
            let (bundle, roots) = (attempt.bundle.display().to_string(), attempt.root_words());
            let load = ["bundle", "load", &bundle, "--json"].into_iter().chain(roots.iter().map(String::as_str));
            let loaded = new.run(&load.collect::<Vec<_>>()).await;
            let version = attempt.to.to_string();
            loaded.map_err(|error| Error::Images { version, source: Box::new(error) })?;
            self.change(|attempt| attempt.tries = 0)?;
        }
        let old = Program { path: &attempt.old_program, version: &attempt.from, layout: self.layout };
        for (index, customer) in attempt.customers.iter().enumerate() {
            let slug = &customer.slug;
            let questions = golden::questions(&self.layout.customer(slug))?;
            tell(Event::Doing { what: format!("{slug}: {} golden questions to {}", questions.len(), attempt.from) });
            let before = golden::ask(&old, slug, &questions).await;
            tell(Event::Doing { what: format!("{slug}: {} beside it, on a copy of the data", attempt.to) });
            let rehearsed = rehearse::rehearse(self.layout, slug, attempt).await?;
            self.change(|attempt| {
                if let Some(customer) = attempt.customers.get_mut(index) {
                    (customer.before, customer.rehearsed) = (before, rehearsed);
                }
            })?;
            if let Some(reason) = golden::worse(before, rehearsed) {
                return Err(Error::Worse { slug: slug.clone(), reason });
            }
        }
        Ok(())
    }

    /// From the stop to the commit; whatever fails on the way turns back.
    async fn switch(&mut self, attempt: &Attempt, tell: Tell<'_>, cancel: &CancellationToken) -> Result<(), Error> {
        let port = self.console_port(attempt);
        let downtime = port.map(Downtime::begin);
        let switched = self.switched(attempt, tell).await;
        let away_ms = downtime.as_ref().map(Downtime::away_ms);
        self.change(|attempt| attempt.downtime_ms = away_ms)?;
        if let Err(error) = switched {
            return self.turn_back(&chain(&error));
        }
        self.enter(Stage::Watching)?;
        tell(Event::Stage { stage: Stage::Watching, from: attempt.from.clone(), to: attempt.to.clone() });
        let proven = tokio::select! {
            proven = self.proves_itself(attempt, tell) => proven,
            // The old release is put back, which is what a person who stops an update wants.
            () = cancel.cancelled() => Err(Error::Interrupted),
        };
        match proven {
            Ok(()) => self.enter(Stage::Committed),
            Err(Error::Interrupted) => self.turn_back("a person stopped it"),
            Err(error) => self.turn_back(&chain(&error)),
        }
    }

    async fn switched(&mut self, attempt: &Attempt, tell: Tell<'_>) -> Result<(), Error> {
        for customer in &attempt.customers {
            tell(Event::Doing { what: format!("{}: stopping and saving", customer.slug) });
            switch::stop_and_save(self.layout, &customer.slug).await?;
        }
        for customer in &attempt.customers {
            tell(Event::Doing { what: format!("{}: starting {}", customer.slug, attempt.to) });
            switch::start(&self.record, self.layout, &customer.slug, &mut self.state, attempt).await?;
        }
        self.change(|attempt| attempt.child = None)
    }

    async fn proves_itself(&mut self, attempt: &Attempt, tell: Tell<'_>) -> Result<(), Error> {
        let minutes = self.record.settings()?.watch_minutes;
        let new = Program { path: &attempt.program, version: &attempt.to, layout: self.layout };
        for (index, customer) in attempt.customers.iter().enumerate() {
            let slug = &customer.slug;
            // They all run meanwhile: the first one's minutes are everybody's.
            let minutes = if index == 0 { minutes } else { 0 };
            tell(Event::Doing { what: format!("{slug}: watching {} for {minutes} min", attempt.to) });
            watch(self.layout, slug, minutes).await?;
            let after = golden::ask(&new, slug, &golden::questions(&self.layout.customer(slug))?).await;
            self.change(|attempt| {
                if let Some(customer) = attempt.customers.get_mut(index) {
                    customer.after = after;
                }
            })?;
            let before = self.state.attempt.as_ref().and_then(|attempt| attempt.customers.get(index)?.before);
            if let Some(reason) = golden::worse(before, after) {
                return Err(Error::Worse { slug: slug.clone(), reason });
            }
        }
        Ok(())
    }

    /// The first customer's: the one that is away longest, since it is stopped first.
    fn console_port(&self, attempt: &Attempt) -> Option<u16> {
        let first = self.layout.customer(&attempt.customers.first()?.slug);
        let config = stack::service_config(&first).ok()?;
        Some(config.port(base::Role::Console))
    }

    fn change(&mut self, change: impl FnOnce(&mut Attempt)) -> Result<(), Error> {
        if let Some(attempt) = &mut self.state.attempt {
            change(attempt);
        }
        self.record.put(&self.state)
    }

    fn enter(&mut self, stage: Stage) -> Result<(), Error> {
        self.change(|attempt| attempt.stage = stage)
    }

    fn turn_back(&mut self, cause: &str) -> Result<(), Error> {
        self.change(|attempt| {
            attempt.stage = Stage::RollingBack;
            attempt.cause = Some(cause.to_owned());
        })
    }

    /// The release is not to be tried again until a person says so.
    fn give_up(&mut self, stage: Stage, cause: &str) -> Result<(), Error> {
        let cause = cause.to_owned();
        if let Some(attempt) = &mut self.state.attempt {
            attempt.cause = Some(cause.clone());
            self.state.held.insert(attempt.to.clone(), cause);
            self.state.approved = None;
        }
        self.end(stage)
    }

    fn end(&mut self, stage: Stage) -> Result<(), Error> {
        self.enter(stage)?;
        match &self.state.attempt {
            Some(attempt) => self.record.ended(attempt, self.clock),
            None => Ok(()),
        }
    }
}

fn runs_in_containers(layout: &Layout, slug: &Slug) -> bool {
    rehearse::runtime(&layout.customer(slug)).is_ok_and(|runtime| runtime == "docker")
}

/// Returns the error with the causes behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
