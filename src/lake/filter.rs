//! Which passages a search may find at all.

use crate::{DocumentRow, Filter};

impl Filter {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.languages.is_empty() && self.formats.is_empty() && self.folders.is_empty() && self.documents.is_empty()
    }

    /// Whether a document fits, its passages' languages left aside.
    pub(crate) fn fits_document(&self, row: &DocumentRow) -> bool {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        any(&self.formats, |format| same(format.trim_start_matches('.'), &row.format))
            && any(&self.folders, |folder| is_below(row, folder))
            && any(&self.documents, |document| *document == row.id || *document == row.path || *document == row.name)
    }

    /// Whether a passage's language fits; `None` is a language nobody could tell.
    pub(crate) fn fits_language(&self, language: Option<&str>) -> bool {
        any(&self.languages, |wanted| language.is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
    }
}

fn any(wanted: &[String], fits: impl Fn(&str) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| fits(wanted))
}

/// Whether a document lies in a folder or below it: `a/b` holds `a/b/c.pdf` and not `a/bc.pdf`.
fn is_below(row: &DocumentRow, folder: &str) -> bool {
    let under = |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let bare = folder.trim_end_matches('/').trim_start_matches("./");
    if !bare.starts_with('/') {
        return bare.is_empty() || bare == "." || under(&row.path, bare);
    }
    let source = row.source.trim_end_matches('/');
    under(&format!("{source}/{}", row.path), bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str) -> DocumentRow {
        let json = serde_json::json!({
            "id": "d1", "source": "/data/share", "path": path, "name": path.rsplit('/').next(), "size_bytes": 1,
            "modified_ms": 0, "format": "pdf", "status": "searchable", "chunk_count": 1, "ingested_ms": 0,
        });
        serde_json::from_value(json).unwrap()
    }

    fn check(filter: Filter, path: &str, expect: bool) {
        assert_eq!(filter.fits_document(&row(path)), expect, "{filter:?} on {path}");
    }

    #[test]
    fn folders_hold_what_is_below_them() {
        let of = |folder: &str| Filter { folders: vec![folder.to_owned()], ..Filter::default() };
        for folder in ["a/b", "a/b/", "a", "./a", "/data/share/a", "/data", ".", ""] {
            check(of(folder), "a/b/c.pdf", true);
        }
        for folder in ["a/bc", "b", "/data/share/b", "/dat", "a/b/c.pdf/x"] {
            check(of(folder), "a/b/c.pdf", false);
        }
    }

    #[test]
    fn each_list_must_hold_a_fitting_entry() {
        let list = |word: &str| vec!["other".to_owned(), word.to_owned()];
        let filter = Filter { formats: list("PDF"), documents: list("c.pdf"), ..Filter::default() };
        check(filter.clone(), "a/c.pdf", true);
        check(Filter { documents: list("d.pdf"), ..filter.clone() }, "a/c.pdf", false);
        check(Filter { formats: list("txt"), ..filter }, "a/c.pdf", false);
        check(Filter { documents: vec!["d1".to_owned()], ..Filter::default() }, "a/c.pdf", true);
    }

    #[test]
    fn an_unknown_language_fits_no_wish() {
        let german = Filter { languages: vec!["de".to_owned()], ..Filter::default() };
        assert!(german.fits_language(Some("DE")) && !german.fits_language(Some("en")) && !german.fits_language(None));
        assert!(Filter::default().fits_language(None));
    }
}
