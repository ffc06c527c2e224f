use std::collections::HashSet;

use base::Digest;

use crate::{
    Error, ModelRole, Source,
    format::{CatalogueFile, FORMAT, ModelEntry},
};

const EMBEDDED: &str = include_str!("../../bundles/models.yaml");

/// The models there are, and the profiles that choose among them. Whoever holds one holds a checked one.
#[derive(Clone, Debug)]
pub struct Catalogue {
    digest: Digest,
    profiles: Vec<Profile>,
    models: Vec<Model>,
}

/// Which models an installation runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    /// The name of the model that answers.
    pub chat: String,
    /// The name of the model that embeds.
    pub embed: String,
}

/// A model of the catalogue. Its digest is its identity.
#[derive(Clone, Debug)]
pub struct Model(ModelEntry);

impl Model {
    /// Returns the name people call it by.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns what it is for.
    pub fn role(&self) -> ModelRole {
        self.0.role
    }

    /// Returns the format of its file: `gguf` or `e5s1`.
    pub fn format(&self) -> &str {
        &self.0.format
    }

    /// Returns the licence its weights are under, as an SPDX id.
    pub fn licence(&self) -> &str {
        &self.0.licence
    }

    /// Returns the size of its file.
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    /// Returns the digest of its file.
    pub fn digest(&self) -> Digest {
        self.0.sha256
    }

    /// Returns the most tokens it can look at.
    pub fn context_tokens(&self) -> u32 {
        self.0.context_tokens
    }

    /// Returns the length of its vectors, for a model that embeds.
    pub fn dimension(&self) -> Option<u32> {
        self.0.dimension
    }

    /// Returns what a question begins with when it is embedded.
    pub fn query_prefix(&self) -> &str {
        &self.0.query_prefix
    }

    /// Returns what a passage begins with when it is embedded.
    pub fn passage_prefix(&self) -> &str {
        &self.0.passage_prefix
    }

    /// Returns where its file may come from, in the order to try.
    pub fn sources(&self) -> &[Source] {
        &self.0.sources
    }
}

impl Catalogue {
    /// Returns the catalogue of this program.
    pub fn embedded() -> Result<Self, Error> {
        Self::parse(EMBEDDED)
    }

    /// Reads and checks the text of a catalogue. All its faults are reported together.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: CatalogueFile = serde_yaml::from_str(text).map_err(Error::CatalogueSyntax)?;
        let faults = faults(&file);
        if !faults.is_empty() {
            return Err(Error::Catalogue { faults: faults.join("; ") });
        }
        let profiles =
            file.profiles.into_iter().map(|(name, profile)| Profile { name, chat: profile.chat, embed: profile.embed });
        Ok(Self {
            digest: Digest::of(text.as_bytes()),
            profiles: profiles.collect(),
            models: file.models.into_iter().map(Model).collect(),
        })
    }

    /// Returns the digest of the catalogue's text.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns every model.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Returns every profile.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Returns a model by its name.
    pub fn model(&self, name: &str) -> Result<&Model, Error> {
        self.models.iter().find(|model| model.name() == name).ok_or_else(|| Error::UnknownModel {
            name: name.to_owned(),
            known: self.models.iter().map(|model| model.name().to_owned()).collect(),
        })
    }

    /// Returns a profile by its name.
    pub fn profile(&self, name: &str) -> Result<&Profile, Error> {
        self.profiles.iter().find(|profile| profile.name == name).ok_or_else(|| Error::UnknownProfile {
            name: name.to_owned(),
            known: self.profiles.iter().map(|profile| profile.name.clone()).collect(),
        })
    }
}

fn faults(file: &CatalogueFile) -> Vec<String> {
    let mut faults = Vec::new();
    if file.format != FORMAT {
        return vec![format!("it has format {}, this program reads {FORMAT}", file.format)];
    }
    let (mut names, mut digests) = (HashSet::new(), HashSet::new());
    for model in &file.models {
        let name = &model.name;
        if !is_name(name) {
            faults.push(format!("`{name}` is not a name of a-z, 0-9, `-`, `_` and `.`"));
        }
        if !names.insert(name) {
            faults.push(format!("`{name}` stands in it twice"));
        }
        if !digests.insert(model.sha256) {
            faults.push(format!("`{name}` has the digest of another model"));
        }
        if model.size_bytes == 0 || model.context_tokens == 0 {
            faults.push(format!("`{name}` has no size or no context"));
        }
        if (model.role == ModelRole::Embed) != model.dimension.is_some() {
            faults.push(format!("`{name}`: a dimension belongs to every model that embeds, and to no other"));
        }
        if model.sources.is_empty() {
            faults.push(format!("`{name}` has no source"));
        }
        faults.extend(model.sources.iter().filter_map(|source| source_fault(name, source)));
    }
    for (profile, entry) in &file.profiles {
        for (wanted, role) in [(&entry.chat, ModelRole::Chat), (&entry.embed, ModelRole::Embed)] {
            if !file.models.iter().any(|model| &model.name == wanted && model.role == role) {
                faults.push(format!("profile `{profile}` names `{wanted}`, which is no {role} model"));
            }
        }
    }
    faults
}

fn source_fault(model: &str, source: &Source) -> Option<String> {
    let holds = match source {
        Source::File(name) => is_file_name(name),
        // The digest decides about the bytes; TLS keeps others from learning what is fetched.
        Source::Https(address) => ["https://", "http://127.0.0.1:"].iter().any(|start| address.starts_with(start)),
        // These become arguments of a command: nothing in them may be read as an option or as another requirement.
        Source::Pip(pip) => is_name(&pip.package.to_lowercase()) && is_name(&pip.version) && !pip.member.is_empty(),
    };
    (!holds).then(|| format!("`{model}` has a source that cannot be used: {source}"))
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= 64 && text.chars().all(allowed)
}

fn is_file_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '\0']) && !matches!(text, "." | "..")
}
