//! What is wrong with the machine itself.

use std::path::Path;
use std::time::Duration;

use base::{Clock, Layout, Timestamp, file};
use install::control::Status;
use license::Seen;

use super::{Notes, Severity};
use crate::certificate;
use crate::fingerprint::{Fingerprint, Places};

/// Less memory than this share of all is little.
const MEMORY_PERCENT: u64 = 5;
/// Processes wait for memory this much of the time, by the kernel's count of the last ten seconds.
const PRESSURE_PERCENT: f64 = 20.0;
/// Clocks of machines that ask each other differ by less.
const CLOCK_MARGIN_MS: i64 = 5 * 60 * 1000;
/// No machine this product runs on had an earlier date.
const YEAR_2026_MS: i64 = 1_767_225_600_000;
const CERTIFICATE_BYTES_MAX: u64 = 1 << 20;
/// A certificate that ends within so many days is told.
const CERTIFICATE_WARNING_DAYS: i64 = 30;

pub(super) async fn look(layout: &Layout, status: Option<&Status>, notes: &mut Notes, clock: Clock) {
    memory(notes);
    time(layout, notes, clock.now());
    authority(layout, notes, clock.now());
    notes.look_at("what changed on this machine");
    let changes = match status {
        Some(status) if !status.host.changes.is_empty() => status.host.changes.clone(),
        _ => changes(layout, clock.now()).await,
    };
    for change in changes {
        let what = "this machine is not as it was when all was last well";
        notes.add(Severity::Note, None, what, change, "nothing, unless something fails since then");
    }
}

fn memory(notes: &mut Notes) {
    notes.look_at("memory");
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    if let (Some(total), Some(available)) = (field("MemTotal:"), field("MemAvailable:"))
        && available * 100 < total * MEMORY_PERCENT
    {
        short(notes, format!("{} MB of {} MB are available", available / 1024, total / 1024));
    }
    let pressure = std::fs::read_to_string("/proc/pressure/memory").unwrap_or_default();
    if let Some(share) = stalled(&pressure).filter(|share| *share > PRESSURE_PERCENT) {
        short(notes, format!("processes waited for memory {share} % of the last ten seconds"));
    }
    let counted = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    if let Some(kills) = kills(&counted).filter(|kills| *kills > 0) {
        let seen = format!("the kernel ended {kills} processes for want of memory since this machine started");
        notes.add(
            Severity::Note,
            None,
            "memory ran out",
            seen,
            "see `dmesg | grep -i oom` for which; more memory, or fewer programs, help",
        );
    }
}

fn short(notes: &mut Notes, seen: String) {
    let remedy = "end what is not needed, or give this machine more memory";
    notes.add(Severity::Warning, None, "memory is short", seen, remedy);
}

/// The share of the last ten seconds in which some process waited (Documentation/accounting/psi.rst of the kernel).
fn stalled(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

fn time(layout: &Layout, notes: &mut Notes, now: Timestamp) {
    notes.look_at("the clock");
    let slugs = install::installed(layout).unwrap_or_default();
    let seen = slugs.iter().filter_map(|slug| Seen::load(&layout.customer(slug).seen()).ok());
    let latest = seen.map(|seen| seen.at_least(Timestamp::from_millis(i64::MIN))).max();
    let remedy = "set the clock (`timedatectl set-ntp true`, or `date`); licenses and certificates go by it";
    if let Some(latest) = latest.filter(|latest| latest.millis().saturating_sub(now.millis()) > CLOCK_MARGIN_MS) {
        let seen = format!("it says {now}, and {latest} was seen before");
        notes.add(Severity::Warning, None, "the clock is behind", seen, remedy);
    } else if now.millis() < YEAR_2026_MS {
        notes.add(Severity::Warning, None, "the clock is behind", format!("it says {now}"), remedy);
    }
}

/// The certificates of the authority that vouches for the update channel: without one that holds, no release is fetched.
fn authority(layout: &Layout, notes: &mut Notes, now: Timestamp) {
    let settings = update::Record::new(layout).settings().ok();
    let Some(path) = settings.and_then(|settings| settings.certificate_authority) else { return };
    notes.look_at("the certificate authority of the update channel");
    let remedy = "name a newer one: `0711 update configure --ca FILE`";
    let text = file::read_bounded(&path, CERTIFICATE_BYTES_MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // Several are a chain, or an old one beside its successor: the one that holds longest counts.
    let last = text.and_then(|text| certificate::ends(&text)).and_then(|ends| ends.into_iter().max());
    let name = path.display();
    let Some(last) = last else {
        let what = "the certificate authority of the update channel cannot be read";
        notes.add(Severity::Warning, None, what, name.to_string(), remedy);
        return;
    };
    match now.days_until(last) {
        ..0 => {
            let what = "the certificate authority of the update channel has ended";
            notes.add(Severity::Broken, None, what, format!("`{name}` ended at {last}"), remedy);
        }
        days @ 0..=CERTIFICATE_WARNING_DAYS => {
            let what = format!("the certificate authority of the update channel ends in {days} days");
            notes.add(Severity::Warning, None, what, format!("`{name}` ends at {last}"), remedy);
        }
        _ => {}
    }
}

async fn changes(layout: &Layout, now: Timestamp) -> Vec<String> {
    let Some(good) = Fingerprint::read(&layout.agent_fingerprint()) else { return Vec::new() };
    let own = [("the configuration", layout.etc()), ("the running state", layout.run())];
    let mut paths: Vec<_> = own.into_iter().map(|(purpose, path)| (purpose.to_owned(), path)).collect();
    for slug in install::installed(layout).unwrap_or_default() {
        paths.push((crate::look::DATA.to_owned(), layout.customer(&slug).dir().to_owned()));
    }
    let places = Places { paths, binary: layout.binary(), engine: Vec::new() };
    let taken = tokio::task::spawn_blocking(move || good.changes(&Fingerprint::take(&places, now)));
    match tokio::time::timeout(Duration::from_secs(30), taken).await {
        Ok(Ok(changes)) => changes,
        _ => vec!["it could not be looked at within 30 s: a file system or a command does not answer".to_owned()],
    }
}

/// Returns the mode of a file, without its type.
pub(super) fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).ok().map(|metadata| metadata.mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counts_are_read() {
        let pressure =
            "some avg10=31.20 avg60=2.00 avg300=0.10 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!((stalled(pressure), stalled("")), (Some(31.2), None));
        assert_eq!((kills("nr_free 1\noom_kill 3\n"), kills("")), (Some(3), None));
    }
}
