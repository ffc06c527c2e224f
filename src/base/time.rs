use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 86_400_000;

/// A moment: milliseconds since 1970-01-01 UTC. On disk and wire it is that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// A text is not a moment in RFC 3339.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a time like 2026-11-22T10:00:00Z")]
pub struct TimeParseError(String);

impl Timestamp {
    /// Wraps milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns milliseconds since 1970-01-01 UTC.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339 (`2026-11-22T10:00:00Z`).
    pub fn parse(text: &str) -> Result<Self, TimeParseError> {
        let parsed: Result<jiff::Timestamp, _> = text.parse();
        parsed.map(|at| Self(at.as_millisecond())).map_err(|_| TimeParseError(text.chars().take(60).collect()))
    }

    /// Returns the moment `days` later, saturating at the ends of time.
    pub const fn plus_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(days.saturating_mul(DAY_MS)))
    }

    /// Returns whole days from `self` to `later`, rounded towards the past; negative when `later` is earlier.
    pub const fn days_until(self, later: Self) -> i64 {
        later.0.saturating_sub(self.0).div_euclid(DAY_MS)
    }

    /// Returns the UTC date as `20261122`, for folder names.
    pub fn date_compact(self) -> String {
        self.to_string().chars().take(10).filter(char::is_ascii_digit).collect()
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, whole seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0.div_euclid(1000).saturating_mul(1000)) {
            Ok(at) => write!(f, "{at}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// Tells the time. Everything that depends on "now" takes one, so that a test can fix it, or make it jump.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Hands);

#[derive(Clone, Copy, Debug)]
enum Hands {
    System,
    Fixed(Timestamp),
    Moved(&'static AtomicI64),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Hands::System)
    }

    /// A clock that stands still at `at`.
    pub const fn fixed(at: Timestamp) -> Self {
        Self(Hands::Fixed(at))
    }

    /// A clock that goes, and is ahead of the machine's by what stands in `ahead_ms` just then: negative, it is behind.
    pub const fn moved(ahead_ms: &'static AtomicI64) -> Self {
        Self(Hands::Moved(ahead_ms))
    }

    /// Returns the present moment.
    pub fn now(&self) -> Timestamp {
        match self.0 {
            Hands::System => system_now(),
            Hands::Fixed(at) => at,
            Hands::Moved(ahead_ms) => Timestamp(system_now().0.saturating_add(ahead_ms.load(Ordering::Relaxed))),
        }
    }
}

fn system_now() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        Err(before) => Timestamp(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
    }
}

/// Moments as RFC 3339, in what people read: `#[serde(with = "base::rfc3339")]`.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Timestamp;

    /// Writes `2026-11-22T10:00:00Z`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    /// Reads what [`serialize`] wrote.
    ///
    /// # Errors
    /// For a text that is no moment.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_parse_and_show() {
        let at = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
        assert_eq!(at.to_string(), "2026-11-22T10:00:00Z");
        assert_eq!(at.date_compact(), "20261122");
        assert_eq!(at.plus_days(10).to_string(), "2026-12-02T10:00:00Z");
        assert_eq!(at.days_until(at.plus_days(10)), 10);
        assert_eq!(at.days_until(at.plus_days(-1)), -1);
        assert!(Timestamp::parse("tomorrow").is_err());
    }

    #[test]
    fn a_moved_clock_goes_on_from_where_it_jumped_to() {
        static AHEAD_MS: AtomicI64 = AtomicI64::new(0);
        let (clock, before) = (Clock::moved(&AHEAD_MS), Clock::system().now());
        assert!((0..1000).contains(&(clock.now().millis() - before.millis())));
        AHEAD_MS.store(-10 * DAY_MS, Ordering::Relaxed);
        assert_eq!(before.days_until(clock.now()), -10);
        AHEAD_MS.store(i64::MAX, Ordering::Relaxed);
        assert_eq!(clock.now().millis(), i64::MAX);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let far = Timestamp::from_millis(i64::MAX).plus_days(1);
        assert_eq!(far.millis(), i64::MAX);
        assert!(far.to_string().ends_with("ms"));
    }
}
