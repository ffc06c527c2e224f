use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ::bundle::{
    ProxyAddress, WebOptions,
    release::{self, Channel, ChannelOptions, Claim, Expiry, Facts, Fetched, Fetching, Offer, Present},
};
use base::{Clock, Exit, file, job};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    args::FetchArgs,
    context::Context,
    failure::{During, Failure, Outcome},
    printer::bytes,
    progress::Progress,
    verb::{bundle::trusted_roots, models::megabytes},
};

const MAX_AUTHORITY_BYTES: u64 = 1 << 20;

/// Fetches the newest release of a channel into a folder.
pub async fn run(context: &Context, args: &FetchArgs, interrupt: CancellationToken) -> Outcome {
    let receipt = context.installed().ok().and_then(|(customer, _)| ::install::read_receipt(&customer).ok().flatten());
    let installed = receipt.and_then(|receipt| receipt.version.parse().ok());
    let expiry = args.online.then_some(Expiry::Refuse);
    let options = ChannelOptions { installed, expiry, ..options(context, &args.roots, web(args)?)? };
    let channel = Channel::open(&args.channel, options)?;
    let present = Present { folders: args.have.clone(), ..Present::default() };
    let offer = look(context, &channel, &present).await?;
    let fetched = bring(context, &offer, &args.out, &present, Vec::new(), &interrupt).await?;
    let facts = offer.facts(&present);
    if context.printer.json {
        return context.printer.value(&json!({
            "bundle": args.out, "facts": facts, "fetched_blobs": fetched.fetched_blobs,
            "fetched_bytes": fetched.fetched_bytes, "taken_blobs": fetched.taken_blobs,
        }));
    }
    let (out, version) = (args.out.display(), facts.version);
    context.printer.line(format!("{out}: release {version}; install it with `0711 install --bundle {out}`"));
    Ok(())
}

/// How a channel is judged on this machine.
pub fn options(context: &Context, roots: &[PathBuf], web: WebOptions) -> Outcome<ChannelOptions> {
    Ok(ChannelOptions {
        roots: trusted_roots(&context.layout, roots)?,
        seen: context.layout.release_seen(),
        installed: None,
        expiry: None,
        now: Clock::system().now(),
        web,
    })
}

/// Asks a channel what it offers.
pub async fn look<'a>(context: &Context, channel: &'a Channel, present: &Present) -> Outcome<Offer<'a>> {
    let printer = context.printer;
    let looking = Progress::start(printer, "asking the channel");
    let offer = match channel.refresh().await {
        Ok(offer) => offer,
        Err(error) => {
            looking.abandon();
            return Err(error.into());
        }
    };
    let facts = offer.facts(present);
    looking.finish(&describe(&facts));
    if facts.is_expired && !printer.json {
        printer.note(format!("  its metadata expired on {}: ask the maker for a newer one", facts.expires_ms));
    }
    Ok(offer)
}

/// Brings what is missing, until it is all there or somebody stops it. `claims` are what else is going to be needed of the disks.
pub async fn bring(
    context: &Context,
    offer: &Offer<'_>,
    out: &Path,
    present: &Present,
    claims: Vec<Claim>,
    interrupt: &CancellationToken,
) -> Outcome<Fetched> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let fetching = Fetching { threads, claims, ..Fetching::default() };
    let progress = Mutex::new(Progress::start(context.printer, "fetching"));
    let watch = |now: release::Progress| {
        let shown = job::Progress { eta_seconds: now.eta_seconds, ..megabytes(now.done_bytes, now.total_bytes) };
        progress.lock().unwrap_or_else(PoisonError::into_inner).update(&shown);
    };
    let fetched = tokio::select! {
        fetched = offer.fetch(out, present, &fetching, &watch, &|_| ()) => fetched.map_err(Failure::from),
        // Cancel-safe: a part keeps what came, and the next run begins behind it.
        () = interrupt.cancelled() => Err(Failure::new(Exit::Interrupted, "stopped; what was fetched is kept")
            .remedy("the same command goes on from there")),
    };
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    match fetched {
        Ok(fetched) => {
            let came = format!("{} blobs, {}", fetched.fetched_blobs, bytes(fetched.fetched_bytes));
            progress.finish(&format!("{came}; every signature and every blob holds"));
            Ok(fetched)
        }
        Err(failure) => {
            progress.abandon();
            Err(failure)
        }
    }
}

fn describe(facts: &Facts) -> String {
    let newer = if facts.is_newer { "" } else { ", which is installed" };
    format!(
        "release {} ({}){newer}, {} of {} are missing",
        facts.version,
        facts.channel,
        bytes(facts.missing_bytes),
        bytes(facts.size_bytes)
    )
}

fn web(args: &FetchArgs) -> Outcome<WebOptions> {
    let authorities = args.authorities.iter().map(|path| authority(path)).collect::<Outcome<_>>()?;
    Ok(WebOptions { proxy: proxy(args)?, authorities, limit_rate: args.limit_rate, ..WebOptions::default() })
}

/// Reads the certificate of an authority.
pub fn authority(path: &Path) -> Outcome<Vec<u8>> {
    file::read_bounded(path, MAX_AUTHORITY_BYTES).during(format!("cannot use the authority `{}`", path.display()))
}

/// The proxy that was typed, or the environment's.
fn proxy(args: &FetchArgs) -> Outcome<Option<ProxyAddress>> {
    let Some(named) = &args.proxy else { return environment_proxy(&args.channel) };
    let proxy = named_proxy(named)?;
    // Every user of this machine can read the words of a command.
    match proxy.has_password() {
        false => Ok(Some(proxy)),
        true => Err(Failure::new(Exit::Usage, "a proxy's password on the command line can be read by others")
            .remedy("put the whole address into the variable `https_proxy` instead")),
    }
}

/// Reads a proxy's address.
pub fn named_proxy(named: &str) -> Outcome<ProxyAddress> {
    ProxyAddress::parse(named)
        .map_err(|reason| Failure::new(Exit::Usage, format!("the proxy cannot be used: {reason}")))
}

/// Returns the proxy the environment names for this address.
pub fn environment_proxy(address: &str) -> Outcome<Option<ProxyAddress>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let excepted = variable("no_proxy").or_else(|| variable("NO_PROXY")).unwrap_or_default();
    if !address.starts_with("https://") || is_excepted(address, &excepted) {
        return Ok(None);
    }
    let named = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"].into_iter().find_map(variable);
    named.map(|named| named_proxy(&named)).transpose()
}

/// Whether `no_proxy` names the address's host, or a domain it is in.
fn is_excepted(address: &str, excepted: &str) -> bool {
    let host = address.split("://").nth(1).and_then(|rest| rest.split(['/', '?']).next()).unwrap_or("");
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    excepted.split(',').map(|name| name.trim().trim_start_matches('.')).filter(|name| !name.is_empty()).any(|name| {
        name == "*"
            || host.eq_ignore_ascii_case(name)
            || host.to_ascii_lowercase().ends_with(&format!(".{}", name.to_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_hosts_and_domains() {
        for (address, excepted, expect) in [
            ("https://updates.example.com/stable", "example.com", true),
            ("https://updates.example.com:8443/stable", "other, .example.com", true),
            ("https://updates.example.com", "ample.com", false),
            ("https://[::1]:8443/x", "::1", true),
            ("https://updates.example.com", "", false),
            ("https://updates.example.com", "*", true),
        ] {
            assert_eq!(is_excepted(address, excepted), expect, "{address} {excepted}");
        }
    }
}
