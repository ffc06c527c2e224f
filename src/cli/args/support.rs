//! The arguments of `support-bundle`.

use std::path::PathBuf;

use clap::Args;

use super::Since;

#[derive(Debug, Args)]
pub struct SupportArgs {
    /// The new file (default: support-SLUG-TIME.tar.zst, here)
    #[arg(long, value_name = "FILE.tar.zst")]
    pub out: Option<PathBuf>,
    /// Show each file and how it begins, and ask before anything is written
    #[arg(long)]
    pub preview: bool,
    /// After a preview, write without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Logs from when on: `7d`, `12h`, `30m`, or a day or moment like 2026-11-22T10:00:00Z
    #[arg(long, value_name = "WHEN", default_value = "7d")]
    pub since: Since,
    /// The most all files together may have, in MB, before they are compressed
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=2000))]
    pub max_mb: u64,
    /// Leave names of documents in
    #[arg(long)]
    pub with_names: bool,
}
