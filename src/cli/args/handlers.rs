//! What can be typed of handlers.

use std::path::PathBuf;

use base::Digest;
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub struct HandlersArgs {
    #[command(subcommand)]
    pub verb: HandlersVerb,
}

#[derive(Debug, Subcommand)]
pub enum HandlersVerb {
    /// List the handlers and their state
    List,
    /// Show one: what it reads, how it did, its first records, its source
    Show { name: String },
    /// List the kinds of files that wait for a handler, or show one with its sample
    #[command(after_help = "Examples:
  0711 handlers pending
  0711 handlers pending binary-wml-1a2b3c4d    figures and the masked sample, as a model would get them")]
    Pending {
        /// The name of a kind
        kind: Option<String>,
    },
    /// Let a handler's records into the lake; the next ingestion reads its files
    #[command(
        after_help = "`0711 handlers show NAME` ends with the whole command. One that was approved before stays in force until then."
    )]
    Approve {
        name: String,
        /// The source that was looked at, as `0711 handlers show NAME` names it
        #[arg(long)]
        digest: Digest,
    },
    /// Run a handler no more
    #[command(
        after_help = "One that waits to take the place of an approved one is rejected first; the approved one stays in force."
    )]
    Reject {
        name: String,
        /// The source that is meant (default: of the one registered last)
        #[arg(long)]
        digest: Option<Digest>,
    },
    /// Run a handler over files and show what it gives; nothing is kept
    #[command(after_help = "Examples:
  0711 handlers test binary-wml-1a2b3c4d /srv/daten/stand7.wml
  0711 handlers test ./mein_handler.py /srv/daten/stand7.wml")]
    Test {
        /// A registered handler, or a Python file
        handler: String,
        /// The files; without any, those that wait under the handler's kind
        files: Vec<PathBuf>,
        /// How many records to show of each table
        #[arg(short = 'n', long, default_value_t = 10)]
        rows: usize,
    },
    /// Register a handler somebody wrote; it is validated first
    #[command(after_help = "Examples:
  0711 handlers add stand7.py --kind binary-wml-1a2b3c4d     of `0711 handlers pending`
  0711 handlers add stand7.py --like /srv/daten/stand7.wml   for files like this one

`0711 handlers contract` prints what a handler may do.")]
    Add(AddArgs),
    /// Print what a handler is, what it may call, and what is checked
    Contract,
    /// Ask a model to write a handler for a kind that waits
    #[command(after_help = "Example:
  0711 handlers write binary-wml-1a2b3c4d

Claude is asked where it was allowed (`enable-claude`), else the local model. What it writes is validated and waits for approval.")]
    Write {
        /// The name of a kind; without one, every kind that waits
        kind: Option<String>,
    },
    /// Allow samples of unknown files to be sent to Claude; shows the exact sample first
    #[command(
        name = "enable-claude",
        after_help = "Example:
  0711 handlers enable-claude --key-file /etc/0711/firma/claude.key

At most 16 KB of a file are sent, masked; each call is in the log of calls and in the audit log, by its digests. Nothing is sent before
`0711 handlers write`, unless `configure --write automatic` was chosen."
    )]
    EnableClaude(EnableArgs),
    /// Send nothing to Claude any more
    #[command(name = "disable-claude")]
    DisableClaude,
    /// Say who approves, when models are asked, and which; without flags, show it
    #[command(after_help = "Examples:
  0711 handlers configure --local-url http://gpu1:8000 --local-model mixtral
  0711 handlers configure --write automatic         ask after each ingestion
  0711 handlers configure --approve automatic       the validation alone approves")]
    Configure(SetArgs),
}

#[derive(Debug, Args)]
pub struct AddArgs {
    /// The Python file
    pub file: PathBuf,
    /// The kind of files it is for
    #[arg(long, value_name = "KIND", required_unless_present = "like")]
    pub kind: Option<String>,
    /// A file of the kind it is for
    #[arg(long, value_name = "FILE", conflicts_with = "kind")]
    pub like: Option<PathBuf>,
    /// Further files it is tried on
    #[arg(long = "sample", value_name = "FILE")]
    pub samples: Vec<PathBuf>,
    /// What it is called (default: the kind)
    #[arg(long)]
    pub name: Option<String>,
    /// What it reads, in a sentence (default: the comment it begins with)
    #[arg(long)]
    pub summary: Option<String>,
    /// Take any beginning and any record length: for files that differ there
    #[arg(long)]
    pub any: bool,
}

#[derive(Debug, Args)]
pub struct EnableArgs {
    /// A file with the key, which only its owner may read
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// Where the Messages API is
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Which model
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// A proxy on the way there
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// A further certificate authority (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Ask nothing; the sample is shown all the same
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
pub struct SetArgs {
    /// Who approves a handler that passed its validation
    #[arg(long, value_enum)]
    pub approve: Option<ApproveArg>,
    /// When a model is asked
    #[arg(long, value_enum)]
    pub write: Option<WriteArg>,
    /// How often a model may mend its handler
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10))]
    pub rounds: Option<u32>,
    /// A server of the OpenAI wire in this network; `none` for the service `llm`
    #[arg(long, value_name = "URL")]
    pub local_url: Option<String>,
    /// Its model
    #[arg(long, value_name = "NAME")]
    pub local_model: Option<String>,
    /// A file with its key
    #[arg(long, value_name = "FILE")]
    pub local_key_file: Option<PathBuf>,
}

/// Who approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApproveArg {
    /// A person, with `0711 handlers approve`
    Person,
    /// The validation alone
    Automatic,
}

/// When a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WriteArg {
    /// When somebody types `0711 handlers write`
    Asked,
    /// After each ingestion
    Automatic,
}
