//! What can be typed of updates.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct UpdateArgs {
    /// Take the release from this bundle or channel, instead of the channel that is set up
    #[arg(long, value_name = "DIR|URL")]
    pub from: Option<String>,
    /// A trusted root.json for it, instead of those in trust.d; may be given several times
    #[arg(long = "trust-root", value_name = "FILE")]
    pub roots: Vec<PathBuf>,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
    /// Do only what policy and window allow without a person (the agent does this)
    #[arg(long, hide = true)]
    pub unattended: bool,
    #[command(subcommand)]
    pub verb: Option<UpdateVerb>,
}

#[derive(Debug, Subcommand)]
pub enum UpdateVerb {
    /// Say where releases come from, and who decides; without flags, show it
    #[command(after_help = "Examples:
  0711 update configure --channel https://releases.example.com/stable --trust-root root.json --policy approve
  0711 update configure --policy automatic --window \"Sat,Sun 01:00-05:00\" --wait-days 3
  0711 update configure --off")]
    Configure(ConfigureArgs),
    /// Say which release is offered, and what would become of it
    Check,
    /// Say how far an update is, and what is held
    Status,
    /// Say yes to the release that is offered; it is installed in the window
    #[command(after_help = "Example:
  0711 update approve 0.2.0")]
    Approve {
        /// Which release
        version: semver::Version,
    },
    /// Keep a release away
    #[command(after_help = "Example:
  0711 update hold 0.2.0 --reason \"after the audit\"")]
    Hold {
        /// Which release
        version: semver::Version,
        /// Why
        #[arg(long, default_value = "a person does not want it")]
        reason: String,
    },
    /// Let a held release go
    Release {
        /// Which release
        version: semver::Version,
    },
    /// Put back what ran before the last update
    Rollback {
        /// Ask nothing
        #[arg(long, short)]
        yes: bool,
    },
    /// List earlier updates and how they ended
    History,
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
pub struct ConfigureArgs {
    /// An https address, or a folder
    #[arg(long, value_name = "URL|DIR")]
    pub channel: Option<String>,
    /// Who decides that a release is installed
    #[arg(long, value_enum)]
    pub policy: Option<PolicyArg>,
    /// When the stack may be stopped, for instance `22:00-04:00`; `always` for no window
    #[arg(long, value_name = "TIMES")]
    pub window: Option<String>,
    /// Days a release is left to other machines first; 0 makes this one a canary
    #[arg(long, value_name = "N")]
    pub wait_days: Option<u32>,
    /// Minutes a new release is watched before it stays
    #[arg(long, value_name = "N")]
    pub watch_minutes: Option<u32>,
    /// Most bytes per second of a download; 0 for no limit
    #[arg(long, value_name = "BYTES")]
    pub rate_limit: Option<u64>,
    /// A proxy for the channel
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// A further certificate authority for the channel (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Trust releases of this root.json: it is copied to trust.d
    #[arg(long = "trust-root", value_name = "FILE")]
    pub root_file: Option<PathBuf>,
    /// Look for nothing any more
    #[arg(long, exclusive = true)]
    pub off: bool,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// Nobody looks; a person types `0711 update`
    Manual,
    /// The agent looks and tells; a person approves
    Approve,
    /// The agent installs, in the window
    Automatic,
}

impl From<PolicyArg> for ::update::Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Manual => Self::Manual,
            PolicyArg::Approve => Self::Approve,
            PolicyArg::Automatic => Self::Automatic,
        }
    }
}
