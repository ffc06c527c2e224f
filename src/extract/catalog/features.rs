//! Names of classifications.

use super::format::ClassSystem;

type Make = fn(Option<String>) -> ClassSystem;

/// Recognises a classification by the name a catalogue gives it: `ETIM-8.0`, `ECLASS-9.0`, `eCl@ss 5.1.4`, `UNSPSC`.
pub(super) fn system(name: &str) -> Option<ClassSystem> {
    let lower = name.trim().to_lowercase();
    // Owners' own systems (`udf_Supplier-1.0`) may carry a well-known word somewhere inside: only the beginning counts.
    let known: [(&str, Make); 5] = [
        ("etim", ClassSystem::Etim),
        ("eclass", ClassSystem::Eclass),
        ("ecl@ss", ClassSystem::Eclass),
        ("unspsc", ClassSystem::Unspsc),
        ("un/spsc", ClassSystem::Unspsc),
    ];
    let (rest, make) = known.into_iter().find_map(|(word, make)| Some((lower.strip_prefix(word)?, make)))?;
    let version = rest.trim_start_matches(['-', '_', ' ', ':', 'v']).trim();
    Some(make((!version.is_empty()).then(|| version.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifications_are_known_by_their_names() {
        for (name, expect) in [
            ("ETIM-8.0", Some(ClassSystem::Etim(Some("8.0".into())))),
            ("ETIM", Some(ClassSystem::Etim(None))),
            ("ECLASS-9.0", Some(ClassSystem::Eclass(Some("9.0".into())))),
            ("eCl@ss 5.1.4", Some(ClassSystem::Eclass(Some("5.1.4".into())))),
            ("UNSPSC-11.2", Some(ClassSystem::Unspsc(Some("11.2".into())))),
            ("udf_Etim-1.0", None),
        ] {
            assert_eq!(system(name), expect, "{name}");
        }
    }
}
