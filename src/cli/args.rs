//! What can be typed. Every verb has an example in its help.

use std::{net::IpAddr, path::PathBuf};

use base::{Role, Slug};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// 0711 gives a company its own AI: it reads your folders, trains on them here, and answers with citations.
///
/// Nothing leaves this machine. Everything lies below one folder with `--root DIR`; without it, in /etc/0711, /var/lib/0711,
/// /run/0711 and /opt/0711.
#[derive(Debug, Parser)]
#[command(name = "0711", version, propagate_version = true, disable_help_subcommand = true, max_term_width = 110)]
#[command(after_help = "Examples:
  0711 install --demo                      a first brain from the demo folder, below ./demo
  0711 ask \"Welche Klemme ist für 10 mm²?\"  an answer with citations
  0711 status                              what runs, and how it is
  0711 help exit-codes                     what the exit codes mean")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Keep everything below this folder; no root rights are needed then
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub root: Option<PathBuf>,
    /// Which customer's installation, where there are several
    #[arg(long, global = true, value_name = "SLUG", help_heading = "Everywhere")]
    pub slug: Option<Slug>,
    /// Print JSON for scripts
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// Say more (twice: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Install: license, plan, models, services, first reading, first training
    #[command(after_help = "Examples:
  0711 install                             asks in a wizard
  0711 install --demo                      the demo, below ./demo, without questions
  0711 install --answers answers.yaml --yes
  0711 install --customer \"Müller GmbH\" --folder /srv/daten --license ENTERPRISE-EATON-2025 --yes

The same command again goes on where an interrupted one stopped.")]
    Install(InstallArgs),
    /// Show what `install` would do, without doing it
    #[command(after_help = "Examples:
  0711 plan --demo
  0711 plan --answers answers.yaml --json")]
    Plan(AnswerArgs),
    /// Check whether this machine will do, without changing it
    #[command(after_help = "Examples:
  0711 preflight                           by minimums, or by the plan of what is installed here
  0711 preflight --demo                    by the plan of the demo
  0711 preflight --folder /srv/daten --customer \"Müller GmbH\" --license ENTERPRISE-EATON-2025
  0711 preflight --docker --gpu --json     with Docker, Compose and the graphics card, for scripts

Each check says ok, warning, failed or unknown (the tool that knows is missing, or does not answer).
The exit code is 4 when one failed, else 0. Without --online nothing outside this machine is asked.")]
    Preflight(PreflightArgs),
    /// Show what runs and how it is
    #[command(after_help = "Examples:
  0711 status --root ./demo
  0711 status --json | jq .roles")]
    Status,
    /// Show the log of a service or of the agent
    #[command(after_help = "Examples:
  0711 logs                                the agent's last lines
  0711 logs llm -n 100 --follow")]
    Logs(LogsArgs),
    /// Start the agent and the services, or one service
    #[command(after_help = "Examples:
  0711 start --root ./demo
  0711 start llm")]
    Start(RoleArg),
    /// Stop the services and the agent, or one service; data stays
    #[command(after_help = "Examples:
  0711 stop --root ./demo
  0711 stop trainer                        until `0711 start trainer`")]
    Stop(RoleArg),
    /// Restart the services, or one service
    #[command(after_help = "Example:
  0711 restart console")]
    Restart(RoleArg),
    /// Remove the installation; data stays unless --purge
    #[command(after_help = "Examples:
  0711 uninstall --root ./demo             removes the services, keeps tables, adapters and license
  0711 uninstall --root ./demo --purge     removes what was learned too, after a question")]
    Uninstall(UninstallArgs),
    /// Read folders into the lake
    #[command(after_help = "Examples:
  0711 ingest /srv/daten --root ./brain    reads what is new or changed, drops what was deleted
  0711 ingest --report --root ./brain      what could not be read, and why")]
    Ingest(IngestArgs),
    /// Print the text of one file as Markdown
    #[command(after_help = "Examples:
  0711 extract Datenblatt.pdf
  0711 extract Preisliste.xlsx --json      with pages, sheets and rows")]
    Extract(ExtractArgs),
    /// Find passages: vectors and words together
    #[command(after_help = "Examples:
  0711 search \"Bemessungsstrom WDU 2.5\" -k 5
  0711 search --queries fragen.jsonl -k 100 --run out.tsv")]
    Search(SearchArgs),
    /// Ask a question; the answer names its sources
    #[command(after_help = "Examples:
  0711 ask \"Wann läuft das VDE-Zertifikat der Klemme ab?\"
  0711 ask --json \"What is the rated current?\"")]
    Ask(AskArgs),
    /// Train a LoRA adapter on what was read; it is served only if it is better
    #[command(after_help = "Examples:
  0711 train --minutes 10 --root ./brain
  0711 versions list --root ./brain")]
    Train(TrainArgs),
    /// List adapters, promote one, or go back
    #[command(after_help = "Examples:
  0711 versions list --root ./demo
  0711 versions promote v2
  0711 versions rollback                   to what was served before")]
    Versions(VersionsArgs),
    /// Make, check and show licenses
    License(LicenseArgs),
    /// List, fetch and verify the models
    Models(ModelsArgs),
    /// Make and verify release bundles
    Bundle(BundleArgs),
    /// The vendor's side: keys, roots of trust, signing, publishing
    Release(ReleaseArgs),
    /// Print shell completions
    #[command(after_help = "Example:
  0711 completions bash > /etc/bash_completion.d/0711")]
    Completions(CompletionsArgs),
    /// Explain a verb, or the exit codes
    #[command(after_help = "Examples:
  0711 help ingest
  0711 help license issue
  0711 help exit-codes")]
    Help(HelpArgs),
    /// Run one service in the foreground (the agent does this)
    #[command(hide = true)]
    Serve(ServeArgs),
    /// The resident agent
    #[command(hide = true)]
    Agent(AgentArgs),
    /// A child process that parses one file at a time
    #[command(hide = true)]
    Worker(WorkerArgs),
}

/// Where the answers come from: a file, flags, or both (flags win).
#[derive(Debug, Clone, Default, Args)]
pub struct AnswerArgs {
    /// The demo: demo license, demo folder, below ./demo unless --root says otherwise
    #[arg(long)]
    pub demo: bool,
    /// Take the answers from this file
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// License: an id, or a file
    #[arg(long, value_name = "ID|FILE")]
    pub license: Option<String>,
    /// The customer's name
    #[arg(long, value_name = "NAME")]
    pub customer: Option<String>,
    /// A folder to read; may be given several times
    #[arg(long = "folder", value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Address the console and the API listen on
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// A further host name under which the console may be called
    #[arg(long = "console-host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Minutes a training run may take
    #[arg(long, value_name = "N")]
    pub training_minutes: Option<u32>,
    /// First port of this customer's block of 100
    #[arg(long, value_name = "PORT")]
    pub port_base: Option<u16>,
}

#[derive(Debug, Args)]
pub struct PreflightArgs {
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Check the Docker engine, Compose and their disks too
    #[arg(long)]
    pub docker: bool,
    /// Check the NVIDIA driver and the container toolkit too
    #[arg(long)]
    pub gpu: bool,
    /// Try the network too: ask the machine's name servers, connect to the proxy that is set
    #[arg(long)]
    pub online: bool,
}

#[derive(Debug, Args)]
pub struct InstallArgs {
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Ask nothing; what is missing is an error
    #[arg(long, short)]
    pub yes: bool,
    /// Wait when another install runs, instead of saying who
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// embed, llm, lake, ingest, trainer, console; without one, the agent
    pub role: Option<Role>,
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 50)]
    pub lines: usize,
    /// Go on as lines are written
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct RoleArg {
    /// embed, llm, lake, ingest, trainer or console; without one, all
    pub role: Option<Role>,
}

#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Remove tables, adapters, answers and license too
    #[arg(long)]
    pub purge: bool,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Folders to read; without any, those of the installation
    pub folders: Vec<PathBuf>,
    /// Print what the last run could not read, and why
    #[arg(long)]
    pub report: bool,
    /// Try unchanged files that failed before once more
    #[arg(long)]
    pub retry: bool,
    /// Believe a folder that is suddenly empty, and forget its documents
    #[arg(long)]
    pub prune: bool,
    /// License: an id, or a file (default: the installed one, else the demo license)
    #[arg(long, value_name = "ID|FILE")]
    pub license: Option<String>,
}

#[derive(Debug, Args)]
pub struct ExtractArgs {
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    /// What to look for
    #[arg(required_unless_present = "queries")]
    pub query: Option<String>,
    /// How many results
    #[arg(short, default_value_t = 10)]
    pub k: usize,
    /// Which lists count
    #[arg(long, value_enum, default_value_t = SearchMode::Hybrid)]
    pub mode: SearchMode,
    /// Many queries: lines of {"id","text"}
    #[arg(long, value_name = "FILE.jsonl", requires = "run", conflicts_with = "query")]
    pub queries: Option<PathBuf>,
    /// Where the results of --queries go: query_id, document, rank, score, separated by tabs
    #[arg(long, value_name = "OUT.tsv", requires = "queries")]
    pub run: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SearchMode {
    /// Vectors and words, fused
    Hybrid,
    /// Vectors only
    Vector,
    /// Words only
    Lexical,
}

#[derive(Debug, Args)]
pub struct AskArgs {
    pub question: String,
}

#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Minutes the run may take
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub minutes: u32,
    /// Seed of the run: the same seed and data give the same adapter
    #[arg(long, default_value_t = 711)]
    pub seed: u64,
    /// License: an id, or a file (default: the installed one, else the demo license)
    #[arg(long, value_name = "ID|FILE")]
    pub license: Option<String>,
}

#[derive(Debug, Args)]
pub struct VersionsArgs {
    #[command(subcommand)]
    pub verb: VersionsVerb,
}

#[derive(Debug, Subcommand)]
pub enum VersionsVerb {
    /// List the adapters with their scores; the promoted one is marked
    List,
    /// Serve this adapter
    Promote { name: String },
    /// Serve the one promoted before, or the base model
    Rollback,
}

#[derive(Debug, Args)]
pub struct LicenseArgs {
    #[command(subcommand)]
    pub verb: LicenseVerb,
}

#[derive(Debug, Subcommand)]
pub enum LicenseVerb {
    /// Make a signing key; prints the public entry for licenses/trust
    #[command(after_help = "Example:
  0711 license keygen --out vendor.key --name vendor-2026")]
    Keygen {
        /// The new private key's file (0600)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The key's name
        #[arg(long)]
        name: String,
        /// The highest edition it may sign: demo, standard or enterprise
        #[arg(long, default_value = "enterprise")]
        edition: String,
        /// The most documents a license signed by it may allow
        #[arg(long, default_value_t = 10_000_000)]
        max_documents: u64,
    },
    /// Sign a license request
    #[command(after_help = "Example:
  0711 license issue --key vendor.key --request eaton.yaml --out ENTERPRISE-EATON-2026.license

A request:
  format: 1
  license_id: ENTERPRISE-EATON-2026
  customer: Eaton Industries GmbH
  edition: enterprise
  valid_days: 365
  max_documents: 250000
  mcps: [etim, product]

Optional: slug, not_before, grace_days, sequence, gpus, channels, auto_update, managed, machine.")]
    Issue {
        /// A key made by `0711 license keygen`
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// YAML with the license's fields
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        /// The new license file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show what a license says and allows, after checking it
    Show {
        /// An id or a file; without one, the installed license
        license: Option<String>,
    },
    /// Check a license; the exit code is 3 when it is refused
    Verify {
        /// An id or a file; without one, the installed license
        license: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub verb: ModelsVerb,
}

#[derive(Debug, Subcommand)]
pub enum ModelsVerb {
    /// List the catalogue and what is here
    List,
    /// Fetch the models of the default profile, or the named ones
    #[command(after_help = "Examples:
  0711 models fetch
  0711 models fetch smollm2-135m-instruct --from /media/stick/models")]
    Fetch {
        names: Vec<String>,
        /// A folder with model files, looked at first
        #[arg(long, value_name = "DIR")]
        from: Vec<PathBuf>,
    },
    /// Check the digests of the models that are here
    Verify { names: Vec<String> },
}

#[derive(Debug, Args)]
pub struct BundleArgs {
    #[command(subcommand)]
    pub verb: BundleVerb,
}

#[derive(Debug, Subcommand)]
pub enum BundleVerb {
    /// Make an unsigned bundle: images, models, bills of materials, release.json
    #[command(after_help = "Example:
  0711 bundle build --spec bundles/platform.yaml --out ./bundle

The same binary, specification and models give the same bytes.")]
    Build {
        /// What it is made of
        #[arg(long, value_name = "FILE")]
        spec: PathBuf,
        /// The bundle's folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The static program of the images; without it, this one
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
        /// A folder with model files, looked at first
        #[arg(long, value_name = "DIR")]
        from: Vec<PathBuf>,
    },
    /// Prove a bundle: signatures, release.json, every blob; each check is shown
    #[command(after_help = "Examples:
  0711 bundle verify /media/stick/bundle
  0711 bundle verify ./bundle --trust-root root.json --json
  0711 bundle verify ./delta --earlier ./bundle-0.1.0

Roots are taken from trust.d (root-owned `*.json`) unless named. Expired metadata is a warning: bundles come by hand here;
with --online it is refused. Exit codes: 9 untrusted, 10 older than seen, 11 expired, 12 damaged.")]
    Verify {
        bundle: PathBuf,
        /// A trusted root.json, obtained separately; may be given several times
        #[arg(long = "trust-root", value_name = "FILE")]
        roots: Vec<PathBuf>,
        /// An earlier bundle, whose blobs a delta leaves out
        #[arg(long, value_name = "DIR")]
        earlier: Vec<PathBuf>,
        /// Refuse expired metadata
        #[arg(long)]
        online: bool,
    },
    /// Cut a bundle into files of a bounded size, for sticks
    #[command(after_help = "Example:
  0711 bundle split ./bundle --out ./parts --part-mb 2000")]
    Split {
        bundle: PathBuf,
        /// The folder of the parts
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The size of a part in megabytes; FAT32 takes no file of 4295
        #[arg(long, value_name = "MB", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..1_000_000))]
        part_mb: u64,
    },
    /// Put the parts of a bundle together
    #[command(after_help = "Examples:
  0711 bundle join ./parts --out ./bundle
  0711 bundle join /media/stick-1 /media/stick-2 --out ./bundle")]
    Join {
        /// Folders with parts; parts.json lies in one of them
        #[arg(required = true)]
        folders: Vec<PathBuf>,
        /// The bundle's folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Mend a damaged bundle with just what it lacks
    #[command(after_help = "Example, at the customer's, at the maker's, and at the customer's again:
  0711 bundle repair needs ./bundle --out needs.json
  0711 bundle repair make --needs needs.json --from ./whole --out ./mend
  0711 bundle repair apply ./bundle --from ./mend")]
    Repair {
        #[command(subcommand)]
        verb: RepairVerb,
    },
}

#[derive(Debug, Subcommand)]
pub enum RepairVerb {
    /// List what a bundle lacks: some hundred bytes, to be sent to the maker
    Needs {
        bundle: PathBuf,
        /// The list
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// A trusted root.json; without one, trust.d
        #[arg(long = "trust-root", value_name = "FILE")]
        roots: Vec<PathBuf>,
    },
    /// Make a small bundle of just that, out of a whole one
    Make {
        /// The list
        #[arg(long, value_name = "FILE")]
        needs: PathBuf,
        /// The whole bundle
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// The small bundle
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Put the small bundle into the damaged one
    Apply {
        bundle: PathBuf,
        /// The small bundle
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(subcommand)]
    pub verb: ReleaseVerb,
}

#[derive(Debug, Subcommand)]
pub enum ReleaseVerb {
    /// Make a private key in a new file of mode 0600
    Keygen {
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make the first root of trust
    #[command(after_help = "Example:
  0711 release init --trust ./trust --root-key a.key --root-key b.key --root-key c.key --threshold 2 --release-key r.key")]
    Init {
        /// The vendor's trust folder
        #[arg(long, value_name = "DIR")]
        trust: PathBuf,
        #[command(flatten)]
        keys: RootKeyArgs,
    },
    /// Make the next root: other keys, or a later end
    Rotate {
        /// The vendor's trust folder
        #[arg(long, value_name = "DIR")]
        trust: PathBuf,
        /// A root key of the last root; as many as its threshold
        #[arg(long = "old-root-key", value_name = "FILE", required = true)]
        old_root_keys: Vec<PathBuf>,
        #[command(flatten)]
        keys: RootKeyArgs,
    },
    /// Sign a bundle that was built
    #[command(after_help = "Example:
  0711 release sign ./bundle --trust ./trust --key r.key")]
    Sign {
        bundle: PathBuf,
        /// The vendor's trust folder
        #[arg(long, value_name = "DIR")]
        trust: PathBuf,
        /// A release key
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
        /// For how many days the signatures hold
        #[arg(long, default_value_t = 366, value_parser = clap::value_parser!(u32).range(1..))]
        days: u32,
    },
    /// Copy a signed bundle into a folder that a web server, a share or a stick can carry
    #[command(after_help = "Examples:
  0711 release publish ./bundle --to /srv/channel/stable
  0711 release publish ./bundle-0.2.0 --to /media/stick --since ./bundle-0.1.0")]
    Publish {
        bundle: PathBuf,
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Leave out what this earlier bundle holds
        #[arg(long, value_name = "DIR")]
        since: Option<PathBuf>,
    },
}

/// The keys of a root of trust.
#[derive(Debug, Args)]
pub struct RootKeyArgs {
    /// A key that signs roots; may be given several times
    #[arg(long = "root-key", value_name = "FILE", required = true)]
    pub root_keys: Vec<PathBuf>,
    /// How many root keys must sign a later root
    #[arg(long, default_value_t = 1)]
    pub threshold: u32,
    /// A key that signs releases; may be given several times
    #[arg(long = "release-key", value_name = "FILE", required = true)]
    pub release_keys: Vec<PathBuf>,
    /// For how many days the root holds
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..))]
    pub root_days: u32,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A verb, or exit-codes
    pub topic: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    pub role: Role,
    /// Which customer's role
    #[arg(long, value_name = "SLUG")]
    pub customer: Slug,
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    #[command(subcommand)]
    pub verb: AgentVerb,
}

#[derive(Debug, Subcommand)]
pub enum AgentVerb {
    /// Run the agent in the foreground
    Run,
}

#[derive(Debug, Args)]
pub struct WorkerArgs {
    #[command(subcommand)]
    pub verb: WorkerVerb,
}

#[derive(Debug, Subcommand)]
pub enum WorkerVerb {
    /// Parse files sent over standard input
    Extract,
}
