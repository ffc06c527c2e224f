use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Survey, survey};

/// A folder worth offering to the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub survey: Survey,
}

/// What the usual tools call the folder of a person's documents, in the languages of our customers.
const DOCUMENT_NAMES: [&str; 3] = ["Documents", "Dokumente", "documents"];
/// Where servers keep shared data.
const SHARED_ROOTS: [&str; 5] = ["/srv", "/data", "/mnt", "/media", "/var/lib/samba"];
/// More than these would be no choice a person reads.
const PROPOSALS_MAX: usize = 20;

/// Returns the folders of this machine worth offering: existing, readable, holding at least one file; most files first.
///
/// Looks at the document folders of `home` and of every home, at shared roots and the folders directly below them.
/// All surveys together take at most `budget`.
pub fn propose(home: Option<&Path>, budget: Duration) -> Vec<Proposal> {
    let shared: Vec<_> = SHARED_ROOTS.iter().map(PathBuf::from).collect();
    proposals(candidates(home, Path::new("/home"), &shared), budget)
}

fn candidates(home: Option<&Path>, homes: &Path, shared: &[PathBuf]) -> Vec<PathBuf> {
    let people = home.map(Path::to_owned).into_iter().chain(folders_in(homes));
    let documents = people.flat_map(|person| DOCUMENT_NAMES.map(|name| person.join(name)));
    let shares = shared.iter().flat_map(|root| {
        let below = folders_in(root);
        // A root without folders is itself the share; one with folders is offered folder by folder.
        if below.is_empty() { vec![root.clone()] } else { below }
    });
    let mut all: Vec<PathBuf> = documents.chain(shares).filter(|path| is_folder(path)).collect();
    all.sort();
    all.dedup();
    all
}

fn proposals(candidates: Vec<PathBuf>, budget: Duration) -> Vec<Proposal> {
    let share = budget / u32::try_from(candidates.len()).unwrap_or(u32::MAX).max(1);
    let mut found: Vec<Proposal> = candidates
        .into_iter()
        .map(|path| Proposal { survey: survey(&path, share), path })
        .filter(|proposal| proposal.survey.files > 0)
        .collect();
    found.sort_by(|left, right| right.survey.files.cmp(&left.survey.files).then(left.path.cmp(&right.path)));
    found.truncate(PROPOSALS_MAX);
    found
}

/// Links are not followed, also not at the first level: a link below `/mnt` may lead anywhere.
fn is_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn folders_in(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let is_shown = |entry: &std::fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut found: Vec<_> =
        entries.flatten().filter(is_shown).map(|entry| entry.path()).filter(|path| is_folder(path)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_exists_and_holds_files() {
        let machine = tempfile::tempdir().unwrap();
        let at = |name: &str| machine.path().join(name);
        for folder in ["home/anna/Dokumente", "home/ben/Documents", "srv/prices", "srv/empty", "srv/.hidden", "data"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["home/anna/Dokumente/a.txt", "srv/prices/1.csv", "srv/prices/2.csv", "srv/.hidden/x", "data/d.pdf"]
        {
            std::fs::write(at(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("srv/prices"), at("srv/link")).unwrap();
        let found =
            proposals(candidates(None, &at("home"), &[at("srv"), at("data"), at("mnt")]), Duration::from_secs(5));
        let shown: Vec<_> = found.iter().map(|proposal| (proposal.path.clone(), proposal.survey.files)).collect();
        assert_eq!(shown, [(at("srv/prices"), 2), (at("data"), 1), (at("home/anna/Dokumente"), 1)]);
    }
}
