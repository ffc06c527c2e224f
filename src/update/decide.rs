use base::Timestamp;
use jiff::Zoned;
use semver::Version;

use crate::{Policy, Settings, State};

/// A release that is offered, and what counts for or against it.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// What is installed.
    pub installed: &'a Version,
    /// What is offered; its signatures were checked.
    pub offered: &'a Version,
    /// The release's channel.
    pub channel: &'a str,
    /// The oldest program that can install it.
    pub minimum_agent: &'a Version,
    /// The program that runs.
    pub agent: &'a Version,
    /// Channels the license allows, of every customer here.
    pub channels: &'a [String],
    /// Whether every license here allows updates just now: it is in force, or in its grace.
    pub is_licensed: bool,
    /// Whether every license allows updates without a person.
    pub is_automatic_licensed: bool,
    /// A person stands behind this run.
    pub is_asked: bool,
    /// The latest time ever seen.
    pub now: Timestamp,
    /// The same in the machine's zone, for the window.
    pub local: &'a Zoned,
}

/// What to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is installed already, or older.
    UpToDate,
    /// The license does not allow it.
    NotLicensed(String),
    /// It went wrong here, or a person does not want it.
    Held(String),
    /// The program that runs cannot install it; one in between must come first.
    NeedsNewerAgent,
    /// A person must say yes.
    NeedsApproval,
    /// It was seen too short a time ago.
    Waits {
        /// From then on.
        until: Timestamp,
    },
    /// Prepare it; it is installed when the window opens.
    PrepareOnly,
    /// Install it.
    Go,
}

/// Decides. The same offer at the same time gives the same decision.
pub fn decide(settings: &Settings, state: &State, offer: &Offer<'_>) -> Decision {
    if offer.offered <= offer.installed {
        return Decision::UpToDate;
    }
    if !offer.is_licensed {
        return Decision::NotLicensed("the license has ended, and with it updates".to_owned());
    }
    if !offer.channels.iter().any(|channel| channel == offer.channel) {
        return Decision::NotLicensed(format!("the license does not allow the channel `{}`", offer.channel));
    }
    if let Some(reason) = state.held.get(offer.offered) {
        return Decision::Held(reason.clone());
    }
    if offer.agent < offer.minimum_agent {
        return Decision::NeedsNewerAgent;
    }
    let is_approved = offer.is_asked || state.approved.as_ref() == Some(offer.offered);
    if !is_approved {
        if settings.policy != Policy::Automatic || !offer.is_automatic_licensed {
            return Decision::NeedsApproval;
        }
        let first = state.seen.get(offer.offered).copied().unwrap_or(offer.now);
        let until = first.plus_days(i64::from(settings.wait_days));
        if offer.now < until {
            return Decision::Waits { until };
        }
    }
    // Whoever types the command is there to see it; everything else keeps to the window.
    match &settings.window {
        Some(window) if !offer.is_asked && !window.contains(offer.local) => Decision::PrepareOnly,
        _ => Decision::Go,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decides about 0.2.0 over 0.1.0 on Saturday, 2026-11-28, 12:00, after `change`.
    fn check(change: impl FnOnce(&mut Settings, &mut State, &mut Offer<'_>), expect: Decision) {
        let (old, new): (Version, Version) = ("0.1.0".parse().unwrap(), "0.2.0".parse().unwrap());
        let local: Zoned = "2026-11-28T12:00[Europe/Berlin]".parse().unwrap();
        let channels = ["stable".to_owned()];
        let (mut settings, mut state) = (Settings::default(), State::default());
        settings.policy = Policy::Automatic;
        let mut offer = Offer {
            installed: &old,
            offered: &new,
            channel: "stable",
            minimum_agent: &old,
            agent: &old,
            channels: &channels,
            is_licensed: true,
            is_automatic_licensed: true,
            is_asked: false,
            now: Timestamp::from_millis(local.timestamp().as_millisecond()),
            local: &local,
        };
        change(&mut settings, &mut state, &mut offer);
        assert_eq!(decide(&settings, &state, &offer), expect);
    }

    #[test]
    fn a_newer_release_is_installed_when_nothing_speaks_against_it() {
        check(|_, _, _| (), Decision::Go);
        check(|_, _, offer| offer.offered = offer.installed, Decision::UpToDate);
        let newer: Version = "0.9.0".parse().unwrap();
        check(|_, _, offer| offer.installed = Box::leak(Box::new(newer)), Decision::UpToDate);
    }

    #[test]
    fn the_license_counts_also_for_a_person() {
        let ended = "the license has ended, and with it updates".to_owned();
        check(|_, _, offer| (offer.is_licensed, offer.is_asked) = (false, true), Decision::NotLicensed(ended));
        let other = "the license does not allow the channel `beta`".to_owned();
        check(|_, _, offer| offer.channel = "beta", Decision::NotLicensed(other));
        check(|_, _, offer| offer.is_automatic_licensed = false, Decision::NeedsApproval);
    }

    #[test]
    fn what_was_taken_back_stays_away_until_let_go() {
        let hold = |state: &mut State| state.held.insert("0.2.0".parse().unwrap(), "it crashed".to_owned());
        check(|_, state, offer| _ = (hold(state), offer.is_asked = true), Decision::Held("it crashed".to_owned()));
    }

    #[test]
    fn policies_windows_and_waiting() {
        check(|settings, _, _| settings.policy = Policy::Approve, Decision::NeedsApproval);
        check(|settings, _, _| settings.policy = Policy::Manual, Decision::NeedsApproval);
        check(
            |settings, state, _| {
                settings.policy = Policy::Approve;
                state.approved = Some("0.2.0".parse().unwrap());
            },
            Decision::Go,
        );
        check(
            |settings, state, _| {
                settings.policy = Policy::Approve;
                state.approved = Some("0.1.9".parse().unwrap());
            },
            Decision::NeedsApproval,
        );
        let night = || Some("22:00-04:00".parse().unwrap());
        check(|settings, _, _| settings.window = night(), Decision::PrepareOnly);
        check(|settings, _, offer| (settings.window, offer.is_asked) = (night(), true), Decision::Go);
        let seen = Timestamp::parse("2026-11-27T12:00:00Z").unwrap();
        check(
            |settings, state, _| {
                settings.wait_days = 3;
                state.seen.insert("0.2.0".parse().unwrap(), seen);
            },
            Decision::Waits { until: seen.plus_days(3) },
        );
        check(
            |settings, state, _| {
                settings.wait_days = 1;
                state.seen.insert("0.2.0".parse().unwrap(), Timestamp::parse("2026-11-20T12:00:00Z").unwrap());
            },
            Decision::Go,
        );
    }

    #[test]
    fn an_agent_that_is_too_old_says_so() {
        let newer: Version = "0.1.5".parse().unwrap();
        check(|_, _, offer| offer.minimum_agent = Box::leak(Box::new(newer)), Decision::NeedsNewerAgent);
    }
}
