//! What can be typed of bundles and releases.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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

Where an image comes from, in the specification:
  from: binary                                           the program itself
  from: !registry quay.io/minio/minio:1.2@sha256:...     pulled, by digest; a tag alone is refused
  from: !engine minio:1.2                                exported by the Docker engine of this machine
  from: !docker-archive minio.tar                        what `docker save` wrote

Registries are asked with the log-ins of `docker login` (~/.docker/config.json; no helper programs), else anonymously. What
was pulled lies in DIR/.pulled until the build ends: after an interruption the same command goes on with it. The same binary,
specification and models give the same bytes, and an image the same whichever way it came.")]
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
    /// Fetch the newest release of a channel into a folder: a bundle like one from a stick, proven the same way
    #[command(after_help = "Examples:
  0711 bundle fetch https://updates.example.com/stable --out ./bundle --limit-rate 5M
  0711 bundle fetch https://updates.example.com/stable --out ./bundle --have ./bundle-0.1.0 --have /var/lib/0711/models
  0711 bundle fetch /mnt/share/stable --out ./bundle --trust-root root.json --json

Trusted metadata is brought up to date and kept first: nothing older is taken after it, here or from a stick. Then the space is weighed,
and what is missing is fetched, resumed and proven. The same command goes on where an earlier one stopped, however that ended.
Without --proxy the variables https_proxy and no_proxy count. A server's expired metadata is refused; a folder's is a warning.
Exit codes: 7 no answer, 9 untrusted, 10 older than seen, 11 expired, 12 damaged.")]
    Fetch(FetchArgs),
    /// Prove a bundle and bring its images into the Docker engine (`install` does this too)
    #[command(after_help = "Examples:
  0711 bundle load /media/stick/bundle
  0711 bundle load ./delta --earlier ./bundle-0.1.0 --json

Only layers the engine lacks are sent. What is there is left alone, so the same command again goes on where it stopped.")]
    Load {
        bundle: PathBuf,
        /// A trusted root.json, obtained separately; may be given several times
        #[arg(long = "trust-root", value_name = "FILE")]
        roots: Vec<PathBuf>,
        /// An earlier bundle, whose blobs a delta leaves out
        #[arg(long, value_name = "DIR")]
        earlier: Vec<PathBuf>,
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

#[derive(Debug, Args)]
pub struct FetchArgs {
    /// https://…, file://… or a folder: a web server, a share, a stick
    pub channel: String,
    /// The bundle's folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A trusted root.json, obtained separately; may be given several times
    #[arg(long = "trust-root", value_name = "FILE")]
    pub roots: Vec<PathBuf>,
    /// A bundle, or a folder of models, whose blobs need not be fetched
    #[arg(long, value_name = "DIR")]
    pub have: Vec<PathBuf>,
    /// At most so many bytes per second: 500K, 5M
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit_rate: Option<u64>,
    /// The proxy, such as http://proxy:3128; one with a password goes into the variable https_proxy
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// The certificate (PEM) of an authority to be trusted beside the machine's own
    #[arg(long = "ca", value_name = "FILE")]
    pub authorities: Vec<PathBuf>,
    /// Refuse expired metadata of a folder too
    #[arg(long)]
    pub online: bool,
}

/// Reads `500K`, `5M`, `1G`: bytes, in thousands.
fn rate(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.to_ascii_uppercase().chars().last() {
        Some('K') => (&text[..text.len() - 1], 1_000),
        Some('M') => (&text[..text.len() - 1], 1_000_000),
        Some('G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().map_err(|_| "a number of bytes, such as 500K or 5M".to_owned())?;
    match count.checked_mul(factor) {
        Some(rate) if rate >= 1_000 => Ok(rate),
        _ => Err("at least 1K".to_owned()),
    }
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
    /// Drive the update client as the public conformance suite of TUF wants it
    #[command(hide = true)]
    ConformanceClient(ConformanceArgs),
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

/// The command line of theupdateframework/tuf-conformance (CLIENT-CLI.md).
#[derive(Debug, Args)]
pub struct ConformanceArgs {
    /// Where trusted metadata is kept
    #[arg(long, value_name = "DIR")]
    pub metadata_dir: PathBuf,
    /// Where the repository's metadata is
    #[arg(long, value_name = "URL")]
    pub metadata_url: Option<String>,
    /// The target to be downloaded
    #[arg(long, value_name = "PATH")]
    pub target_name: Option<String>,
    /// Where the repository's targets are
    #[arg(long, value_name = "URL")]
    pub target_base_url: Option<String>,
    /// Where downloaded targets go
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub verb: ConformanceVerb,
}

#[derive(Debug, Subcommand)]
pub enum ConformanceVerb {
    /// Begin at this root
    Init { trusted_root: PathBuf },
    /// Bring the metadata up to date
    Refresh,
    /// Bring the metadata up to date and download a target
    Download,
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
