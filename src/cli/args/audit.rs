//! The arguments of `audit`.

use std::path::PathBuf;

use base::{Digest, Timestamp};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub verb: AuditVerb,
}

#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Show who did what, and when
    #[command(after_help = "Examples:
  0711 audit show
  0711 audit show --since 7d --json")]
    Show {
        /// From when on: `7d`, `12h`, `30m`, or a day or moment like 2026-11-22T10:00:00Z
        #[arg(long, value_name = "WHEN")]
        since: Option<Since>,
        /// How many of the last records (0: all)
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
    },
    /// Check that no record was changed or removed; the exit code is 15 when one was
    #[command(after_help = "Examples:
  0711 audit verify
  0711 audit verify --anchor 57:sha256:3f…   is record 57 still the one that was noted then?

The program's own check finds what was changed in the files. Whoever is root here can write the whole log anew, with
everything that vouches for it; only what was noted elsewhere shows that. Note the head now and then.")]
    Verify {
        /// A record noted earlier, as `verify` prints the head: its number and digest
        #[arg(long = "anchor", value_name = "N:DIGEST")]
        anchors: Vec<Anchor>,
        /// A public key whose checkpoints count, beside this installation's: 64 hexadecimal digits
        #[arg(long = "key", value_name = "HEX")]
        keys: Vec<String>,
    },
    /// Write the records as JSON lines or CSV; the export is recorded, too
    #[command(after_help = "Examples:
  0711 audit export --out audit.jsonl
  0711 audit export --csv --since 2026-01-01 --out audit.csv")]
    Export {
        /// The new file (default: standard output)
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// A table for a spreadsheet instead of JSON lines
        #[arg(long)]
        csv: bool,
        /// From when on: `7d`, `12h`, `30m`, or a day or moment like 2026-11-22T10:00:00Z
        #[arg(long, value_name = "WHEN")]
        since: Option<Since>,
    },
    /// Pack license, plan, bills of materials, probes and the audit log, signed; or check such a pack
    #[command(after_help = "Examples:
  0711 audit evidence --out evidence.tar
  0711 audit evidence --out evidence.tar --bundle /media/usb/bundle
  0711 audit evidence --check evidence.tar --key 5c…")]
    Evidence {
        /// The new file
        #[arg(long, value_name = "FILE.tar", required_unless_present = "check")]
        out: Option<PathBuf>,
        /// Prove this release bundle, and add its contents and bills of materials
        #[arg(long, value_name = "DIR", requires = "out")]
        bundle: Option<PathBuf>,
        /// A trusted root.json for the bundle, instead of those in trust.d; may be given several times
        #[arg(long = "trust-root", value_name = "FILE", requires = "bundle")]
        trust_roots: Vec<PathBuf>,
        /// Check this pack instead of making one
        #[arg(long, value_name = "FILE.tar", conflicts_with = "out")]
        check: Option<PathBuf>,
        /// The public key it must be signed with: 64 hexadecimal digits
        #[arg(long, value_name = "HEX", requires = "check")]
        key: Option<String>,
    },
}

/// A moment, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Ago { millis: i64 },
    At(Timestamp),
}

impl Since {
    /// Returns the moment, seen from `now`.
    pub fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago { millis } => Timestamp::from_millis(now.millis().saturating_sub(millis)),
            Self::At(at) => at,
        }
    }
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units = [('d', 86_400_000), ('h', 3_600_000), ('m', 60_000), ('s', 1000)];
        let ago = units.iter().find_map(|(unit, millis)| {
            text.strip_suffix(*unit)?.parse::<u32>().ok().map(|count| i64::from(count).saturating_mul(*millis))
        });
        let at = || Timestamp::parse(text).or_else(|_| Timestamp::parse(&format!("{text}T00:00:00Z")));
        match ago {
            Some(millis) => Ok(Self::Ago { millis }),
            None => at().map(Self::At).map_err(|_| {
                "say `7d`, `12h`, `30m`, a day like 2026-11-22 or a moment like 2026-11-22T10:00:00Z".to_owned()
            }),
        }
    }
}

/// A record that was noted elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub seq: u64,
    pub digest: Digest,
}

impl std::str::FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, digest) = text.split_once(':').ok_or("it is the number of a record, a colon, and its digest")?;
        let seq = seq.parse().map_err(|_| format!("`{seq}` is no number of a record"))?;
        let digest = digest.parse().map_err(|error: base::DigestParseError| error.to_string())?;
        Ok(Self { seq, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_said_as_people_say_them() {
        let now = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
        let at = |text: &str| text.parse::<Since>().map(|since| since.moment(now).to_string());
        assert_eq!(at("7d").unwrap(), "2026-11-15T10:00:00Z");
        assert_eq!(at("90m").unwrap(), "2026-11-22T08:30:00Z");
        assert_eq!(at("2026-01-02").unwrap(), "2026-01-02T00:00:00Z");
        assert_eq!(at("2026-01-02T03:04:05Z").unwrap(), "2026-01-02T03:04:05Z");
        for text in ["", "d", "7", "-7d", "seven days", "7w", "99999999999d"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
