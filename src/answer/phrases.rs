//! The sentences the brain says in its own words: abstentions and notes, German and English.

use crate::language::Language;

/// Says that nothing supports an answer, and what was searched: the number of passages and the closest documents.
pub(crate) fn abstention(language: Language, passages: usize, documents: &[String]) -> String {
    let closest = documents.join(", ");
    match (language, documents.is_empty()) {
        (Language::German, true) => {
            "Das weiß ich nicht: In den eingelesenen Dokumenten wurde nichts dazu gefunden.".into()
        }
        (Language::German, false) => format!(
            "Das weiß ich nicht: Keine der {passages} durchsuchten Textstellen belegt eine Antwort. Am nächsten kamen {closest}."
        ),
        (Language::English, true) => {
            "I don't know: nothing about this was found in the documents that were read.".into()
        }
        (Language::English, false) => format!(
            "I don't know: none of the {passages} passages searched supports an answer. The closest were in {closest}."
        ),
    }
}

/// Notes that the model did not answer and the passages are quoted.
pub(crate) fn model_unavailable(language: Language) -> String {
    match language {
        Language::German => "Das Sprachmodell antwortet nicht; zitiert wird die beste Textstelle.",
        Language::English => "The language model does not answer; the best passage is quoted instead.",
    }
    .into()
}

/// Notes that the promoted adapter is not loaded and `base` answered.
pub(crate) fn adapter_missing(language: Language, version: &str) -> String {
    match language {
        Language::German => format!("Adapter {version} ist nicht geladen; geantwortet hat base."),
        Language::English => format!("Adapter {version} is not loaded; base answered."),
    }
}

/// Notes that the exchange is not in the lake.
pub(crate) fn not_recorded(language: Language) -> String {
    match language {
        Language::German => "Diese Frage konnte nicht aufgezeichnet werden.",
        Language::English => "This exchange could not be recorded.",
    }
    .into()
}
