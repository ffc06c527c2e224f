//! Names of documents, which are left out unless they are asked for.

use std::sync::LazyLock;

use base::config::ServiceConfig;
use regex::{Captures, Regex};
use serde_json::Value;

/// What a log says about one document, to the end of its line.
static OF_A_DOCUMENT: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)\bdocument\.(?:path|name)=[^\r\n]*"));

/// A pattern of this program's own.
pub(crate) fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("a pattern of our own: {error}"))
}

/// Hides the names of documents: of what lies below the folders that are read.
pub(crate) struct Names {
    below_folders: Option<Regex>,
}

impl Names {
    pub(crate) fn of(config: Option<&ServiceConfig>) -> Self {
        let folders: Vec<_> = config
            .iter()
            .flat_map(|config| &config.folders)
            .map(|folder| regex::escape(&folder.display().to_string()))
            .collect();
        // A name may hold anything but what quotes it; nobody says where it ends without quotes.
        let below = format!("({})/[^\\r\\n`\"]+", folders.join("|"));
        Self { below_folders: (!folders.is_empty()).then(|| pattern(&below)) }
    }

    /// Returns the text without names, and how many there were.
    pub(crate) fn hide(&self, text: &str) -> (String, u64) {
        let mut count = 0;
        let text = OF_A_DOCUMENT.replace_all(text, |_: &Captures<'_>| {
            count += 1;
            "document.path=[name]"
        });
        let text = match &self.below_folders {
            Some(below) => below.replace_all(&text, |found: &Captures<'_>| {
                count += 1;
                format!("{}/[name]", &found[1])
            }),
            None => text.clone(),
        };
        (text.into_owned(), count)
    }
}

/// Replaces lists of files by how many they are.
pub(crate) fn without_lists(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Array(list) if name == "files" => *value = format!("{} names left out", list.len()).into(),
                    _ => without_lists(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(without_lists),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { below_folders: Some(pattern("(/srv/daten)/[^\\r\\n`\"]+")) }
    }

    #[test]
    fn names_go_and_what_happened_stays() {
        let (text, count) = names().hide(
            "INFO a file cannot be read document.source=/srv/daten document.path=Müller Angebot.pdf reason=\"torn\"\n\
             WARN cannot open `/srv/daten/geheim/Liste.xlsx`: denied\nWARN `/srv/daten` is empty\n",
        );
        assert_eq!(
            text,
            "INFO a file cannot be read document.source=/srv/daten document.path=[name]\n\
             WARN cannot open `/srv/daten/[name]`: denied\nWARN `/srv/daten` is empty\n"
        );
        assert_eq!(count, 2);
    }

    #[test]
    fn lists_become_counts_at_any_depth() {
        let mut value = serde_json::json!({"report": {"failed": 2, "files": [{"path": "a"}, {"path": "b"}]}});
        without_lists(&mut value);
        assert_eq!(value.to_string(), r#"{"report":{"failed":2,"files":"2 names left out"}}"#);
    }
}
