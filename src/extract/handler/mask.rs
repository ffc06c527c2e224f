//! Takes persons out of a sample before anybody sees it: rules, not understanding. A letter becomes `X` or `x` and a digit `9`, so
//! that positions and lengths stay what they were.
//!
//! What no rule knows stays: a name alone in a column of names is told only where it is a common one, and figures inside packed
//! decimals are figures. That is why the exact sample is shown before the first one is sent.

use std::sync::LazyLock;

use regex::Regex;

/// Each rule masks its first group, or all it found where it has none.
static RULES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let word = r"\p{Lu}[\p{L}'\-]+";
    let rules = [
        // IBAN: the country stays.
        r"[A-Z]{2}(\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)".to_owned(),
        r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9.\-]+\.[A-Za-z]{2,}".to_owned(),
        // Telephone numbers: international, with the German slash, or after a word that says so.
        r"(?:\+|\b00)[1-9]\d{0,2}[ /().\-]*\d[\d /().\-]{5,}\d".to_owned(),
        r"\(?\b0\d{2,5}\)? ?[/\-] ?\d[\d \-]{2,}\d".to_owned(),
        r"(?i)\b(?:tel|telefon|fon|phone|fax|mobil|mobile|handy)\b[.:]* *(\+?[\d(][\d /().\-]{3,}\d)".to_owned(),
        // Cards, and VAT identification numbers.
        r"\b\d{4}[ \-]\d{4}[ \-]\d{4}[ \-]\d{4}\b".to_owned(),
        r"\b(?:DE|ATU|CHE)[ \-]?(\d{8,9})\b".to_owned(),
        // Names after a title or a role.
        format!(r"(?i:\b(?:herrn?|frau|dr|prof|mr|mrs|ms|dipl\W+ing)\b)[. ]+((?:{word}[ .]*){{1,2}})"),
        format!(
            r"(?i:\b(?:ansprechpartner(?:in)?|sachbearbeiter(?:in)?|bearbeiter(?:in)?|kontakt|contact|prüfer(?:in)?|fahrer(?:in)?|mitarbeiter(?:in)?|name))\b[: ]+((?:{word}[ ,.]*){{1,2}})"
        ),
        // A common first name, with the word before its comma or after it.
        format!(r"\b({word}, *(?i:{FIRST_NAMES}))\b"),
        format!(r"\b((?i:{FIRST_NAMES})(?:[ ,]+{word})?)\b"),
    ];
    // The rules are constants: one that does not compile is found by the first test.
    rules.iter().filter_map(|rule| Regex::new(rule).ok()).collect()
});

/// First names common in Germany and in English. Names that are also words of catalogues (Mark, Rose) are left out.
const FIRST_NAMES: &str = "achim|alexander|alexandra|andrea|andreas|angelika|anja|anna|anne|annette|antje|armin|astrid|axel|barbara|bastian|beate|bernd|bernhard|bettina|birgit|bjoern|björn|brigitte|carsten|christa|christian|christiane|christina|christine|christoph|claudia|cornelia|daniel|daniela|david|denis|dennis|detlef|dieter|dietmar|dirk|doris|edith|elena|elisabeth|elke|emma|erich|erika|eva|fabian|felix|florian|frank|franz|franziska|friedrich|gabriele|georg|gerd|gerhard|gisela|guenter|günter|gudrun|hannah|hans|harald|hartmut|heike|heiko|heinrich|heinz|helga|helmut|henrik|herbert|hermann|holger|horst|ingo|ingrid|irene|iris|isabel|jan|jana|jens|joachim|jochen|johann|johanna|johannes|john|jonas|joerg|jörg|josef|julia|julian|juergen|jürgen|karin|karl|karsten|katharina|kathrin|katja|katrin|kerstin|kevin|kirsten|klaus|konrad|kristin|kurt|lars|laura|lea|lena|leon|lisa|ludwig|lukas|lutz|maik|manfred|manuela|marcel|marco|marcus|maria|marianne|marie|marina|mario|marion|markus|martin|martina|mary|mathias|matthias|max|maximilian|melanie|michael|michaela|michelle|monika|nadine|nicole|nils|norbert|olaf|oliver|pascal|patrick|paul|peter|petra|philipp|rainer|ralf|regina|reinhard|renate|robert|roland|rolf|rudolf|ruth|sabine|sabrina|sandra|sara|sarah|sebastian|silke|silvia|simon|simone|sonja|stefan|stefanie|steffen|stephan|stephanie|susanne|sven|svenja|sylvia|tanja|thomas|thorsten|tim|tobias|torsten|udo|ulrich|ulrike|ursula|ute|uwe|vanessa|vera|verena|volker|walter|werner|wilhelm|wolfgang|yvonne";

/// Masks what the rules find, as letters `x` and digits `9`. The result has as many characters as the text.
pub fn mask(text: &str) -> String {
    let mut out = text.to_owned();
    for rule in RULES.iter() {
        let mut ranges = Vec::new();
        for found in rule.captures_iter(&out) {
            ranges.extend(found.get(1).or_else(|| found.get(0)).map(|part| part.range()));
        }
        if ranges.is_empty() {
            continue;
        }
        let mut masked = String::with_capacity(out.len());
        let mut at = 0;
        for range in ranges {
            masked.push_str(&out[at..range.start]);
            masked.extend(out[range.clone()].chars().map(masked_character));
            at = range.end;
        }
        masked.push_str(&out[at..]);
        out = masked;
    }
    out
}

fn masked_character(character: char) -> char {
    match character {
        character if character.is_numeric() => '9',
        character if character.is_lowercase() => 'x',
        character if character.is_alphabetic() => 'X',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persons_go_and_articles_stay() {
        for (text, expect) in [
            ("IBAN DE89 3704 0044 0532 0130 00.", "IBAN DE99 9999 9999 9999 9999 99."),
            ("0001DE89370400440532013000EUR", "0001DE99999999999999999999XXX"),
            ("an max.mustermann@beispiel.de;", "an xxx.xxxxxxxxxx@xxxxxxxx.xx;"),
            ("Tel. 05231 14-0", "Tel. 99999 99-9"),
            ("+49 (0) 5231 14 28000", "+99 (9) 9999 99 99999"),
            ("05231/14-28000", "99999/99-99999"),
            ("Herrn Dr. Müller", "Herrn Xx. Xxxxxx"),
            ("Ansprechpartner: Grabowski;", "Ansprechpartner: Xxxxxxxxx;"),
            ("SABINE GRABOWSKI     12", "XXXXXX XXXXXXXXX     12"),
            ("Grabowski, Sabine", "Xxxxxxxxx, Xxxxxx"),
            ("USt-IdNr. DE123456789", "USt-IdNr. DE999999999"),
            (
                "WDU 2.5;1020000000;6ES7 131;EN 60947-2;12,50;4008190161118",
                "WDU 2.5;1020000000;6ES7 131;EN 60947-2;12,50;4008190161118",
            ),
            ("A1122770000  Relaiskoppler   9,12001", "A1122770000  Relaiskoppler   9,12001"),
        ] {
            assert_eq!(mask(text), expect);
            assert_eq!(mask(text).chars().count(), text.chars().count());
        }
        assert_eq!(RULES.len(), 11, "a rule does not compile");
    }
}
