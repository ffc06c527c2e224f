use std::fmt;
use std::str::FromStr;

use jiff::Zoned;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};

/// When a stack may be stopped: `22:00-04:00`, or only on some days, `Sa,So 01:00-05:00`, by the machine's own clock and zone.
///
/// A window that passes midnight belongs to the day on which it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// Monday is 0; none means every day.
    days: Vec<i8>,
    from: Time,
    until: Time,
}

/// What a window looks like.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no window: write `22:00-04:00`, or `Sat,Sun 01:00-05:00`")]
pub struct WindowError(String);

/// In the order of the week; German ones are understood too.
const DAYS: [[&str; 2]; 7] =
    [["mon", "mo"], ["tue", "di"], ["wed", "mi"], ["thu", "do"], ["fri", "fr"], ["sat", "sa"], ["sun", "so"]];

impl Window {
    /// Returns whether `now` lies in the window.
    pub fn contains(&self, now: &Zoned) -> bool {
        let (time, today) = (now.time(), now.weekday().to_monday_zero_offset());
        let is_day = |day: i8| self.days.is_empty() || self.days.contains(&day);
        if self.from <= self.until {
            return is_day(today) && self.from <= time && time < self.until;
        }
        let yesterday = (today + 6) % 7;
        (is_day(today) && time >= self.from) || (is_day(yesterday) && time < self.until)
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let refused = || WindowError(text.to_owned());
        let (days, times) = match text.trim().rsplit_once(' ') {
            Some((days, times)) => (days, times),
            None => ("", text.trim()),
        };
        let day = |name: &str| {
            let name = name.trim().to_lowercase();
            let found = DAYS.iter().position(|names| names.contains(&name.as_str()));
            found.and_then(|index| i8::try_from(index).ok()).ok_or_else(refused)
        };
        let days: Vec<i8> =
            days.split(',').filter(|name| !name.trim().is_empty()).map(day).collect::<Result<_, _>>()?;
        let (from, until) = times.split_once('-').ok_or_else(refused)?;
        let time = |text: &str| Time::strptime("%H:%M", text.trim()).map_err(|_| refused());
        let (from, until) = (time(from)?, time(until)?);
        // A window of no length would never open, one of a whole day is none.
        if from == until { Err(refused()) } else { Ok(Self { days, from, until }) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.days.iter().filter_map(|day| Some(DAYS.get(usize::try_from(*day).ok()?)?[0]));
        let days = names.collect::<Vec<_>>().join(",");
        if !days.is_empty() {
            write!(f, "{days} ")?;
        }
        write!(f, "{}-{}", self.from.strftime("%H:%M"), self.until.strftime("%H:%M"))
    }
}

impl TryFrom<String> for Window {
    type Error = WindowError;

    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Zoned {
        format!("{text}[Europe/Berlin]").parse().unwrap()
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_begins() {
        // 2026-11-28 is a Saturday.
        let window: Window = "Sa 22:00-04:00".parse().unwrap();
        for (time, is_in) in [
            ("2026-11-28T21:59", false),
            ("2026-11-28T22:00", true),
            ("2026-11-29T03:59", true),
            ("2026-11-29T04:00", false),
            ("2026-11-29T23:00", false),
            ("2026-11-28T03:00", false),
        ] {
            assert_eq!(window.contains(&at(time)), is_in, "{time}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["22:00-04:00", "sat,sun 01:00-05:30"] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
        }
        for text in ["", "22:00", "22:00-22:00", "25:00-26:00", "Xy 01:00-02:00"] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
