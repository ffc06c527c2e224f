//! The two languages the brain speaks, and how a question's language is told.

use serde::{Deserialize, Serialize};

use crate::words::fold;

/// A language answers are phrased in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    #[serde(rename = "de")]
    German,
    #[serde(rename = "en")]
    English,
}

const GERMAN: &str = " der die das ein eine einen einem einer ist sind wie was wer wann wo welche welcher welches welchen und oder fuer mit von auf den dem des im zu zur zum nicht hat haben gibt es wird werden wir unsere viel viele lange hoch kostet muss darf kann bei aus nach warum ";
const ENGLISH: &str = " the a an is are how what who when where which and or for with of on in to not has have does do can there it will we our much many long must may at from why did ";

impl Language {
    /// Tells the language of a question: by its small words, which short questions have and statistical detectors need more text for; then by `whatlang` between the two.
    pub fn of(text: &str) -> Self {
        let folded = fold(text);
        let count = |list: &str| {
            folded
                .split(|c: char| !c.is_alphanumeric())
                .filter(|w| !w.is_empty() && list.contains(&format!(" {w} ")))
                .count()
        };
        let umlauts = text.chars().filter(|c| "äöüßÄÖÜ".contains(*c)).count();
        let (german, english) = (count(GERMAN) + umlauts, count(ENGLISH));
        if german != english {
            return if german > english { Self::German } else { Self::English };
        }
        let detector = whatlang::Detector::with_allowlist(vec![whatlang::Lang::Deu, whatlang::Lang::Eng]);
        match detector.detect_lang(text) {
            Some(whatlang::Lang::Deu) => Self::German,
            _ => Self::English,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_questions_are_told_apart() {
        for question in ["Wie lange ist die Garantie?", "Wer ist zuständig?", "Lieferzeit für XJ-200?"] {
            assert_eq!(Language::of(question), Language::German, "{question}");
        }
        for question in ["How long is the warranty?", "Who signs?", "What is the lead time of XJ-200?"] {
            assert_eq!(Language::of(question), Language::English, "{question}");
        }
    }
}
