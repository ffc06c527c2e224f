//! Stop, save, and start as the new release.

use base::{Layout, Slug};

use crate::program::Program;
use crate::rehearse::runtime;
use crate::snapshot::Snapshot;
use crate::{Attempt, Error, Record, State, way_back};

/// Stops a customer's stack and saves it. From here on it is down until [`start`] or the way back has ended.
pub(crate) async fn stop_and_save(layout: &Layout, slug: &Slug) -> Result<(), Error> {
    way_back::stop(layout, slug).await?;
    let (layout, slug) = (layout.clone(), slug.clone());
    let save = move || Snapshot::of(layout.customer(&slug)).take();
    let saved = tokio::task::spawn_blocking(save).await;
    saved.map_err(|error| Error::File {
        act: "save",
        path: "the stack".into(),
        source: std::io::Error::other(error),
    })?
}

/// Installs the new release for a customer, up to the moment when every service is ready.
pub(crate) async fn start(
    record: &Record,
    layout: &Layout,
    slug: &Slug,
    state: &mut State,
    attempt: &Attempt,
) -> Result<(), Error> {
    let program = Program { path: &attempt.program, version: &attempt.to, layout };
    let customer = layout.customer(slug);
    let (answers, license) = (customer.answers().display().to_string(), customer.license().display().to_string());
    let bundle = attempt.bundle.display().to_string();
    let runtime = runtime(&customer)?;
    let install = [
        "--slug",
        slug.as_str(),
        "install",
        "--answers",
        &answers,
        "--license",
        &license,
        "--bundle",
        &bundle,
        "--runtime",
        runtime,
        "--until-ready",
        "--yes",
        "--json",
    ];
    let roots = attempt.root_words();
    let install: Vec<&str> = install.into_iter().chain(roots.iter().map(String::as_str)).collect();
    let note = &mut |child| {
        // Whoever finds the switch broken off ends this program before going back.
        if let Some(attempt) = &mut state.attempt {
            attempt.child = Some(child);
        }
        record.put(state)
    };
    program.run_noted(&install, note).await.map(drop)
}

/// Does what the new release can do while it serves: reads what changed, and writes the receipt.
pub(crate) async fn finish(layout: &Layout, slug: &Slug, attempt: &Attempt) -> Result<(), Error> {
    let program = Program { path: &attempt.program, version: &attempt.to, layout };
    program.run(&["--slug", slug.as_str(), "install", "--resume", "--yes", "--json", "--wait"]).await.map(drop)
}
