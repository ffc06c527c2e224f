//! What can be typed. The verbs people type most have examples in their help.

mod access;
mod audit;
mod backup;
mod handlers;
mod lake;
mod release;
mod support;
mod update;

use std::{net::IpAddr, path::PathBuf};

use base::{Role, Slug};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use access::{AccessArgs, AccessVerb, PermissionsArg};
pub use audit::{AuditArgs, AuditVerb, Since};
pub use backup::{BackupArgs, BackupCreateArgs, BackupVerb, KeepArgs, PlaceArgs};
pub use handlers::{AddArgs, ApproveArg, EnableArgs, HandlersArgs, HandlersVerb, SetArgs, WriteArg};
pub use lake::{GraphArgs, GraphVerb, LakeArgs, LakeVerb, SnapshotVerb, SqlArgs};
pub use release::{
    BundleArgs, BundleVerb, ConformanceArgs, ConformanceVerb, FetchArgs, ReleaseArgs, ReleaseVerb, RepairVerb,
    RootKeyArgs,
};
pub use support::SupportArgs;
pub use update::{ConfigureArgs, PolicyArg, UpdateArgs, UpdateVerb};

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
  0711 install --bundle /media/usb/0711-0.1.0    with containers, from a release bundle

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
  0711 status --watch                      until Ctrl-C
  0711 status --json | jq .roles")]
    Status(StatusArgs),
    /// Show what happened: starts, ends, failures, full disks, changes of the machine
    #[command(after_help = "Examples:
  0711 events                              the last fifty, also when the agent does not run
  0711 events --since 2h --follow
  0711 events --since 2026-11-25T08:00:00Z --json")]
    Events(EventsArgs),
    /// Find what is wrong, and what mends it; works without the agent too
    #[command(after_help = "Examples:
  0711 doctor --root ./demo
  0711 doctor --json | jq '.findings[] | .what, .remedy'

The exit code is 0 when nothing is wrong, else 17. Every model file is read whole, which takes a while.")]
    Doctor,
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
    /// Replace the installed release by a newer one, and go back when that is worse
    #[command(after_help = "Examples:
  0711 update                              the newest release of the channel, now
  0711 update --from /media/usb/bundle     the same from a stick
  0711 update check                        what is offered
  0711 update rollback                     what ran before

Nothing is stopped before the new release has served beside the old one, on a copy of the data. It is watched, and the old one
comes back by itself when the new one is worse; then it is held until `0711 update release VERSION`.")]
    Update(UpdateArgs),
    /// List everything the installation has on this machine, and when it goes
    #[command(after_help = "Examples:
  0711 footprint --root ./demo
  0711 footprint --json | jq '.files[].path'")]
    Footprint,
    /// Show what tried to leave the services' networks since the installation, and sign a report of it
    #[command(after_help = "Examples:
  0711 egress                              what was counted, and since when
  0711 egress --report quiet.json          the same as a signed report
  0711 egress --check quiet.json --key HEX  is it the report of that installation?

Exit codes: 0 nothing tried to leave, 13 something did, 14 it cannot be told here (services without containers share the machine's
network), 9 with --check: the key did not sign this. Take note of the key's 64 digits where the report goes: they are shown each time.")]
    Egress(EgressArgs),
    /// Read folders into the lake
    #[command(after_help = "Examples:
  0711 ingest /srv/daten --root ./brain    reads what is new or changed, drops what was deleted
  0711 ingest --watch                      reads, and keeps the folders of the installation in step from then on
  0711 ingest --report --root ./brain      what could not be read, and why")]
    Ingest(IngestArgs),
    /// Show which domain (etim, product, ctax, none) each document belongs to, or put one right
    #[command(after_help = "Examples:
  0711 domains --domain ctax               what the customs and tax tools work on
  0711 domains set Rechnungen/RE-2026-10482_UBL.xml ctax

Rules decide where a format or its words are clear, the meaning of the text elsewhere; what a person says stays, and counts for
documents like it.")]
    Domains(DomainsArgs),
    /// Say who may ask beside the administrator, and what they may read
    #[command(after_help = "Examples:
  0711 access person anna --groups sales,support     she logs in at the console; the password is shown once
  0711 access program shop --groups sales            a token for the API, shown once
  0711 access list

What groups may read counts where permissions are on (`0711 install --permissions on`). Owner, group, mode and POSIX ACL of a file and
of the folders above it decide, as of the last reading; a file `.0711-acl` in a folder decides instead:
  format: 1
  rules:
    - files: \"Gehälter/**\"
      readers: [hr]
    - files: \"*.pdf\"
      readers: [sales, \"user:anna\"]
The first rule that fits counts; `*` among readers is everybody, none are administrators only.")]
    Access(AccessArgs),
    /// Read formats nobody knows: small programs people or models write, run behind walls
    #[command(after_help = "Examples:
  0711 handlers pending                    which files wait for one
  0711 handlers add stand7.py --like /srv/daten/stand7.wml
  0711 handlers show binary-wml-1a2b3c4d
  0711 handlers approve binary-wml-1a2b3c4d --digest sha256:…   only then its records are searchable")]
    Handlers(HandlersArgs),
    /// Print the text of one file as Markdown
    #[command(after_help = "Examples:
  0711 extract Datenblatt.pdf
  0711 extract Preisliste.xlsx --json      with pages, sheets and rows
  0711 extract Katalog.xml --as structured one product a line, also of a catalogue too large for memory
  0711 extract Rechnung.pdf --as structured
                                           the invoice in it, and which rules of EN 16931 it breaks")]
    Extract(ExtractArgs),
    /// Find passages: vectors and words together
    #[command(after_help = "Examples:
  0711 search \"Bemessungsstrom WDU 2.5\" -k 5
  0711 search \"Gewährleistung\" --folder Verträge/2024 --format pdf
  0711 search \"Gehalt\" --as-groups sales      what somebody in that group finds
  0711 search --queries fragen.jsonl -k 100 --run out.tsv")]
    Search(SearchArgs),
    /// Ask the tables in SQL: documents, what they name, and every spreadsheet
    #[command(after_help = "Examples:
  0711 sql --tables
  0711 sql \"SELECT name, attributes FROM entities WHERE kind = 'certificate'\"
  0711 sql \"SELECT artikelnummer, listenpreis_eur FROM preisliste_2026_haendler WHERE listenpreis_eur > 10\" --csv
  0711 sql \"SELECT d.path, e.name FROM entities e JOIN documents d ON d.id = e.document_id WHERE e.kind = 'issue'\" --json
  0711 sql \"SELECT s.path, s.text FROM search('Überspannungsschutz', 20) s JOIN entities e USING (document_id) WHERE e.kind = 'certificate'\"
  0711 sql \"SELECT name, edge, place FROM neighbors('product', '1020000', 2) WHERE kind = 'issue'\"

search('words', hits) and neighbors('kind', 'key', steps) are tables: what is found by meaning and words, and what stands around a
thing of the graph, with kind and key as `entities` has them. Every table of a spreadsheet has a name made of its file and sheet; names are in lower case, umlauts as ae, oe, ue. Nothing can be
changed by a question, and none may take longer or give more rows than --max-seconds and --max-rows allow.")]
    Sql(SqlArgs),
    /// Follow products, certificates, standards, companies and complaints from document to document
    #[command(after_help = "Examples:
  0711 graph neighbors \"KX 4\" --kind certificate --kind issue --depth 2
  0711 graph path \"KX 4\" \"UL 1059\" --json")]
    Graph(GraphArgs),
    /// Check, tidy and export the tables
    #[command(after_help = "Examples:
  0711 lake check
  0711 lake snapshot list
  0711 lake vacuum --keep 10
  0711 lake export /srv/export")]
    Lake(LakeArgs),
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
    /// Show, check and export the record of who did what
    #[command(after_help = "Examples:
  0711 audit show --since 7d
  0711 audit verify                        the exit code is 15 when a record was changed or removed
  0711 audit export --csv --out audit.csv
  0711 audit evidence --out evidence.tar   license, plan, bills of materials, probes and log, signed")]
    Audit(AuditArgs),
    /// Pack what somebody needs to help: no documents, no questions, no secrets
    #[command(
        name = "support-bundle",
        after_help = "Examples:
  0711 support-bundle                      support-SLUG-TIME.tar.zst, here
  0711 support-bundle --preview            shows each file first, and asks
  0711 support-bundle --since 24h --max-mb 10 --out /tmp/s.tar.zst

Every secret of the installation is looked for in all of it, in the forms programs write secrets in. When one is found,
nothing is written, and the exit code is 16. Names of documents are left out unless --with-names is given."
    )]
    SupportBundle(SupportArgs),
    /// Make, prove and put back backups
    Backup(BackupArgs),
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
    /// Ask one service whether it is ready (the health check of a container)
    #[command(hide = true)]
    Probe(ServeArgs),
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
    /// Whether people find only what they may read (see `0711 help access`)
    #[arg(long, value_enum)]
    pub permissions: Option<PermissionsArg>,
    /// The models: cpu-small (runs anywhere), or gpu-vllm (on NVIDIA cards, with a bundle that carries them)
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Run the services as processes or as containers (default: containers when a bundle is named)
    #[arg(long, value_enum)]
    pub runtime: Option<RuntimeArg>,
    /// Where newer releases come from: an https address, or a folder (only where no updates were set up before)
    #[arg(long, value_name = "URL|DIR")]
    pub update_channel: Option<String>,
    /// Who decides that a newer release is installed
    #[arg(long, value_enum, requires = "update_channel")]
    pub update_policy: Option<PolicyArg>,
    /// When the services may be stopped for one, for instance `22:00-04:00`
    #[arg(long, value_name = "TIMES", requires = "update_channel")]
    pub update_window: Option<String>,
    /// A release bundle: images and models come from it
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// A trusted root.json for the bundle, instead of those in trust.d; may be given several times
    #[arg(long = "trust-root", value_name = "FILE", requires = "bundle")]
    pub trust_roots: Vec<PathBuf>,
}

/// What the services run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RuntimeArg {
    /// Processes of this machine
    Native,
    /// Containers of a Docker engine
    Docker,
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
    /// Go on with the plan that is on the disk, and decide nothing anew
    #[arg(long, conflicts_with_all = ["demo", "answers", "license", "customer", "folders", "runtime"])]
    pub resume: bool,
    /// Stop when the services are ready; `--resume` does the rest (an update does this)
    #[arg(long, hide = true)]
    pub until_ready: bool,
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
pub struct StatusArgs {
    /// Draw it anew every two seconds, until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// How many, when --since is not given
    #[arg(short = 'n', long, default_value_t = 50)]
    pub lines: usize,
    /// From when on: a time (2026-11-25T08:00:00Z), or how long ago (30m, 2h, 7d)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Go on as things happen
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
pub struct EgressArgs {
    /// Write a signed report to this file
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub report: Option<PathBuf>,
    /// Check a report, and show what it says
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
    /// The key that must have signed it, 64 hexadecimal digits; without it, the installation's own
    #[arg(long, value_name = "HEX", requires = "check")]
    pub key: Option<String>,
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
    /// Keep the folders of the installation in step from now on, as long as it runs; `off` ends that. Without an installation: read, and
    /// go on reading what changes until Ctrl-C
    #[arg(long, value_enum, value_name = "on|off", num_args = 0..=1, default_missing_value = "on", require_equals = true)]
    pub watch: Option<Toggle>,
    /// License: an id, or a file (default: the installed one, else the demo license)
    #[arg(long, value_name = "ID|FILE")]
    pub license: Option<String>,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Toggle {
    /// From now on
    On,
    /// No longer
    Off,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DomainsArgs {
    /// Only those of this domain
    #[arg(long, value_enum)]
    pub domain: Option<DomainArg>,
    #[command(subcommand)]
    pub verb: Option<DomainsVerb>,
}

#[derive(Debug, Subcommand)]
pub enum DomainsVerb {
    /// Say where a document belongs
    Set {
        /// Its path below its folder, or the end of it
        document: String,
        /// Where it belongs
        #[arg(value_enum)]
        domain: DomainArg,
    },
}

/// Where a document belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DomainArg {
    /// Catalogues and their classification
    Etim,
    /// What is made: datasheets, manuals, certificates, prices
    Product,
    /// Customs and taxes
    Ctax,
    /// None of them
    None,
}

impl From<DomainArg> for ::ingest::Domain {
    fn from(domain: DomainArg) -> Self {
        match domain {
            DomainArg::Etim => Self::Etim,
            DomainArg::Product => Self::Product,
            DomainArg::Ctax => Self::Ctax,
            DomainArg::None => Self::None,
        }
    }
}

#[derive(Debug, Args)]
pub struct ExtractArgs {
    pub file: PathBuf,
    /// What to print: the text, or the data of a catalogue or an invoice as JSON, one product or invoice a line
    #[arg(long = "as", value_enum, default_value_t = ExtractAs::Text, value_name = "VIEW")]
    pub view: ExtractAs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExtractAs {
    /// The text: Markdown, or blocks with their places with --json
    Text,
    /// Products with features and prices (BMEcat, ETIM xChange), or invoices with the verdict on them
    Structured,
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
    /// Only passages in this language (de, en, …); may be given more than once, as the next three may
    #[arg(long, value_name = "CODE")]
    pub language: Vec<String>,
    /// Only documents of this format (pdf, xlsx, …)
    #[arg(long, value_name = "FORMAT")]
    pub format: Vec<String>,
    /// Only documents in this folder or below it: a way below an ingested folder, or an absolute one
    #[arg(long, value_name = "FOLDER")]
    pub folder: Vec<String>,
    /// Only this document: its way below the ingested folder, its name, or its id
    #[arg(long, value_name = "DOCUMENT")]
    pub document: Vec<String>,
    /// Only what somebody in these groups may read; `user:NAME` stands for a person
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',')]
    pub as_groups: Option<Vec<String>>,
    /// Search the lake as it was after this commit (see `0711 lake snapshot list`)
    #[arg(long, value_name = "COMMIT")]
    pub at: Option<u64>,
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
    /// Run a handler over a file sent over standard input
    Handler,
}
