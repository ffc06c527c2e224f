//! Finding and reading target files: through the top-level role and, depth first, those it delegates to (5.6.7, 5.7).

use aws_lc_rs::digest::{SHA256, digest};

use super::{
    Client, Error, Files, TargetFile, Tree,
    client::{read, refused},
    files::quoted,
    format::{Delegation, Delegations},
    metadata::{Keys, check_hashes},
};

impl<F: Files> Client<'_, F> {
    /// Returns what the repository says of a target, `None` when no role that may name it does. Delegated metadata is read on the way.
    ///
    /// # Errors
    /// As [`Client::refresh`].
    pub async fn target(&mut self, name: &str) -> Result<Option<TargetFile>, Error> {
        let Some(top) = &self.current else { return Ok(None) };
        if let Some(found) = top.targets.signed.targets.get(name) {
            return Ok(Some(found.clone()));
        }
        let snapshot = top.snapshot.signed.clone();
        let mut waiting = Vec::new();
        push(&mut waiting, top.targets.signed.delegations.as_ref(), name);
        let mut visited = std::collections::BTreeSet::new();
        while let Some((delegations, role)) = waiting.pop() {
            if visited.len() >= self.limits.delegations {
                let reason = format!("more than {} roles would have to be asked for it", self.limits.delegations);
                return Err(refused(name, reason));
            }
            if !visited.insert(role.name.clone()) {
                continue;
            }
            let file = format!("{}.json", role.name);
            let listed =
                snapshot.0.meta.get(&file).ok_or_else(|| refused(&file, "the snapshot does not name it".to_owned()))?;
            let keys = Keys::of_delegation(&delegations, &role);
            let delegated = self.update_targets(&role.name, listed, &keys).await?;
            if let Some(found) = delegated.signed.targets.get(name) {
                return Ok(Some(found.clone()));
            }
            push(&mut waiting, delegated.signed.delegations.as_ref(), name);
        }
        Ok(None)
    }

    /// Reads a small target file whole, and proves it.
    ///
    /// # Errors
    /// [`Error::Refused`] for other bytes than those listed, or more than `max_bytes`; [`Error::Unavailable`].
    pub async fn read_target(&self, name: &str, target: &TargetFile, max_bytes: u64) -> Result<Vec<u8>, Error> {
        if target.length > max_bytes {
            return Err(refused(name, format!("it has {} bytes, more than {max_bytes}", target.length)));
        }
        let path = self.target_path(name, target)?;
        let bytes = read(self.files, Tree::Targets, &path, target.length).await?;
        let bytes = bytes.ok_or_else(|| refused(name, "the channel has none".to_owned()))?;
        if bytes.len() as u64 != target.length {
            return Err(refused(name, format!("it has {} bytes, not {}", bytes.len(), target.length)));
        }
        check_hashes(&bytes, &target.hashes).map_err(|reason| refused(name, reason))?;
        Ok(bytes)
    }

    /// `dir/HASH.name` where snapshots are consistent.
    fn target_path(&self, name: &str, target: &TargetFile) -> Result<String, Error> {
        let mut segments: Vec<String> = name.split('/').map(quoted).collect();
        if segments.iter().any(|segment| matches!(segment.as_str(), "" | "." | "..")) {
            return Err(refused(name, "it is no path below the targets".to_owned()));
        }
        if let Some(last) = segments.last_mut().filter(|_| self.is_consistent()) {
            let hash = target.hashes.get("sha256").or_else(|| target.hashes.get("sha512"));
            let hash =
                hash.ok_or_else(|| refused(name, "it is listed without a hash this program knows".to_owned()))?;
            *last = format!("{}.{last}", quoted(hash));
        }
        Ok(segments.join("/"))
    }
}

/// Puts the delegations that may name the target on the pile, the first one on top. After a terminating one nobody else is asked.
fn push(waiting: &mut Vec<(Delegations, Delegation)>, delegations: Option<&Delegations>, name: &str) {
    let Some(delegations) = delegations else { return };
    let mut matching: Vec<_> = delegations.roles.iter().filter(|role| may_name(role, name)).cloned().collect();
    if let Some(end) = matching.iter().position(|role| role.terminating) {
        matching.truncate(end + 1);
        waiting.clear();
    }
    waiting.extend(matching.into_iter().rev().map(|role| (delegations.clone(), role)));
}

fn may_name(role: &Delegation, name: &str) -> bool {
    let hash = hex::encode(digest(&SHA256, name.as_bytes()));
    role.paths.iter().flatten().any(|pattern| matches(pattern, name))
        || role.path_hash_prefixes.iter().flatten().any(|prefix| hash.starts_with(prefix.as_str()))
}

/// Segment by segment: `*` and `?` never match a slash.
fn matches(pattern: &str, name: &str) -> bool {
    let (patterns, names): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), name.split('/').collect());
    patterns.len() == names.len()
        && patterns.iter().zip(names).all(|(pattern, name)| {
            segment_matches(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
        })
}

/// Remembers the last star and goes back to it, so that the time is bounded by the product of the lengths.
fn segment_matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[read] => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    (at, read) = (star_at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_within_a_segment() {
        for (pattern, name, expect) in [
            ("*", "a.txt", true),
            ("*", "a/b", false),
            ("a/*/c*", "a/b/cd", true),
            ("*.py", "x.pyc", false),
            ("?.py", "x.py", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("", "a", false),
            ("***", "", true),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }
}
