//! The clock: licenses, certificates and logs are judged by it.

use base::Timestamp;

use super::check::Check;

/// What the clock says, and what the kernel says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) now: Timestamp,
    pub(super) discipline: Discipline,
}

/// Whether something keeps the clock right (adjtimex(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discipline {
    /// A time service said so, with the largest error it expects.
    Synchronised { error_us: i64 },
    /// Nobody did, or long ago.
    Free,
    /// The kernel does not answer.
    Hidden,
}

pub(super) fn look() -> Clock {
    Clock { now: base::Clock::system().now(), discipline: discipline() }
}

fn discipline() -> Discipline {
    // SAFETY: the structure is plain numbers, for which zero is a value; `modes` 0 asks and changes nothing.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    match state {
        -1 => Discipline::Hidden,
        _ if state == libc::TIME_ERROR || timex.status & libc::STA_UNSYNC != 0 => Discipline::Free,
        _ => Discipline::Synchronised { error_us: timex.maxerror },
    }
}

/// 2026-01-01: this program was not there before.
const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// 2100-01-01: more likely a dead battery or a typing error than the truth.
const LATEST: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// `clock.sane` and `clock.synchronised`; `latest_seen` is the latest time this installation has seen.
pub(super) fn clock(clock: Clock, latest_seen: Option<Timestamp>) -> Vec<Check> {
    vec![sane(clock.now, latest_seen), synchronised(clock.discipline)]
}

fn sane(now: Timestamp, latest_seen: Option<Timestamp>) -> Check {
    let id = "clock.sane";
    let remedy = "set it: `date -u -s '2026-11-22 10:00'` and `hwclock --systohc`";
    if now < EARLIEST {
        return Check::failed(id, format!("{now}, before this program was made"), remedy);
    }
    if now > LATEST {
        return Check::failed(id, format!("{now}, too far ahead to be true"), remedy);
    }
    match latest_seen {
        Some(latest) if latest > now.plus_days(1) => {
            Check::warning(id, format!("{now}, and this installation has already seen {latest}"), remedy)
        }
        _ => Check::ok(id, now.to_string()),
    }
}

fn synchronised(discipline: Discipline) -> Check {
    let id = "clock.synchronised";
    match discipline {
        Discipline::Synchronised { error_us } => {
            Check::ok(id, format!("a time service keeps it, within {} ms", error_us.max(0) / 1000))
        }
        Discipline::Free => Check::warning(
            id,
            "no time service keeps it",
            "run one against a time server of your own network (`chrony`, or `timedatectl set-ntp true`)",
        ),
        Discipline::Hidden => Check::unknown(id, "the kernel does not say", "see `timedatectl`"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Failed, Ok, Unknown, Warning};
    use super::*;

    #[test]
    fn a_dead_battery_and_a_clock_set_back_are_seen() {
        let at = |text| Timestamp::parse(text).unwrap();
        assert_eq!((EARLIEST, LATEST), (at("2026-01-01T00:00:00Z"), at("2100-01-01T00:00:00Z")));
        assert_eq!(sane(Timestamp::from_millis(0), None).verdict, Failed);
        assert_eq!(sane(at("2025-12-31T23:59:59Z"), None).verdict, Failed);
        assert_eq!(sane(at("2100-01-01T00:00:01Z"), None).verdict, Failed);
        let now = at("2026-11-22T10:00:00Z");
        assert_eq!(sane(now, None).verdict, Ok);
        assert_eq!(sane(now, Some(at("2026-11-22T22:00:00Z"))).verdict, Ok, "hours are no reason to worry");
        let back = sane(now, Some(at("2026-12-01T00:00:00Z")));
        assert_eq!((back.verdict, back.seen.contains("2026-12-01")), (Warning, true), "{}", back.seen);
    }

    #[test]
    fn a_free_clock_is_worth_a_word() {
        let verdict = |discipline| synchronised(discipline).verdict;
        assert_eq!(verdict(Discipline::Synchronised { error_us: 9_000 }), Ok);
        assert_eq!(verdict(Discipline::Free), Warning);
        assert_eq!(verdict(Discipline::Hidden), Unknown);
    }

    #[test]
    fn the_clock_of_this_machine_is_read() {
        let found = look();
        assert!(found.now > EARLIEST, "{found:?}");
    }
}
