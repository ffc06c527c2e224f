use std::path::PathBuf;

use base::{Exit, Explain, Remedy, Timestamp, file};

/// Why a license was refused, could not be found, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the license")]
    Read(#[source] file::ReadError),
    #[error("no license `{id}` beside the installer, in the configuration folder or in this program")]
    NotFound { id: String, searched: Vec<PathBuf> },
    #[error("the license has {size_bytes} bytes, more than the {max_bytes} a license may have")]
    TooLarge { size_bytes: u64, max_bytes: u64 },
    #[error("the {part} of the license is not the JSON it should be")]
    Json {
        part: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("the {part} of the license is not base64")]
    Base64 {
        part: &'static str,
        #[source]
        source: base64::DecodeError,
    },
    #[error("the payload type is `{found}`, not that of a license")]
    PayloadType { found: String },
    #[error("the license carries no signature")]
    Unsigned,
    #[error("the license carries {count} signatures, more than {max}")]
    TooManySignatures { count: usize, max: usize },
    #[error("the license is signed by {key_ids}, which this program does not trust")]
    UntrustedKey { key_ids: String },
    #[error("the signature by `{key_id}` does not fit the license: it was changed after signing")]
    BadSignature { key_id: String },
    #[error("the key `{key_id}` ({root}) may not sign this: {excess}")]
    BeyondRoot { key_id: String, root: String, excess: String },
    #[error("the license has format {found}; this program reads format {known}")]
    Format { found: u32, known: u32 },
    #[error("the license's field `{field}` {reason}")]
    Field { field: &'static str, reason: String },
    #[error("the license is valid from {not_before} on")]
    NotYetValid { not_before: Timestamp },
    #[error("the license ended on {expires}, and its grace on {grace_ended}")]
    Expired { expires: Timestamp, grace_ended: Timestamp },
    #[error("license `{license_id}` has sequence {offered}, older than the installed {installed}")]
    OlderSequence { license_id: String, offered: u64, installed: u64 },
    #[error("the file of license `{asked}` holds license `{found}`")]
    OtherLicense { asked: String, found: String },
    #[error("the license is bound to another machine: {matching} of its {needed} needed marks were found here")]
    OtherMachine { matching: usize, needed: usize },
    #[error("trust root `{name}` cannot be used: {reason}")]
    Root { name: String, reason: String },
    #[error("`{path}` is not a private key of 0711: {reason}", path = .path.display())]
    PrivateKey { path: PathBuf, reason: String },
    #[error("cannot write `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot get random bytes from the kernel")]
    Random(#[source] std::io::Error),
    #[error("the request for a license is not the YAML it should be")]
    Request(#[source] serde_yaml::Error),
}

impl Error {
    /// Returns the text and all its causes in one line, for lists and JSON.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Read(_) => {
                "check the path after `--license`; it names a license file or an id such as `ENTERPRISE-EATON-2025`".to_owned()
            }
            Self::NotFound { id, searched } => {
                let folders: Vec<String> = searched.iter().map(|dir| format!("`{}`", dir.display())).collect();
                let place = match folders.as_slice() {
                    [] => "beside the installer".to_owned(),
                    several => format!("into {}", several.join(" or ")),
                };
                format!("put `{id}.license` {place}, or name the file itself with `--license FILE`")
            }
            Self::TooLarge { .. }
            | Self::Json { .. }
            | Self::Base64 { .. }
            | Self::PayloadType { .. }
            | Self::Unsigned
            | Self::TooManySignatures { .. }
            | Self::BadSignature { .. } => {
                "use the license file exactly as your vendor sent it, or ask for it again".to_owned()
            }
            Self::UntrustedKey { .. } => {
                "ask your vendor for a license signed for this version of 0711, or try it with `0711 install --demo`".to_owned()
            }
            Self::BeyondRoot { .. } | Self::Field { .. } | Self::OtherLicense { .. } => {
                "ask your vendor for a corrected license".to_owned()
            }
            Self::Format { .. } => "update 0711, then try again".to_owned(),
            Self::NotYetValid { .. } => "wait until then, or check this machine's clock with `date`".to_owned(),
            Self::Expired { .. } => {
                "ask your vendor for a renewed license; if it should still be valid, check this machine's clock with `date`".to_owned()
            }
            Self::OlderSequence { .. } => "use the newest license your vendor sent".to_owned(),
            Self::OtherMachine { .. } => "ask your vendor for a license for this machine".to_owned(),
            Self::Root { .. } => "correct the file in `licenses/trust/` and build again".to_owned(),
            Self::PrivateKey { .. } => {
                "name a key made by `0711 license keygen`, readable by you alone (`chmod 600 FILE`)".to_owned()
            }
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                "choose another file: a private key is never overwritten".to_owned()
            }
            Self::Write { .. } => "check that the folder exists and that you may write there".to_owned(),
            Self::Random(_) => return None,
            Self::Request(_) => {
                "correct the request; `0711 license issue --help` says what it holds".to_owned()
            }
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Write { .. } | Self::Random(_) => Exit::Failed,
            Self::Request(_) | Self::PrivateKey { .. } => Exit::Usage,
            _ => Exit::License,
        }
    }
}

impl From<base::SeedError> for Error {
    fn from(error: base::SeedError) -> Self {
        match error {
            base::SeedError::Read { path, reason } => Self::PrivateKey { path, reason },
            base::SeedError::Write { path, source } => Self::Write { path, source },
            base::SeedError::Random(source) => Self::Random(source),
        }
    }
}

impl From<base::dsse::Error> for Error {
    fn from(error: base::dsse::Error) -> Self {
        use base::dsse::Error as Of;
        match error {
            Of::TooLarge { size_bytes, max_bytes } => Self::TooLarge { size_bytes, max_bytes },
            Of::Json(source) => Self::Json { part: "envelope", source },
            Of::Base64 { part, source } => Self::Base64 { part, source },
            Of::PayloadType { found, .. } => Self::PayloadType { found },
            Of::Unsigned => Self::Unsigned,
            Of::TooManySignatures { count, max } => Self::TooManySignatures { count, max },
            Of::UntrustedKey { key_ids } => Self::UntrustedKey { key_ids },
            Of::BadSignature { key_id } => Self::BadSignature { key_id },
        }
    }
}
