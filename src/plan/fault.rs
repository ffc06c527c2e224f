use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use base::{Exit, Explain, Remedy, Role, Slug, Timestamp};

use crate::render::bytes_for_people;

/// One reason why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the text of each variant is its documentation
pub enum Fault {
    #[error("the customer's name is missing")]
    NameMissing,
    #[error("the customer's name has control characters or more than {characters_max} characters")]
    NameUnusable { characters_max: usize },
    #[error("no short name can be derived from `{name}`")]
    NameWithoutSlug { name: String },
    #[error("no license is named")]
    LicenseMissing,
    #[error("no folder to read is named")]
    NoFolders,
    #[error("folder `{}` is not a plain absolute path", path.display())]
    FolderNotAbsolute { path: PathBuf },
    #[error("folder `{}` has a name that is not UTF-8", path.display())]
    FolderNotUnicode { path: PathBuf },
    #[error("folder `{}` lies in `{}` and would be read twice", inner.display(), outer.display())]
    FolderInside { inner: PathBuf, outer: PathBuf },
    #[error("the console cannot listen on {bind}: beyond loopback it needs TLS, which it does not speak itself")]
    NeedsTls { bind: IpAddr },
    #[error("`{host}` is not a host name")]
    HostInvalid { host: String },
    #[error("a training budget of {minutes} minutes is more than {minutes_max}")]
    TrainingTooLong { minutes: u32, minutes_max: u32 },
    #[error("port base {port_base} is not between {lowest} and {highest}")]
    PortBaseOutOfRange { port_base: u16, lowest: u16, highest: u16 },
    #[error("model profile `{profile}` has no {missing} model")]
    ModelMissing { profile: String, missing: &'static str },
    #[error("no release names a model for {missing} of profile `{profile}`, which is a folder of safetensors")]
    FolderMissingInRelease { profile: String, missing: &'static str },
    #[error("the GPU profile runs vLLM, which is a container")]
    GpuNeedsContainers,
    #[error("the license allows no graphics card")]
    GpusNotLicensed,
    #[error("containers cannot use a graphics card: {seen}")]
    Gpu { seen: String, remedy: String },
    #[error("{cards} of this machine's graphics cards hold {} of a model; {} are needed", bytes_for_people(*total_bytes), bytes_for_people(*needed_bytes))]
    GpuMemoryTooSmall { cards: u32, needed_bytes: u64, total_bytes: u64 },
    #[error(
        "what is installed was read with the models of profile `{installed}`, and another profile's vectors do not fit them"
    )]
    ProfileFixed { installed: String },
    #[error("folder `{}` does not exist", path.display())]
    FolderMissing { path: PathBuf },
    #[error("`{}` is not a folder", path.display())]
    NotAFolder { path: PathBuf },
    #[error("folder `{}` may not be read by this user", path.display())]
    FolderDenied { path: PathBuf },
    #[error("folder `{}` and the installation's own `{}` lie in each other", path.display(), own.display())]
    FolderHoldsInstallation { path: PathBuf, own: PathBuf },
    #[error("this processor lacks {}", missing.join(", "))]
    ProcessorTooOld { missing: Vec<String> },
    #[error("this machine has {} of memory; the services need {}", bytes_for_people(*total_bytes), bytes_for_people(*needed_bytes))]
    MemoryTooSmall { needed_bytes: u64, total_bytes: u64 },
    #[error("`{}` has {} free; {} are needed", path.display(), bytes_for_people(*free_bytes), bytes_for_people(*needed_bytes))]
    DiskTooSmall { path: PathBuf, needed_bytes: u64, free_bytes: u64 },
    #[error("port {port} for {what} is held by {holder}")]
    PortTaken { port: u16, what: String, holder: String },
    #[error("`{slug}` has the ports from {recorded} on; they never change, so {asked} cannot be used")]
    PortBaseFixed { slug: Slug, recorded: u16, asked: u16 },
    #[error("the ports from {port_base} on belong to `{owner}`")]
    PortBaseTaken { port_base: u16, owner: Slug },
    #[error("no block of 100 ports is free")]
    NoFreePorts,
    #[error("the services are installed as processes and are to be containers, or the other way round")]
    RuntimeFixed,
    #[error("the services are to be containers, and there is no image `{name}` for them")]
    ImageMissing { name: &'static str },
    #[error("the license is for `{licensed}`, not for `{slug}`")]
    LicenseForOther { licensed: Slug, slug: Slug },
    #[error("the license is valid from {from} on")]
    LicenseNotYet { from: Timestamp },
    #[error("the license expired on {since}, and a new installation needs a valid one")]
    LicenseExpired { since: Timestamp },
}

impl Fault {
    /// Returns the words for a port's use.
    pub(crate) fn port_use(role: Option<Role>) -> String {
        role.map_or_else(|| "the API".to_owned(), |role| format!("`{role}`"))
    }
}

impl Explain for Fault {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::NameMissing | Self::NameUnusable { .. } => "name the company with `--customer \"NAME\"`",
            Self::NameWithoutSlug { .. } => "give a short name with `--slug NAME` (a-z, 0-9 and -)",
            Self::LicenseMissing | Self::LicenseForOther { .. } => {
                "name the customer's license with `--license ID_OR_FILE`"
            }
            Self::LicenseNotYet { .. } | Self::LicenseExpired { .. } => {
                "ask the vendor for a license valid today, and check this machine's clock"
            }
            Self::NoFolders => "name at least one folder with `--folder PATH`",
            Self::FolderNotAbsolute { .. } | Self::FolderNotUnicode { .. } => {
                "give the folder's full path, without `..`"
            }
            Self::FolderInside { .. } => "keep only the outer folder",
            Self::NeedsTls { .. } => {
                "keep 127.0.0.1, let a TLS proxy on this machine forward to the console, and name its host with `--console-host NAME`"
            }
            Self::HostInvalid { .. } => "give host names only: no scheme, port or path",
            Self::TrainingTooLong { .. } => "give fewer minutes with `--training-minutes N`",
            Self::PortBaseOutOfRange { .. } | Self::PortBaseTaken { .. } => "choose another block with `--port-base N`",
            Self::PortBaseFixed { .. } => "leave out `--port-base`",
            Self::NoFreePorts => "choose a block yourself with `--port-base N`",
            Self::ModelMissing { .. } => "choose another profile; `0711 models list` shows them",
            Self::FolderMissingInRelease { .. } => {
                "name a release bundle that carries these models with `--bundle PATH`, or use `--profile cpu-small`"
            }
            Self::GpuNeedsContainers => "name the release bundle with `--bundle PATH`, or use `--profile cpu-small`",
            Self::GpusNotLicensed => "ask the vendor for a license with GPUs, or use `--profile cpu-small`",
            Self::Gpu { remedy, .. } => remedy.as_str(),
            Self::GpuMemoryTooSmall { .. } => {
                "use a machine with more or larger cards (the number that counts is the largest of 1, 2, 4, 8 that the license allows), or a release with a smaller model"
            }
            Self::ProfileFixed { .. } => {
                "leave out `--profile`, or install beside it with another `--slug` or `--root`; changing the models of what was read comes with a later version"
            }
            Self::RuntimeFixed => {
                "run `0711 uninstall` first: it keeps the data, and the next `0711 install` takes it up"
            }
            Self::ImageMissing { .. } => "name the release bundle with `--bundle PATH`, or use `--runtime native`",
            Self::FolderMissing { .. } | Self::NotAFolder { .. } => "correct the path, or mount what it stands for",
            Self::FolderDenied { .. } => "give this user the right to read it, or run as a user who may",
            Self::FolderHoldsInstallation { .. } => "choose another `--root`, or a folder beside it",
            Self::ProcessorTooOld { .. } => {
                "use a machine with a processor of the x86-64-v3 level (from about 2015 on); a virtual machine may hide it: set its processor type to `host`"
            }
            Self::MemoryTooSmall { .. } => "use a machine with more memory",
            Self::DiskTooSmall { .. } => "free space there, or choose another place with `--root DIR`",
            Self::PortTaken { .. } => "stop that program, or choose another block with `--port-base N`",
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::LicenseForOther { .. }
            | Self::LicenseNotYet { .. }
            | Self::LicenseExpired { .. }
            | Self::GpusNotLicensed => Exit::License,
            Self::NameMissing
            | Self::NameUnusable { .. }
            | Self::NameWithoutSlug { .. }
            | Self::LicenseMissing
            | Self::NoFolders
            | Self::FolderNotAbsolute { .. }
            | Self::FolderNotUnicode { .. }
            | Self::FolderInside { .. }
            | Self::NeedsTls { .. }
            | Self::HostInvalid { .. }
            | Self::TrainingTooLong { .. }
            | Self::PortBaseOutOfRange { .. }
            | Self::ModelMissing { .. }
            | Self::FolderMissingInRelease { .. }
            | Self::GpuNeedsContainers
            | Self::ProfileFixed { .. }
            | Self::ImageMissing { .. } => Exit::Usage,
            _ => Exit::Preflight,
        }
    }
}

/// All the reasons together; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn none_or(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// Returns the faults, in the order they were found.
    pub fn list(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = &self.0[..] {
            return fault.fmt(out);
        }
        write!(out, "{} things stand in the way", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(out, "\n  - {fault}"))
    }
}

impl std::error::Error for Faults {}

impl Explain for Faults {
    fn remedy(&self) -> Option<Remedy> {
        let mut remedies: Vec<_> = self.0.iter().filter_map(Explain::remedy).map(|remedy| remedy.0).collect();
        remedies.dedup();
        (!remedies.is_empty()).then(|| Remedy(remedies.join("; ")))
    }

    /// Wrong answers first: they are mended before anything else is worth looking at.
    fn exit(&self) -> Exit {
        let codes: Vec<_> = self.0.iter().map(Explain::exit).collect();
        [Exit::Usage, Exit::License].into_iter().find(|code| codes.contains(code)).unwrap_or(Exit::Preflight)
    }
}
