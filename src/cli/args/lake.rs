//! The verbs that ask the tables, and those that look after them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct GraphArgs {
    #[command(subcommand)]
    pub verb: GraphVerb,
}

#[derive(Debug, Subcommand)]
pub enum GraphVerb {
    /// Show how two things are connected, in the fewest steps, and where each step was read
    #[command(after_help = "Examples:
  0711 graph path \"KX 4\" \"Northmere Switchgear\"
  0711 graph path 7301120 issue:R-2026-007 --json
  0711 graph path product:kx4 \"document:Protokoll_2026-06-18_Produktmanagement.md\"

Any spelling will do: `WDU 2.5`, `WDU2,5`. Where several things have a name, say which is meant: product:, manufacturer:,
certificate:, standard:, issue:, customer:, document: (a path, a file name or an id).")]
    Path { from: String, to: String },
    /// Show what stands around a thing: certificates and standards of a product, complaints about it
    #[command(after_help = "Examples:
  0711 graph neighbors \"KX 4\"
  0711 graph neighbors \"KX 4\" --kind certificate --kind issue --depth 2
  0711 graph neighbors \"DIN EN 60947-7-1\" --kind product --json")]
    Neighbors {
        of: String,
        /// Only this kind; may be given several times
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// How many steps away
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
        depth: u32,
        /// How many
        #[arg(short = 'n', long, default_value_t = 50)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The question
    #[arg(required_unless_present = "tables")]
    pub question: Option<String>,
    /// List the tables that can be asked, with their columns
    #[arg(long, conflicts_with = "question")]
    pub tables: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// The most rows
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_rows: u32,
    /// The most seconds
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub max_seconds: u32,
    /// Ask the lake as it was after this commit; `0711 lake snapshot list` shows them
    #[arg(long, value_name = "COMMIT")]
    pub at: Option<u64>,
}

#[derive(Debug, Args)]
pub struct LakeArgs {
    #[command(subcommand)]
    pub verb: LakeVerb,
}

#[derive(Debug, Subcommand)]
pub enum LakeVerb {
    /// Check that everything the newest commit names is there and agrees; the exit code is 12 when it does not
    Check,
    /// Join small files and bring the stored index up to date
    Compact,
    /// Show the commits, and which of them can still be asked
    Snapshot {
        #[command(subcommand)]
        verb: SnapshotVerb,
    },
    /// Remove what only older commits need
    #[command(after_help = "Example:
  0711 lake vacuum --keep 10               the newest ten commits can still be asked, older ones no more")]
    Vacuum {
        /// How many commits stay
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
    },
    /// Write one commit's tables into a new folder: Delta and CSV
    #[command(after_help = "Examples:
  0711 lake export /srv/export
  0711 lake export /srv/export-12 --at 12")]
    Export {
        /// The folder; it must not be there, or be empty
        dir: PathBuf,
        /// The commit; without it, the newest
        #[arg(long, value_name = "COMMIT")]
        at: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub enum SnapshotVerb {
    /// List the commits, newest first
    List {
        /// How many
        #[arg(short = 'n', long, default_value_t = 30)]
        limit: usize,
    },
}
