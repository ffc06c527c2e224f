//! Which names are not worth opening: what programs leave behind, not what people write.

use crate::acl;

/// Returns why a folder is passed over, or `None` when it is to be entered.
pub(crate) fn folder(name: &str) -> Option<&'static str> {
    const SYSTEM: [&str; 6] =
        ["$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle", "__macosx"];
    let lower = name.to_lowercase();
    if SYSTEM.contains(&lower.as_str()) {
        Some("system folder")
    } else if name.starts_with('.') {
        Some("hidden folder")
    } else {
        None
    }
}

/// Returns why a file is passed over, or `None` when it is to be read.
pub(crate) fn file(name: &str) -> Option<&'static str> {
    const SYSTEM: [&str; 5] = ["thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", "icon\r"];
    const TEMPORARY: [&str; 6] = [".tmp", ".part", ".partial", ".crdownload", ".swp", "~"];
    let lower = name.to_lowercase();
    if SYSTEM.contains(&lower.as_str()) {
        Some("system file")
    } else if name.starts_with("~$") || name.starts_with(".~lock.") {
        Some("lock file of an open document")
    } else if TEMPORARY.iter().any(|ending| lower.ends_with(ending)) {
        Some("temporary file")
    } else if name == acl::FILE {
        Some("says who may read this folder")
    } else if name.starts_with('.') {
        Some("hidden file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn leftovers_are_passed_over_and_work_is_not() {
        let check = |name, expect: Option<&str>| assert_eq!(super::file(name), expect, "{name}");
        check("~$Angebot.docx", Some("lock file of an open document"));
        check(".~lock.Angebot.odt#", Some("lock file of an open document"));
        check("Thumbs.db", Some("system file"));
        check(".DS_Store", Some("system file"));
        check("Angebot.docx~", Some("temporary file"));
        check(".bashrc", Some("hidden file"));
        check("Angebot.docx", None);
        check("a.TMP.pdf", None);
        assert_eq!(super::folder(".git"), Some("hidden folder"));
        assert_eq!(super::folder("$RECYCLE.BIN"), Some("system folder"));
        assert_eq!(super::folder("Archiv"), None);
    }
}
