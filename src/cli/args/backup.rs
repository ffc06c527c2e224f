//! What can be typed about backups.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct BackupArgs {
    #[command(subcommand)]
    pub verb: BackupVerb,
}

#[derive(Debug, Subcommand)]
pub enum BackupVerb {
    /// Make a backup: tables, adapters, answers, license, and what people asked; everything goes on meanwhile
    #[command(after_help = "Examples:
  0711 backup create --to /media/stick/0711        the first time it shows the recovery key, once
  0711 backup create                               to the same place again: only what changed
  0711 backup create --to s3://backups/eaton --s3-endpoint https://minio.example:9000 --s3-credentials s3.txt

Models, images and your own folders are not in it: they come from the bundle, and are yours.
The exit code is 18 when files could not be read; they are listed, and all others are in the backup.")]
    Create(BackupCreateArgs),
    /// List the backups
    #[command(after_help = "Examples:
  0711 backup list
  0711 backup list --from /media/stick/0711 --json")]
    List {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Prove every byte of the backups
    #[command(after_help = "Examples:
  0711 backup verify
  0711 backup verify --quick                       without reading the packs
  0711 backup verify --mend                        puts aside what is damaged; the next backup makes it good

The exit code is 12 when something is damaged.")]
    Verify {
        #[command(flatten)]
        place: PlaceArgs,
        /// Read catalogs and descriptions only, and look whether the rest is there
        #[arg(long)]
        quick: bool,
        /// Put aside what is damaged, so that the next backup writes anew what is still there; deletes nothing
        #[arg(long, conflicts_with = "quick")]
        mend: bool,
    },
    /// Put a backup back, on this machine or another
    #[command(after_help = "Examples:
  0711 backup restore --from /media/stick/0711 --root ./brain
  0711 backup restore --from /media/stick/0711 --snapshot 1f3a9c02 --replace

Everything is proven before the first byte is written. Then `0711 install --answers FILE`, which it prints, goes on
from there: nothing is read or trained again.")]
    Restore {
        #[command(flatten)]
        place: PlaceArgs,
        /// Which backup: the first digits of its id (default: the newest)
        #[arg(long, value_name = "ID")]
        snapshot: Option<String>,
        /// Move what is in place aside, instead of refusing
        #[arg(long)]
        replace: bool,
        /// Bring back tokens and the console's password too (default: install makes new ones)
        #[arg(long)]
        with_secrets: bool,
    },
    /// Remove old backups, and give back their room
    #[command(after_help = "Examples:
  0711 backup prune --keep-daily 7 --keep-weekly 4
  0711 backup prune --keep-last 3 --dry-run")]
    Prune {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        keep: KeepArgs,
        /// Say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Let the agent make a backup every day
    #[command(after_help = "Examples:
  0711 backup schedule --at 02:30 --keep-daily 7 --keep-weekly 4
  0711 backup schedule                             shows it, and how the last one went
  0711 backup schedule --off")]
    Schedule {
        #[command(flatten)]
        place: PlaceArgs,
        /// Local time
        #[arg(long, value_name = "HH:MM")]
        at: Option<String>,
        #[command(flatten)]
        keep: KeepArgs,
        /// Make none any more
        #[arg(long, conflicts_with_all = ["at", "keep_last", "keep_daily", "keep_weekly"])]
        off: bool,
    },
}

#[derive(Debug, Args)]
pub struct BackupCreateArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Let a passphrase open a new backup too, and ask for it here (without a terminal: --passphrase-file)
    #[arg(long)]
    pub ask_passphrase: bool,
    /// Begin a new one where another was before: a second medium at the same place
    #[arg(long)]
    pub new: bool,
    /// Go on with a medium that was put back to an older state
    #[arg(long)]
    pub accept_older: bool,
    /// Wait while others use the same place, instead of saying who
    #[arg(long)]
    pub wait: bool,
    /// As the schedule says, at low priority (the agent does this)
    #[arg(long, hide = true)]
    pub scheduled: bool,
}

/// Where the backups are, and what opens them.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// A folder, or s3://BUCKET/PREFIX (default: the scheduled place, else that of the last backup)
    #[arg(long = "from", visible_alias = "to", value_name = "PLACE")]
    pub place: Option<String>,
    /// The recovery key, in a file with mode 0600
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub key_file: Option<PathBuf>,
    /// The passphrase, in a file with mode 0600; a new backup is opened by it too
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The bucket's server (default: Amazon's)
    #[arg(long, value_name = "URL", help_heading = "Buckets")]
    pub s3_endpoint: Option<String>,
    /// The bucket's region
    #[arg(long, value_name = "NAME", help_heading = "Buckets")]
    pub s3_region: Option<String>,
    /// Access key and secret: a file of two lines, mode 0600
    #[arg(long, value_name = "FILE", help_heading = "Buckets")]
    pub s3_credentials: Option<PathBuf>,
    /// A certificate to trust besides the public ones, PEM
    #[arg(long, value_name = "FILE", help_heading = "Buckets")]
    pub s3_ca: Option<PathBuf>,
}

/// Which backups stay; any rule that keeps one keeps it.
#[derive(Debug, Clone, Copy, Args)]
pub struct KeepArgs {
    /// Keep the newest N
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_last: u32,
    /// Keep the newest of each of the last N days that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_daily: u32,
    /// Keep the newest of each of the last N weeks that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub keep_weekly: u32,
}
