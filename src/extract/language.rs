//! Which language a text is in, as far as it can be told.

use whatlang::{Detector, Lang};

/// The languages of the companies we read for, as detector language and ISO 639-1 code. Rarer ones (Yiddish, Afrikaans) are
/// left out on purpose: on short German texts the detector prefers them.
const LANGUAGES: [(Lang, &str); 29] = [
    (Lang::Deu, "de"),
    (Lang::Eng, "en"),
    (Lang::Fra, "fr"),
    (Lang::Ita, "it"),
    (Lang::Spa, "es"),
    (Lang::Por, "pt"),
    (Lang::Nld, "nl"),
    (Lang::Pol, "pl"),
    (Lang::Ces, "cs"),
    (Lang::Slk, "sk"),
    (Lang::Hun, "hu"),
    (Lang::Ron, "ro"),
    (Lang::Bul, "bg"),
    (Lang::Hrv, "hr"),
    (Lang::Slv, "sl"),
    (Lang::Swe, "sv"),
    (Lang::Dan, "da"),
    (Lang::Nob, "nb"),
    (Lang::Fin, "fi"),
    (Lang::Tur, "tr"),
    (Lang::Ell, "el"),
    (Lang::Rus, "ru"),
    (Lang::Ukr, "uk"),
    (Lang::Ara, "ar"),
    (Lang::Heb, "he"),
    (Lang::Cmn, "zh"),
    (Lang::Jpn, "ja"),
    (Lang::Kor, "ko"),
    (Lang::Hin, "hi"),
];

/// Fewer letters than this tell nothing.
const MIN_LETTERS: usize = 40;

/// Detects languages; build it once per document.
pub(crate) struct LanguageDetector(Detector);

impl LanguageDetector {
    pub(crate) fn new() -> Self {
        Self(Detector::with_allowlist(LANGUAGES.iter().map(|(lang, _)| *lang).collect()))
    }

    /// Returns the ISO 639-1 code, or `None` when the text is too short or could be several languages.
    pub(crate) fn detect(&self, text: &str) -> Option<&'static str> {
        if text.chars().filter(|c| c.is_alphabetic()).take(MIN_LETTERS).count() < MIN_LETTERS {
            return None;
        }
        let info = self.0.detect(text)?;
        if !info.is_reliable() {
            return None;
        }
        LANGUAGES.iter().find(|(lang, _)| *lang == info.lang()).map(|(_, code)| *code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_can_be_told() {
        let detector = LanguageDetector::new();
        for (text, expect) in [
            ("Die Reihenklemme wird auf die Tragschiene aufgerastet und mit dem Endwinkel gesichert.", Some("de")),
            ("The terminal block is snapped onto the mounting rail and secured with an end bracket.", Some("en")),
            ("WDU 2.5", None),
            ("", None),
        ] {
            assert_eq!(detector.detect(text), expect, "{text}");
        }
    }
}
