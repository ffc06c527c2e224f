//! What is asked, of whom, and how long each may take.

mod engine;
mod files;
mod logs;
mod machine;

use std::{path::PathBuf, time::Duration};

use base::{Clock, Layout, Slug, Timestamp};
use install::control::Client;

use crate::gather::{Piece, Round};
use crate::names::Names;
use crate::pack::Collected;
use crate::secret::Secrets;
use crate::{Collector, Error, How};

/// What a bundle is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where.
    pub layout: Layout,
    /// Whose.
    pub slug: Slug,
    /// Log lines from this moment on.
    pub since: Timestamp,
    /// Bytes of all files together, before they are compressed.
    pub bytes_max: u64,
    /// Names of documents stay in.
    pub with_names: bool,
    /// What the machine is judged by.
    pub wanted: Option<host::Wanted>,
    /// The program that runs.
    pub binary: PathBuf,
    /// Files the caller adds, which have known fields.
    pub more: Vec<(String, Vec<u8>)>,
    pub clock: Clock,
}

const QUICK: Duration = Duration::from_secs(6);
const SLOW: Duration = Duration::from_secs(15);

/// Collects a bundle: asking takes half a minute at most, whatever hangs. Searching what was found comes on top.
///
/// # Errors
/// [`Error::Secret`] when a secret is in what was found; [`Error::SecretUnreadable`] and [`Error::SecretsUnlisted`] when it cannot be
/// known what to look for. What does not answer is no error: the manifest says so.
pub async fn collect(options: Options) -> Result<Collected, Error> {
    let customer = options.layout.customer(&options.slug);
    // Before anything is read that could hold one.
    let secrets = Secrets::of(&options.layout, &customer)?;
    let config = stack::service_config(&customer).ok();
    let names = Names::of(config.as_ref());

    let mut round = Round::default();
    let (layout, folders) =
        (options.layout.clone(), config.as_ref().map(|config| config.folders.clone()).unwrap_or_default());
    round.look("host", QUICK, move || machine::facts(&layout, &folders));
    if let Some(wanted) = options.wanted.clone() {
        round.look("preflight", SLOW, move || Ok(vec![Piece::json("host/preflight.json", &host::preflight(&wanted))?]));
    }
    let (layout, slug, with_names) = (options.layout.clone(), options.slug.clone(), options.with_names);
    round.look("files", QUICK, move || files::collect(&layout, &layout.customer(&slug), with_names));
    let (layout, binary, of) = (options.layout.clone(), options.binary.clone(), config.clone());
    round.look("versions", SLOW, move || machine::versions(&layout, &binary, of.as_ref()));
    let client = Client::new(&options.layout);
    let since = options.since;
    round.ask("agent", QUICK, async move { agent(&client, since).await });
    round.ask("docker version", QUICK, engine::version());
    round.ask("docker compose", QUICK, engine::compose_version());
    if let Some(containers) = config.as_ref().and_then(|config| config.containers.clone()) {
        round.ask("containers", QUICK, engine::containers(containers.clone()));
        round.ask("what containers printed", QUICK, engine::output(containers));
    }
    let (layout, slug) = (options.layout.clone(), options.slug.clone());
    let runtime = tokio::runtime::Handle::current();
    round.look("disk", QUICK, move || runtime.block_on(machine::disk(&layout, &slug)));
    let (layout, slug) = (options.layout.clone(), options.slug.clone());
    round.look("audit", QUICK, move || {
        let verdicts = audit::verify_customer(&layout, &layout.customer(&slug), &Default::default(), Vec::new());
        Ok(vec![Piece::json("audit/verify.json", &verdicts.map_err(|error| error.to_string())?)?])
    });
    let (mut collectors, mut pieces) = round.run().await;
    pieces.splice(0..0, options.more.iter().map(|(path, bytes)| Piece::known(path, bytes.clone())));

    let taken: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    let room = usize::try_from(options.bytes_max).unwrap_or(usize::MAX).saturating_sub(taken);
    let mut round = Round::default();
    let (layout, slug) = (options.layout.clone(), options.slug.clone());
    round.look("logs", SLOW, move || logs::collect(&layout, &layout.customer(&slug), since, room));
    let (of_logs, logs) = round.run().await;
    collectors.extend(of_logs);
    pieces.extend(logs);

    let search = tokio::task::spawn_blocking(move || Collected::new(&options, &secrets, &names, collectors, pieces));
    search.await.map_err(|error| Error::Pack(std::io::Error::other(error)))?
}

async fn agent(client: &Client, since: Timestamp) -> crate::gather::Said {
    let status = client.status().await.map_err(|error| error.to_string())?;
    let mut pieces = vec![Piece::json("agent/status.json", &status)?];
    let events = client.events(0).await.map_err(|error| error.to_string())?;
    let events: Vec<_> = events.into_iter().filter(|event| event.at >= since).collect();
    // What went wrong is told in words.
    pieces.push(Piece { is_free: true, ..Piece::json("agent/events.json", &events)? });
    Ok(pieces)
}

impl Collector {
    /// Returns how it went in a few words.
    pub fn describe(&self) -> String {
        match &self.how {
            How::Ok => "ok".to_owned(),
            How::Failed { reason } => reason.clone(),
            How::TimedOut { after_seconds } => format!("no answer within {after_seconds} s"),
        }
    }
}
