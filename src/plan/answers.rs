use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use base::{Slug, config::Permissions};
use serde::{Deserialize, Serialize};

use crate::{Error, Fault, Faults};

/// What a person decided: everything an installation needs to know beyond license, models and machine.
///
/// The wizard, the flags and `--answers FILE` all end in this type. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Version of this format: 1.
    pub format: u32,
    /// Whose brain it is.
    pub customer: CustomerAnswers,
    /// License id or path to a license file.
    pub license: String,
    /// Folders to read, absolute.
    pub folders: Vec<PathBuf>,
    /// Who may reach the console and the API.
    #[serde(default)]
    pub console: ConsoleReach,
    /// Budget of one training run in minutes; 0 trains nothing at install.
    #[serde(default = "default_training_minutes")]
    pub training_minutes: u32,
    /// First port of the block of 100; without it a free block is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_base: Option<u16>,
    /// Language of the console.
    #[serde(default)]
    pub language: Language,
    /// Model profile of the catalogue.
    #[serde(default = "default_profile")]
    pub profile: String,
    /// Whether people find only what they may read.
    #[serde(default, skip_serializing_if = "Permissions::is_off")]
    pub permissions: Permissions,
    /// Whether the services are processes or containers.
    #[serde(default, skip_serializing_if = "Runtime::is_native")]
    pub runtime: Runtime,
    /// Where newer releases come from. Absent, nothing is looked for, until `0711 update configure` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<UpdateAnswers>,
}

/// Where newer releases come from, and who decides. It holds for the whole machine, and is set up once: what an administrator changes later
/// stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateAnswers {
    /// An https address, or a folder.
    pub channel: String,
    /// Who decides that a release is installed.
    #[serde(default)]
    pub policy: UpdatePolicy,
    /// When the services may be stopped, `22:00-04:00`; always, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
}

/// Who decides that a release is installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdatePolicy {
    /// Nobody looks for releases; `0711 update` does when a person types it.
    #[default]
    Manual,
    /// The agent looks and prepares; a person approves.
    Approve,
    /// The agent installs, in the window.
    Automatic,
}

/// What the services run as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Processes of this machine.
    #[default]
    Native,
    /// Containers of a Docker engine, from the images of a release bundle.
    Docker,
}

impl Runtime {
    fn is_native(&self) -> bool {
        *self == Self::Native
    }
}

/// The customer part of [`Answers`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerAnswers {
    /// The company's name, as people write it.
    pub name: String,
    /// Its short name in paths and ports; derived from the name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<Slug>,
}

/// Who may reach the console and the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleReach {
    /// Address to listen on. Only loopback is accepted as long as the console speaks no TLS of its own.
    #[serde(default = "loopback")]
    pub bind: IpAddr,
    /// Host names under which people come in, for instance through a TLS proxy on this machine; loopback names are
    /// always allowed.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Language of the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// German.
    De,
    /// English.
    #[default]
    En,
}

impl Default for ConsoleReach {
    fn default() -> Self {
        Self { bind: loopback(), hosts: Vec::new() }
    }
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

fn default_training_minutes() -> u32 {
    Answers::DEFAULT_TRAINING_MINUTES
}

fn default_profile() -> String {
    Answers::DEFAULT_PROFILE.to_owned()
}

/// A name longer than this is a mistake, and would not fit a screen.
const NAME_CHARACTERS_MAX: usize = 120;
const TRAINING_MINUTES_MAX: u32 = 24 * 60;
/// Below are the system's ports, above is where the kernel takes ports for outgoing connections (32768 by default).
const PORT_BASES: std::ops::RangeInclusive<u16> = 1024..=32_600;

impl Answers {
    /// The version of the format this program writes and reads.
    pub const FORMAT: u32 = 1;
    /// What the wizard proposes.
    pub const DEFAULT_TRAINING_MINUTES: u32 = 2;
    /// The profile that runs on any machine.
    pub const DEFAULT_PROFILE: &str = "cpu-small";

    /// The profile whose models run in vLLM on graphics cards, and come from a release bundle.
    pub const GPU_PROFILE: &str = "gpu-vllm";

    /// Returns whether the models run on graphics cards.
    pub fn is_gpu(&self) -> bool {
        self.profile == Self::GPU_PROFILE
    }

    /// Returns answers with the defaults for everything but these three.
    pub fn new(name: impl Into<String>, license: impl Into<String>, folders: Vec<PathBuf>) -> Self {
        Self {
            format: Self::FORMAT,
            customer: CustomerAnswers { name: name.into(), slug: None },
            license: license.into(),
            folders,
            console: ConsoleReach::default(),
            training_minutes: Self::DEFAULT_TRAINING_MINUTES,
            port_base: None,
            language: Language::default(),
            profile: default_profile(),
            permissions: Permissions::default(),
            runtime: Runtime::default(),
            updates: None,
        }
    }

    /// Parses an answers file.
    ///
    /// # Errors
    /// [`Error::AnswersUnreadable`] for text that is not such a file, [`Error::FormatUnknown`] for another version.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        match crate::other_yaml_format(text.as_bytes(), Self::FORMAT) {
            Some(found) => Err(Error::FormatUnknown { what: "answers", found, known: Self::FORMAT }),
            None => serde_yaml::from_str(text).map_err(|source| Error::AnswersUnreadable { source }),
        }
    }

    /// Returns the answers as a file that [`Answers::from_yaml`] reads.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for a path that is not UTF-8.
    pub fn to_yaml(&self) -> Result<String, Error> {
        serde_yaml::to_string(self).map_err(|source| Error::Unwritable { what: "answers", source: source.into() })
    }

    /// Returns the customer's short name: the given one, else the one derived from the name.
    ///
    /// # Errors
    /// When no short name can be derived.
    pub fn slug(&self) -> Result<Slug, Fault> {
        match &self.customer.slug {
            Some(slug) => Ok(slug.clone()),
            None => Slug::from_name(&self.customer.name)
                .map_err(|_| Fault::NameWithoutSlug { name: self.customer.name.clone() }),
        }
    }

    /// Checks everything that can be known without looking at the machine.
    ///
    /// # Errors
    /// All faults together.
    pub fn check(&self) -> Result<(), Faults> {
        Faults::none_or(self.faults())
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let name = self.customer.name.trim();
        if name.is_empty() {
            faults.push(Fault::NameMissing);
        } else if name.chars().count() > NAME_CHARACTERS_MAX || name.chars().any(char::is_control) {
            faults.push(Fault::NameUnusable { characters_max: NAME_CHARACTERS_MAX });
        } else {
            faults.extend(self.slug().err());
        }
        if self.license.trim().is_empty() {
            faults.push(Fault::LicenseMissing);
        }
        faults.extend(folder_faults(&self.folders));
        if !self.console.bind.is_loopback() {
            faults.push(Fault::NeedsTls { bind: self.console.bind });
        }
        let bad_hosts = self.console.hosts.iter().filter(|host| !is_host_name(host));
        faults.extend(bad_hosts.map(|host| Fault::HostInvalid { host: host.clone() }));
        if self.training_minutes > TRAINING_MINUTES_MAX {
            faults.push(Fault::TrainingTooLong { minutes: self.training_minutes, minutes_max: TRAINING_MINUTES_MAX });
        }
        if let Some(port_base) = self.port_base.filter(|base| !PORT_BASES.contains(base)) {
            faults.push(Fault::PortBaseOutOfRange {
                port_base,
                lowest: *PORT_BASES.start(),
                highest: *PORT_BASES.end(),
            });
        }
        faults
    }
}

fn folder_faults(folders: &[PathBuf]) -> Vec<Fault> {
    if folders.is_empty() {
        return vec![Fault::NoFolders];
    }
    let mut faults = Vec::new();
    for (index, folder) in folders.iter().enumerate() {
        if !folder.is_absolute() || has_parent_parts(folder) {
            faults.push(Fault::FolderNotAbsolute { path: folder.clone() });
        }
        if folder.to_str().is_none() {
            faults.push(Fault::FolderNotUnicode { path: folder.clone() });
        }
        for (other_index, other) in folders.iter().enumerate() {
            // A folder inside another would be read twice, as two documents each.
            if other_index != index && folder.starts_with(other) && (folder != other || index > other_index) {
                faults.push(Fault::FolderInside { inner: folder.clone(), outer: other.clone() });
            }
        }
    }
    faults
}

fn has_parent_parts(path: &Path) -> bool {
    path.components().any(|part| matches!(part, std::path::Component::ParentDir))
}

/// Letters, digits, `-` and `.` by RFC 1123, without a port: the Host header's port is checked against our own.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Answers)) -> Vec<String> {
        let mut answers = Answers::new("Müller & Söhne GmbH", "DEMO", vec!["/srv/prices".into()]);
        change(&mut answers);
        answers.faults().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_answers_file_comes_back_as_it_went() {
        let mut answers = Answers::new("Eaton", "ENTERPRISE-EATON-2025", vec!["/srv/a b".into(), "/data".into()]);
        answers.console.hosts = vec!["brain.example.com".into()];
        answers.port_base = Some(6100);
        let (channel, window) = ("https://releases.example.com/stable".into(), Some("22:00-04:00".into()));
        answers.updates = Some(UpdateAnswers { channel, policy: UpdatePolicy::Approve, window });
        assert_eq!(Answers::from_yaml(&answers.to_yaml().unwrap()).unwrap(), answers);
    }

    #[test]
    fn a_short_file_has_defaults() {
        let answers =
            Answers::from_yaml("format: 1\ncustomer: {name: Eaton}\nlicense: DEMO\nfolders: [/srv]\n").unwrap();
        assert_eq!(answers, Answers::new("Eaton", "DEMO", vec!["/srv".into()]));
        assert_eq!(answers.slug().unwrap().as_str(), "eaton");
    }

    #[test]
    fn an_unknown_field_or_version_is_refused() {
        let text = "format: 1\ncustomer: {name: Eaton}\nlicense: DEMO\nfolders: [/srv]\n";
        assert!(matches!(Answers::from_yaml(&format!("{text}folder: /x\n")), Err(Error::AnswersUnreadable { .. })));
        assert!(matches!(
            Answers::from_yaml(&text.replace("format: 1", "format: 2")),
            Err(Error::FormatUnknown { found: 2, .. })
        ));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faults = check(|answers| {
            answers.customer.name = " ".into();
            answers.folders = vec!["relative".into(), "/srv/../etc".into()];
            answers.console = ConsoleReach { bind: [0, 0, 0, 0].into(), hosts: vec!["bad host".into()] };
            answers.port_base = Some(80);
            answers.training_minutes = 100_000;
        });
        assert_eq!(faults.len(), 7, "{faults:#?}");
    }

    #[test]
    fn a_folder_is_read_once() {
        assert_eq!(check(|answers| answers.folders = vec!["/srv/a".into(), "/srv/ab".into()]), Vec::<String>::new());
        assert_eq!(check(|answers| answers.folders = vec!["/srv".into(), "/srv/a".into()]).len(), 1);
        assert_eq!(check(|answers| answers.folders = vec!["/srv".into(), "/srv".into()]).len(), 1);
        assert_eq!(check(|answers| answers.folders.clear()), ["no folder to read is named"]);
    }

    #[test]
    fn a_name_needs_a_short_form() {
        assert_eq!(check(|answers| answers.customer.name = "株式会社".into()).len(), 1);
        let given = |answers: &mut Answers| {
            answers.customer =
                CustomerAnswers { name: "株式会社".into(), slug: Some(Slug::parse("kabu").unwrap()) };
        };
        assert_eq!(check(given), Vec::<String>::new());
    }
}
