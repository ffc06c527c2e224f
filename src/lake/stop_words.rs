//! The words that say nothing about a passage, German and English.

/// Whether a lower-case word is left out. Parts of codes are judged by `analysis`, which looks at capitals first.
pub(crate) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

// Sorted: looked up by halving.
const STOP_WORDS: &[&str] = &[
    "a", "aber", "about", "above", "after", "all", "alle", "allem", "allen", "aller", "alles", "als", "also", "am",
    "an", "and", "ander", "andere", "anderen", "any", "are", "as", "at", "auch", "auf", "aus", "be", "because", "been",
    "before", "bei", "beim", "being", "below", "between", "bin", "bis", "bist", "both", "but", "by", "can", "could",
    "da", "dabei", "dadurch", "dafür", "damit", "dann", "darf", "das", "dass", "dein", "deine", "dem", "den", "denn",
    "der", "deren", "des", "dessen", "did", "die", "dies", "diese", "dieselbe", "diesem", "diesen", "dieser", "dieses",
    "do", "doch", "does", "doing", "dort", "down", "du", "durch", "during", "dürfen", "each", "ein", "eine", "einem",
    "einen", "einer", "eines", "er", "es", "etwas", "euer", "eure", "few", "for", "from", "further", "für", "gegen",
    "gibt", "habe", "haben", "had", "has", "hat", "hatte", "hatten", "have", "having", "he", "heißt", "her", "here",
    "hers", "hier", "him", "hinter", "his", "how", "i", "ich", "if", "ihm", "ihn", "ihnen", "ihr", "ihre", "ihrem",
    "ihren", "ihrer", "ihres", "im", "in", "indem", "ins", "into", "is", "ist", "it", "its", "itself", "ja", "jede",
    "jedem", "jeden", "jeder", "jedes", "jener", "just", "kann", "kein", "keine", "keinem", "keinen", "keiner",
    "können", "könnte", "lautet", "mag", "man", "manche", "many", "may", "me", "mein", "meine", "mich", "might", "mir",
    "mit", "more", "most", "much", "muss", "my", "müssen", "nach", "nicht", "nichts", "no", "noch", "nor", "not",
    "nun", "nur", "ob", "oder", "of", "off", "ohne", "on", "once", "only", "or", "other", "our", "out", "over", "own",
    "same", "sehr", "sein", "seine", "seinem", "seinen", "seiner", "she", "should", "sich", "sie", "sind", "so",
    "solche", "soll", "sollen", "sollte", "some", "sondern", "sonst", "such", "than", "that", "the", "their", "them",
    "then", "there", "these", "they", "this", "those", "through", "to", "too", "um", "und", "under", "uns", "unser",
    "unsere", "unter", "until", "up", "very", "viel", "viele", "vielen", "vom", "von", "vor", "wann", "war", "waren",
    "warum", "was", "we", "weil", "welche", "welchem", "welchen", "welcher", "welches", "wem", "wen", "wenn", "wer",
    "werde", "werden", "were", "wessen", "what", "when", "where", "which", "while", "who", "whom", "whose", "why",
    "wie", "wieder", "wieviel", "will", "wir", "wird", "with", "wo", "wodurch", "wofür", "woher", "wohin", "would",
    "wurde", "wurden", "während", "you", "your", "zu", "zum", "zur", "zwar", "zwischen", "über",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_found_whole() {
        assert!(STOP_WORDS.is_sorted());
        assert!(STOP_WORDS.iter().all(|word| is_stop_word(word)));
        assert!(!is_stop_word("klemme"));
    }
}
