use std::path::PathBuf;

use ::bundle::release::{Lifetimes, ReleaseError, RootKeys, init, publish, rotate, sign};
use base::{Clock, Seed};
use serde_json::json;

use crate::{
    args::{ReleaseArgs, ReleaseVerb, RootKeyArgs},
    context::Context,
    failure::{During, Outcome},
    printer::bytes,
    verb::conformance,
};

/// The vendor's side: keys, roots of trust, signatures, channels.
pub async fn run(context: &Context, args: &ReleaseArgs) -> Outcome {
    let now = Clock::system().now();
    match &args.verb {
        ReleaseVerb::Keygen { out } => {
            Seed::generate().map_err(ReleaseError::from)?.write_new(out).map_err(ReleaseError::from)?;
            context.printer.note(format!("private key: {} (keep it offline; nobody can make it again)", out.display()));
            Ok(())
        }
        ReleaseVerb::Init { trust, keys } => {
            let (root, release) = (seeds(&keys.root_keys)?, seeds(&keys.release_keys)?);
            let of = RootKeys { root: &root, threshold: keys.threshold, release: &release };
            let path = init(trust, of, lifetimes(keys), now).await?;
            made(context, &path)
        }
        ReleaseVerb::Rotate { trust, old_root_keys, keys } => {
            let (old, root) = (seeds(old_root_keys)?, seeds(&keys.root_keys)?);
            let release = seeds(&keys.release_keys)?;
            let of = RootKeys { root: &root, threshold: keys.threshold, release: &release };
            let path = rotate(trust, &old, of, lifetimes(keys), now).await?;
            made(context, &path)
        }
        ReleaseVerb::Sign { trust, bundle, keys, days } => {
            let lifetimes = Lifetimes { release_days: *days, ..Lifetimes::default() };
            let release = sign(trust, bundle, &seeds(keys)?, lifetimes, now).await?;
            if context.printer.json {
                return context.printer.value(&json!({"bundle": bundle, "version": release.version, "days": days}));
            }
            context.printer.line(format!(
                "{}: release {} is signed for {days} days",
                bundle.display(),
                release.version
            ));
            Ok(())
        }
        ReleaseVerb::ConformanceClient(args) => conformance::run(args).await,
        ReleaseVerb::Publish { bundle, to, since } => {
            let (from, into, since) = (bundle.clone(), to.clone(), since.clone());
            let work = tokio::task::spawn_blocking(move || publish(&from, &into, since.as_deref()));
            let published = work.await.during("the publishing broke off")??;
            if context.printer.json {
                return context.printer.value(&published);
            }
            context.printer.line(format!(
                "{}: release {}, {} blobs copied ({}), {} were there, {} left out",
                to.display(),
                published.version,
                published.copied,
                bytes(published.copied_bytes),
                published.present,
                published.left_out
            ));
            Ok(())
        }
    }
}

fn seeds(paths: &[PathBuf]) -> Outcome<Vec<Seed>> {
    let read = |path: &PathBuf| Seed::read(path).map_err(|error| ReleaseError::from(error).into());
    paths.iter().map(read).collect()
}

fn lifetimes(keys: &RootKeyArgs) -> Lifetimes {
    Lifetimes { root_days: keys.root_days, ..Lifetimes::default() }
}

fn made(context: &Context, path: &std::path::Path) -> Outcome {
    if context.printer.json {
        return context.printer.value(&json!({"root": path}));
    }
    context.printer.line(format!("{}: give it to customers by a way of its own", path.display()));
    Ok(())
}
