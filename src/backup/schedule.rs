//! Where and when the agent makes backups: `backup.yaml` beside the license. Written by `0711 backup schedule`, and by people.

use base::{CustomerLayout, Timestamp, file};
use serde::{Deserialize, Serialize};

use crate::{Error, Memory, retention::Keep};

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 64 << 10;
const HOUR_MS: i64 = 3_600_000;
/// A backup that failed is tried again after so long: the stick may be in by then.
const RETRY_MS: i64 = HOUR_MS;

/// A daily backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Version of this format: 1.
    pub format: u32,
    /// A folder, or `s3://BUCKET/PREFIX`.
    pub to: String,
    /// How the bucket is reached, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<crate::bucket::Access>,
    /// Local time, `HH:MM`.
    pub at: String,
    /// What stays; without it nothing is ever pruned.
    #[serde(default, skip_serializing_if = "Keep::is_empty")]
    pub keep: Keep,
}

impl Schedule {
    /// Makes a schedule.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a time that is none.
    pub fn new(
        layout: &CustomerLayout,
        to: String,
        s3: Option<crate::bucket::Access>,
        at: &str,
        keep: Keep,
    ) -> Result<Self, Error> {
        let schedule = Self { format: FORMAT, to, s3, at: at.to_owned(), keep };
        match schedule.minutes() {
            Some(_) => Ok(schedule),
            None => Err(Error::Malformed {
                path: layout.backup_schedule(),
                reason: format!("`{at}` is no time of day like 02:30"),
            }),
        }
    }

    /// Reads the schedule; nothing where there is none.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(layout: &CustomerLayout) -> Result<Option<Self>, Error> {
        let path = layout.backup_schedule();
        let malformed = |reason: String| Error::Malformed { path: path.clone(), reason };
        let bytes = match file::read_bounded(&path, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(file::ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(malformed(error.to_string())),
        };
        let schedule: Self = serde_yaml::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if schedule.format != FORMAT {
            return Err(malformed(format!("its format is {}, not {FORMAT}", schedule.format)));
        }
        if schedule.minutes().is_none() {
            return Err(malformed(format!("`{}` is no time of day like 02:30", schedule.at)));
        }
        Ok(Some(schedule))
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, layout: &CustomerLayout) -> Result<(), Error> {
        let path = layout.backup_schedule();
        let text = serde_yaml::to_string(self).map_err(|error| Error::Encode {
            name: path.display().to_string(),
            source: std::io::Error::other(error),
        })?;
        file::private_dir(layout.etc()).map_err(Error::write(&path))?;
        file::write_atomic(&path, text.as_bytes(), 0o600).map_err(Error::write(&path))
    }

    /// Minutes after midnight.
    fn minutes(&self) -> Option<i64> {
        let (hours, minutes) = self.at.split_once(':')?;
        let number = |text: &str, most: i64| {
            let number = text.parse::<i64>().ok().filter(|number| (0..=most).contains(number));
            number.filter(|_| text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
        };
        Some(number(hours, 23)? * 60 + number(minutes, 59)?)
    }

    /// Returns whether a backup should be made now.
    ///
    /// It should when none was made since the last scheduled moment, however long ago that was: a machine that was off at
    /// night makes it up in the morning. One that failed is tried again every hour. A past attempt that lies in the future
    /// (the clock was set back) counts for nothing.
    pub fn is_due(&self, memory: &Memory, now: Timestamp) -> bool {
        self.is_due_at(memory, now, local_offset_ms(now))
    }

    fn is_due_at(&self, memory: &Memory, now: Timestamp, offset_ms: i64) -> bool {
        const DAY_MS: i64 = 24 * HOUR_MS;
        let at_ms = self.minutes().unwrap_or(0) * 60_000;
        let local = now.millis() + offset_ms;
        let scheduled = (local - at_ms).div_euclid(DAY_MS) * DAY_MS + at_ms - offset_ms;
        let since = |at: Timestamp, moment: i64| (moment..=now.millis()).contains(&at.millis());
        let is_made = memory.last_success.as_ref().is_some_and(|success| since(success.started, scheduled));
        let failed_just_now =
            memory.last_failure.as_ref().is_some_and(|failure| since(failure.started, now.millis() - RETRY_MS));
        !is_made && !failed_just_now
    }
}

/// How far local time is before UTC.
fn local_offset_ms(now: Timestamp) -> i64 {
    let at = jiff::Timestamp::from_millisecond(now.millis()).unwrap_or_default();
    i64::from(jiff::tz::TimeZone::system().to_offset(at).seconds()) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::SnapshotId,
        state::{Failure, Success},
    };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-11-{text}:00Z")).unwrap()
    }

    fn schedule() -> Schedule {
        Schedule { format: 1, to: "/mnt/stick".to_owned(), s3: None, at: "02:30".to_owned(), keep: Keep::default() }
    }

    fn memory(success: Option<&str>, failure: Option<&str>) -> Memory {
        let last_success = success.map(|started| Success {
            started: at(started),
            finished: at(started),
            place: String::new(),
            snapshot: SnapshotId([0; 32]),
            added_bytes: 0,
            skipped: 0,
        });
        let last_failure =
            failure.map(|started| Failure { started: at(started), place: String::new(), error: String::new() });
        let mut memory = Memory::default();
        (memory.last_success, memory.last_failure) = (last_success, last_failure);
        memory
    }

    #[test]
    fn one_backup_a_day_made_up_when_missed_and_tried_again_when_failed() {
        let due = |success, failure, now| schedule().is_due_at(&memory(success, failure), at(now), 0);
        assert!(due(None, None, "24T12:00"));
        assert!(!due(Some("24T02:31"), None, "24T23:59"));
        assert!(!due(Some("24T02:31"), None, "25T02:29"));
        assert!(due(Some("24T02:31"), None, "25T02:30"));
        assert!(due(Some("20T02:31"), None, "24T09:00"), "the machine was off");
        assert!(!due(Some("23T02:31"), Some("24T02:30"), "24T03:00"));
        assert!(due(Some("23T02:31"), Some("24T02:30"), "24T03:31"));
        assert!(due(Some("29T02:31"), None, "24T12:00"), "the clock was set back");
        assert!(due(None, Some("29T02:31"), "24T12:00"));
    }

    #[test]
    fn the_time_is_local() {
        let hour = HOUR_MS;
        let memory = memory(Some("24T00:40"), None);
        // In Berlin in winter 02:30 is 01:30 UTC.
        assert!(schedule().is_due_at(&memory, at("24T01:31"), hour));
        assert!(!schedule().is_due_at(&memory, at("24T01:29"), hour));
        assert!(schedule().is_due_at(&memory, at("24T07:31"), -5 * hour));
        assert!(!schedule().is_due_at(&memory, at("24T07:29"), -5 * hour));
    }

    #[test]
    fn a_schedule_comes_back_as_it_went_and_a_wrong_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let layout = base::Layout::rooted(dir.path()).customer(&base::Slug::parse("eaton").unwrap());
        assert_eq!(Schedule::read(&layout).unwrap(), None);
        let made =
            |time: &str| Schedule::new(&layout, "/mnt".to_owned(), None, time, Keep { daily: 7, ..Keep::default() });
        let schedule = made("23:59").unwrap();
        schedule.write(&layout).unwrap();
        assert_eq!(Schedule::read(&layout).unwrap(), Some(schedule));
        for time in ["", "2", "24:00", "12:60", "-1:30", "a:b", "1:2:3", "+1:30"] {
            assert!(matches!(made(time), Err(Error::Malformed { .. })), "{time}");
        }
        std::fs::write(layout.backup_schedule(), "format: 1\nto: /mnt\nat: '02:30'\nkeeep: 3\n").unwrap();
        assert!(matches!(Schedule::read(&layout), Err(Error::Malformed { .. })));
    }
}
