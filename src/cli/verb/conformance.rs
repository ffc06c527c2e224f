//! The update client behind the command line that the public conformance suite of TUF drives. Exit codes are 0 and 1.

use std::fmt::Display;

use ::bundle::{
    Web, WebOptions,
    tuf::{Client, Limits, OnExpiry, Store, quoted},
};
use base::{Clock, Exit, Timestamp, file};

use crate::{
    args::{ConformanceArgs, ConformanceVerb},
    failure::{Failure, Outcome},
};

const MAX_ROOT_BYTES: u64 = 512 << 10;
const MAX_TARGET_BYTES: u64 = 64 << 20;

/// Runs one of the suite's commands.
pub async fn run(args: &ConformanceArgs) -> Outcome {
    match &args.verb {
        ConformanceVerb::Init { trusted_root } => {
            let root = file::read_bounded(trusted_root, MAX_ROOT_BYTES).map_err(failed)?;
            file::private_dir(&args.metadata_dir).map_err(failed)?;
            file::write_atomic(&args.metadata_dir.join("root.json"), &root, 0o600).map_err(failed)
        }
        ConformanceVerb::Refresh => {
            let web = web(args)?;
            client(args, &web)?.refresh().await.map_err(failed)
        }
        ConformanceVerb::Download => download(args).await,
    }
}

async fn download(args: &ConformanceArgs) -> Outcome {
    let web = web(args)?;
    let mut client = client(args, &web)?;
    client.refresh().await.map_err(failed)?;
    let name = args.target_name.as_deref().ok_or_else(|| failed("--target-name is missing"))?;
    let dir = args.target_dir.as_deref().ok_or_else(|| failed("--target-dir is missing"))?;
    let target = client.target(name).await.map_err(failed)?;
    let target = target.ok_or_else(|| failed("nobody who may names this target"))?;
    let path = dir.join(quoted(name));
    if file::read_bounded(&path, MAX_TARGET_BYTES).is_ok_and(|bytes| target.has_bytes(&bytes)) {
        return Ok(());
    }
    let bytes = client.read_target(name, &target, MAX_TARGET_BYTES).await.map_err(failed)?;
    file::write_atomic(&path, &bytes, 0o644).map_err(failed)
}

fn web(args: &ConformanceArgs) -> Outcome<Web> {
    let metadata = args.metadata_url.as_deref().ok_or_else(|| failed("--metadata-url is missing"))?;
    let targets = args.target_base_url.as_deref().unwrap_or(metadata);
    Web::new(metadata, targets, &WebOptions::default()).map_err(failed)
}

/// The root is the one `init` put there.
fn client<'a>(args: &ConformanceArgs, web: &'a Web) -> Outcome<Client<'a, Web>> {
    let store = Store::open(&args.metadata_dir).map_err(failed)?;
    Client::new(web, store, b"", now(), OnExpiry::Refuse, Limits::default()).map_err(failed)
}

/// The suite moves the time with `faketime`, which cannot reach into a static program; its variable says by how much.
fn now() -> Timestamp {
    let now = Clock::system().now();
    let offset = std::env::var("FAKETIME").ok().and_then(|text| text.parse::<i64>().ok());
    offset.map_or(now, |seconds| Timestamp::from_millis(now.millis().saturating_add(seconds.saturating_mul(1000))))
}

fn failed(reason: impl Display) -> Failure {
    Failure::new(Exit::Failed, reason.to_string())
}
