//! A model that is a folder of files: what vLLM and transformers load, sharded weights with tokenizer and configuration beside them.
//!
//! Its digest is that of the list of its files, one line each in the order of paths: 64 hex digits, two spaces, the path, a line feed. That
//! is what `sha256sum` prints, so that anybody can repeat it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base::{Digest, file};
use serde::{Deserialize, Deserializer, de};

use super::{
    Blob, BlobKind, ModelFolder, ReleaseError as Error, ReleaseModel,
    blobs::Blobs,
    format::{ModelFile, is_reference},
};
use crate::ModelRole;

/// The one format of a folder.
const SAFETENSORS: &str = "safetensors";
/// A model of ten thousand files is none.
const MAX_FILES: usize = 10_000;
const MAX_PATH_BYTES: usize = 200;
/// Weights that are programs when they are loaded, and programs: a release carries none.
const PROGRAMS: [&str; 8] = ["bin", "ckpt", "pickle", "pkl", "pt", "pth", "py", "so"];
/// What every client of the role `embed` puts before a text: other prefixes would be promised and not kept.
const PREFIXES: (&str, &str) = ("query: ", "passage: ");

/// A model of a specification: the name of one in the catalogue, or a folder described here.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelSpec {
    Catalogue(String),
    Folder(FolderSpec),
}

/// A model that is a folder of files.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSpec {
    pub name: String,
    pub role: ModelRole,
    /// `safetensors`.
    pub format: String,
    /// As an SPDX id.
    pub licence: String,
    /// The most tokens it shall look at; what a GPU holds of them costs memory.
    pub context_tokens: u32,
    /// Of its vectors, for a model that embeds.
    pub dimension: Option<u32>,
    #[serde(default)]
    pub query_prefix: String,
    #[serde(default)]
    pub passage_prefix: String,
    pub from: ModelSource,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelSource {
    /// A folder; a relative path begins at the specification's folder. In YAML: `from: !folder e5-large`.
    Folder(PathBuf),
}

impl ModelSpec {
    /// Returns the folder it comes from, if it is one.
    pub(crate) fn folder_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Catalogue(_) => None,
            Self::Folder(FolderSpec { from: ModelSource::Folder(path), .. }) => Some(path),
        }
    }
}

/// By hand: serde's way to tell a text from a map reads the value before it knows which, and loses the tag of `from`.
impl<'de> Deserialize<'de> for ModelSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrFolder;
        impl<'de> de::Visitor<'de> for NameOrFolder {
            type Value = ModelSpec;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("the name of a model in the catalogue, or a model with `from: !folder PATH`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ModelSpec, E> {
                Ok(ModelSpec::Catalogue(name.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ModelSpec, A::Error> {
                FolderSpec::deserialize(de::value::MapAccessDeserializer::new(map)).map(ModelSpec::Folder)
            }
        }
        deserializer.deserialize_any(NameOrFolder)
    }
}

impl FolderSpec {
    /// Puts the folder's files into the bundle.
    ///
    /// # Errors
    /// [`Error::Source`] for a folder that cannot be used, [`Error::Write`].
    pub(crate) fn put(&self, blobs: &Blobs, kept: &mut Vec<Blob>) -> Result<ReleaseModel, Error> {
        let ModelSource::Folder(from) = &self.from;
        let refused = |reason: String| Error::Source { path: from.clone(), reason };
        let paths = listed(from)?;
        // Before ninety gigabytes are read.
        self.check(&paths).map_err(refused)?;
        let mut files = Vec::new();
        for path in paths {
            let source = from.join(&path);
            let unusable = |reason: String| Error::Source { path: source.clone(), reason };
            let mut opened = file::open_regular(&source).map_err(|error| unusable(error.to_string()))?;
            let (digest, size_bytes) = blobs.put(|writer| io::copy(&mut opened, writer).map(drop))?;
            kept.push(Blob { digest, size_bytes, kind: BlobKind::Model });
            files.push(ModelFile { path, digest });
        }
        let digest = digest_of(&files);
        let folder = ModelFolder {
            role: self.role,
            format: self.format.clone(),
            licence: self.licence.clone(),
            context_tokens: self.context_tokens,
            dimension: self.dimension,
            query_prefix: self.query_prefix.clone(),
            passage_prefix: self.passage_prefix.clone(),
            files,
        };
        Ok(ReleaseModel { name: self.name.clone(), digest, folder: Some(folder) })
    }

    fn check(&self, paths: &[String]) -> Result<(), String> {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        check_parts(self.role, &self.format, self.context_tokens, self.dimension)?;
        check_prefixes(self.role, &self.query_prefix, &self.passage_prefix)?;
        check_files(self.role, &paths)
    }
}

impl ModelFolder {
    /// Says why the folder's description in a release cannot be used.
    pub(crate) fn check(&self, name: &str, digest: &Digest) -> Result<(), String> {
        // It becomes a word of people's commands, never a path.
        if !is_reference(name, "0") {
            return Err(format!("`{name}` is no name of a model"));
        }
        let paths: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        check_parts(self.role, &self.format, self.context_tokens, self.dimension)
            .and_then(|()| check_prefixes(self.role, &self.query_prefix, &self.passage_prefix))
            .and_then(|()| check_files(self.role, &paths))
            .map_err(|reason| format!("the model `{name}`: {reason}"))?;
        match digest_of(&self.files) == *digest {
            true => Ok(()),
            false => Err(format!("the model `{name}` has not the digest of its files")),
        }
    }
}

/// Returns the digest of a folder: see the top of this file.
pub(crate) fn digest_of(files: &[ModelFile]) -> Digest {
    let list: String = files.iter().map(|file| format!("{}  {}\n", file.digest.hex(), file.path)).collect();
    Digest::of(list.as_bytes())
}

fn check_parts(role: ModelRole, format: &str, context_tokens: u32, dimension: Option<u32>) -> Result<(), String> {
    if format != SAFETENSORS {
        return Err(format!("its format is `{format}`; a folder has the format `{SAFETENSORS}`"));
    }
    if context_tokens == 0 {
        return Err("it has no context".to_owned());
    }
    match (role == ModelRole::Embed) == dimension.is_some_and(|dimension| dimension > 0) {
        true => Ok(()),
        false => Err("a dimension belongs to every model that embeds, and to no other".to_owned()),
    }
}

fn check_prefixes(role: ModelRole, query: &str, passage: &str) -> Result<(), String> {
    match role {
        ModelRole::Embed if (query, passage) != PREFIXES => Err(format!(
            "its prefixes are not `{}` and `{}`, the ones this version puts before texts",
            PREFIXES.0, PREFIXES.1
        )),
        _ => Ok(()),
    }
}

/// Whether these are the files of a model, in order, each once, none of them leading elsewhere.
fn check_files(role: ModelRole, paths: &[&str]) -> Result<(), String> {
    if paths.len() > MAX_FILES {
        return Err(format!("it has more than {MAX_FILES} files"));
    }
    if !paths.is_sorted_by(|a, b| a < b) {
        return Err("its files are not in the order of their paths, each once".to_owned());
    }
    for path in paths {
        if !is_plain(path) {
            return Err(format!("`{path}` is no plain path of a-z, A-Z, 0-9, `-`, `_`, `.`, `+`, and nothing hidden"));
        }
        let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        if ending.is_some_and(|ending| PROGRAMS.contains(&ending.as_str())) {
            return Err(format!("`{path}` may run as a program when it is loaded; leave it out of the folder"));
        }
    }
    // One file where another needs a folder can be listed, and never be placed.
    if let Some(pair) =
        paths.windows(2).find(|pair| pair[1].strip_prefix(pair[0]).is_some_and(|rest| rest.starts_with('/')))
    {
        return Err(format!("`{}` is both a file and a folder", pair[0]));
    }
    let needed: &[&str] = match role {
        ModelRole::Chat => &["config.json"],
        // Without `modules.json` vLLM would not know to take the mean, and its vectors would be others, silently.
        ModelRole::Embed => &["config.json", "modules.json", "tokenizer.json"],
    };
    if let Some(missing) = needed.iter().find(|name| !paths.contains(name)) {
        return Err(format!("it has no `{missing}`"));
    }
    match paths.iter().any(|path| path.ends_with(".safetensors")) {
        true => Ok(()),
        false => Err("it has no weights (`*.safetensors`)".to_owned()),
    }
}

/// Relative, without `..`, nothing hidden, nothing a shell or a file system reads otherwise.
fn is_plain(path: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    path.len() <= MAX_PATH_BYTES && path.split('/').all(is_part)
}

/// The files of a folder, sorted by path. Links and special files are refused, not followed.
fn listed(dir: &Path) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let here = dir.join(&folder);
        let unreadable = |error: io::Error| Error::Source { path: here.clone(), reason: error.to_string() };
        for entry in fs::read_dir(&here).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let refused = |reason: &str| Error::Source { path: entry.path(), reason: reason.to_owned() };
            let name = entry.file_name().into_string().map_err(|_| refused("its name is not UTF-8"))?;
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let kind = entry.file_type().map_err(unreadable)?;
            if !is_plain(&path) {
                return Err(refused("a model's folder has plain names and nothing hidden: take it out"));
            }
            match kind {
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_file() => found.push(path),
                _ => return Err(refused("it is a link or no plain file: put the file itself there")),
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(role: ModelRole, paths: &[&str]) -> String {
        check_files(role, paths).err().unwrap_or_default()
    }

    #[test]
    fn a_folder_is_a_model_or_is_refused() {
        let chat = |paths: &[&str]| check(ModelRole::Chat, paths);
        assert_eq!(chat(&["config.json", "model-00001-of-00019.safetensors", "tokenizer.model"]), "");
        assert_eq!(chat(&["config.json"]), "it has no weights (`*.safetensors`)");
        assert_eq!(chat(&["model.safetensors"]), "it has no `config.json`");
        assert!(chat(&["config.json", "model.safetensors", "pytorch_model.bin"]).contains("program"));
        assert!(chat(&["config.json", "model.safetensors", "modeling_x.PY"]).contains("program"));
        assert!(chat(&["model.safetensors", "config.json"]).contains("order"));
        assert!(chat(&["config.json", "config.json", "model.safetensors"]).contains("each once"));
        assert!(chat(&["config.json", "config.json/x", "model.safetensors"]).contains("both"));
        let embed = ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json"];
        assert_eq!(check(ModelRole::Embed, &embed), "");
        assert_eq!(check(ModelRole::Embed, &[embed[0], embed[1], embed[2], embed[4]]), "it has no `modules.json`");
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        for path in
            ["../x", "/etc/passwd", "a/../b", "a//b", ".hidden", "a/.git/x", "", "a b", "a\\b", "ä", "a/", "./a"]
        {
            assert!(!is_plain(path), "{path}");
        }
        assert!(is_plain("1_Pooling/config.json") && is_plain("model-00001-of-00019.safetensors"));
    }

    const SPEC: &str = "format: 1\nchannel: stable\nminimum_agent: 0.1.0\nimages: []\nmodels:
  - name: multilingual-e5-large
    role: embed
    format: safetensors
    licence: MIT
    context_tokens: 512
    dimension: 1024
    query_prefix: 'query: '
    passage_prefix: 'passage: '
    from: !folder e5-large\n";

    fn built(dir: &Path, spec: &str) -> Result<super::super::Release, Error> {
        let path = dir.join("spec.yaml");
        fs::write(&path, spec).unwrap();
        let build = super::super::Build {
            spec: super::super::Spec::read(&path)?,
            version: "1.0.0".parse().unwrap(),
            binary: dir.join("no-image-no-binary"),
            models: Vec::new(),
            schemas: Default::default(),
            out: dir.join("bundle"),
        };
        build.run(&|_| ()).map(|built| built.release)
    }

    fn folder(dir: &Path) -> PathBuf {
        let folder = dir.join("e5-large");
        fs::create_dir_all(folder.join("1_Pooling")).unwrap();
        for (name, text) in [
            ("config.json", "{}"),
            ("1_Pooling/config.json", "{}"),
            ("modules.json", "[]"),
            ("tokenizer.json", "{ }"),
            ("model.safetensors", "weights"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_comes_into_the_release_and_back() {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path());
        let release = built(dir.path(), SPEC).unwrap();
        let model = &release.models[0];
        let of = model.folder.as_ref().unwrap();
        let paths: Vec<_> = of.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json"]
        );
        assert_eq!(
            (model.name.as_str(), of.dimension, of.role),
            ("multilingual-e5-large", Some(1024), ModelRole::Embed)
        );
        assert_eq!(release.blobs.len(), 4, "two files of the same bytes are one blob");
        let bytes = release.to_bytes().unwrap();
        assert_eq!(super::super::Release::parse(&bytes).unwrap(), release);
        assert_eq!(built(dir.path(), SPEC).unwrap(), release, "two builds are equal");

        let text = String::from_utf8(bytes).unwrap();
        for (what, from, to) in [
            ("a path that leads out", "\"modules.json\"", "\"nodules/../../x\""),
            ("another role", "\"role\": \"embed\"", "\"role\": \"chat\""),
            (
                "a file's digest",
                &*format!("\"digest\": \"{}\"", of.files[2].digest),
                &*format!("\"digest\": \"{}\"", of.files[3].digest),
            ),
            ("an unknown field", "\"licence\"", "\"trust_remote_code\": true, \"licence\""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{what}");
            assert!(super::super::Release::parse(changed.as_bytes()).is_err(), "{what}");
        }
    }

    #[test]
    fn the_specification_for_graphics_cards_is_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundles/gpu.yaml");
        let spec = super::super::Spec::read(&path).unwrap();
        let folders = spec.models.iter().filter(|model| matches!(model, ModelSpec::Folder(_))).count();
        assert_eq!((folders, spec.catalogue_models().count()), (2, 2));
        for model in &spec.models {
            let ModelSpec::Folder(FolderSpec { role, from: ModelSource::Folder(from), .. }) = model else { continue };
            assert!(from.parent().unwrap().ends_with("bundles"), "a folder lies beside the specification: {from:?}");
            assert!(matches!(role, ModelRole::Chat | ModelRole::Embed));
        }
    }

    #[test]
    fn what_no_release_should_carry_stops_the_build() {
        let refused = |spoil: &dyn Fn(&Path), spec: &str| {
            let dir = tempfile::tempdir().unwrap();
            spoil(&folder(dir.path()));
            built(dir.path(), spec).unwrap_err().to_string()
        };
        let hidden = refused(&|folder| fs::write(folder.join(".gitattributes"), "x").unwrap(), SPEC);
        assert!(hidden.contains(".gitattributes") && hidden.contains("nothing hidden"), "{hidden}");
        let link = |folder: &Path| std::os::unix::fs::symlink("/etc/passwd", folder.join("vocab.txt")).unwrap();
        assert!(refused(&link, SPEC).contains("is a link"));
        let pickle = refused(&|folder| fs::write(folder.join("pytorch_model.bin"), "x").unwrap(), SPEC);
        assert!(pickle.contains("pytorch_model.bin"), "{pickle}");
        let prefix = refused(&|_| (), &SPEC.replace("'query: '", "'Query: '"));
        assert!(prefix.contains("prefixes"), "{prefix}");
        assert!(refused(&|_| (), &SPEC.replace("    dimension: 1024\n", "")).contains("dimension"));
        assert!(refused(&|_| (), &SPEC.replace("!folder", "!wheel")).contains("cannot use the specification"));
    }

    #[test]
    fn a_folder_has_the_digest_sha256sum_gives() {
        let file = |path: &str, bytes: &[u8]| ModelFile { path: path.into(), digest: Digest::of(bytes) };
        let list = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  a\n";
        assert_eq!(digest_of(&[file("a", b"hello")]), Digest::of(list.as_bytes()));
    }
}
