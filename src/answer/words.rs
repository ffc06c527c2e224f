//! Words as the scorer sees them: folded, lightly stemmed, with numbers and article codes told apart.
//!
//! One stemmer serves German and English: matching is symmetrical, so it only has to bring the forms of one word together, not to find its dictionary form.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;

use crate::glossary::alike;

/// What a token is, which decides how strictly it has to be found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word of letters only.
    Word,
    /// A plain number, a date or a ratio.
    Number,
    /// Letters and digits together: an article code, a thread, a protection class.
    Code,
}

/// One token of a text.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) raw: String,
    pub(crate) stem: String,
    pub(crate) kind: Kind,
}

/// Folds a word: lower case, `ü` → `ue`, `ß` → `ss`, other accents dropped.
pub(crate) fn fold(word: &str) -> String {
    let mut out = String::with_capacity(word.len() + 4);
    for c in word.nfc().flat_map(char::to_lowercase) {
        match c {
            'ä' => out.push_str("ae"),
            'ö' => out.push_str("oe"),
            'ü' => out.push_str("ue"),
            'ß' => out.push_str("ss"),
            c if c.is_ascii() => out.push(c),
            c => out.extend(std::iter::once(c).nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c))),
        }
    }
    out
}

/// Endings in the order they are tried; the first that leaves four letters is taken.
const ENDINGS: [&str; 14] = ["ies", "ern", "ing", "est", "em", "en", "er", "es", "ed", "ly", "e", "n", "s", "y"];

/// Returns the stem of a folded word.
pub(crate) fn stem(folded: &str) -> String {
    let mut word = folded;
    if let Some(rest) = word.strip_suffix("ungen").filter(|r| r.len() >= 3) {
        return format!("{rest}ung");
    }
    for ending in ENDINGS {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.chars().count() >= 4
        {
            word = rest;
            break;
        }
    }
    // "pumpes"/"pumpe" and "leistungen"/"leistung" meet only when the last vowel goes too.
    if word.len() >= 5
        && let Some(rest) = word.strip_suffix('e')
    {
        word = rest;
    }
    word.to_string()
}

fn separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '|' | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '"'
                | '„'
                | '“'
                | '”'
                | '«'
                | '»'
                | ';'
                | '?'
                | '!'
                | '<'
                | '>'
                | '*'
                | '`'
                | '='
                | '…'
                | '·'
                | '•'
                | '→'
                | '\''
                | '’'
                | '‘'
                | '#'
                | ':'
                | '\u{a0}'
        )
}

/// Splits a text into tokens.
///
/// `24V`, `12kg` and `50%` become a number and a unit; `Brandschutz-Prüfung` becomes its parts; `XJ-200` stays one code.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for piece in text.split(separator) {
        let piece = piece.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '%' | '€' | '°'));
        if piece.is_empty() {
            continue;
        }
        let digits = piece.chars().any(|c| c.is_ascii_digit());
        let letters = piece.chars().any(char::is_alphabetic);
        if digits && letters {
            if let Some((number, unit)) = number_with_unit(piece) {
                out.push(token(number, Kind::Number));
                out.push(token(unit, Kind::Word));
            } else {
                out.push(token(piece, Kind::Code));
            }
        } else if digits {
            for number in piece.split(['/', '–', '+', '×', '%', '€', '°', '±']) {
                if is_date(number) || !number.contains('-') {
                    push_number(&mut out, number);
                } else {
                    number.split('-').for_each(|n| push_number(&mut out, n));
                }
            }
            if let Some(sign) = piece.chars().last().filter(|c| !c.is_alphanumeric()) {
                out.push(token(&sign.to_string(), Kind::Word));
            }
        } else {
            for word in piece.split(|c: char| !c.is_alphabetic()) {
                for part in camel(word) {
                    out.push(token(part, Kind::Word));
                }
            }
            if matches!(piece, "€" | "%" | "°") {
                out.push(token(piece, Kind::Word));
            }
        }
    }
    out
}

/// `PayableAmount`, as XML names things, is two words; `cULus` and `GmbH` are one.
fn camel(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let chars: Vec<(usize, char)> = word.char_indices().collect();
    for i in 1..chars.len() {
        let (at, c) = chars[i];
        let hump = c.is_uppercase() && chars[i - 1].1.is_lowercase();
        let goes_on = chars.get(i + 1).is_some_and(|(_, next)| next.is_lowercase());
        if hump && goes_on && at - start >= 3 {
            parts.push(&word[start..at]);
            start = at;
        }
    }
    if start < word.len() {
        parts.push(&word[start..]);
    }
    parts
}

fn push_number(out: &mut Vec<Token>, number: &str) {
    let number = number.trim_matches(|c: char| !c.is_ascii_digit());
    if !number.is_empty() {
        out.push(token(number, Kind::Number));
    }
}

fn token(raw: &str, kind: Kind) -> Token {
    let stem = match kind {
        Kind::Word => stem(&fold(raw)),
        Kind::Number => raw.to_string(),
        Kind::Code => compact(raw),
    };
    Token { raw: raw.to_string(), stem, kind }
}

/// `24V` → (`24`, `V`); codes such as `M12` or `12A3` are not touched.
fn number_with_unit(piece: &str) -> Option<(&str, &str)> {
    let end = piece.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))).filter(|&end| end > 0)?;
    let (number, unit) = piece.split_at(end);
    let short = unit.chars().count() <= 4;
    let known = unit.chars().all(|c| c.is_alphabetic() || matches!(c, '%' | '€' | '°' | '²' | '³' | '/'));
    (short && known).then_some((number, unit))
}

/// Upper case, letters and digits only.
pub(crate) fn compact(code: &str) -> String {
    code.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

fn is_date(text: &str) -> bool {
    date(text).is_some()
}

/// `22.11.2026`, `22.11.26`, `2026-11-22` → `2026-11-22`.
fn date(text: &str) -> Option<String> {
    let parts = |sep| -> Option<Vec<u32>> {
        text.trim_end_matches('.')
            .split(sep)
            .map(|p| p.parse().ok())
            .collect::<Option<Vec<_>>>()
            .filter(|p| p.len() == 3)
    };
    let (year, month, day) = if let Some(p) = parts('.') {
        (p[2], p[1], p[0])
    } else {
        let p = parts('-')?;
        (p[0], p[1], p[2])
    };
    let year = if year < 100 { year + 2000 } else { year };
    ((1..=12).contains(&month) && (1..=31).contains(&day) && (1900..=2200).contains(&year))
        .then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// Returns the values a written number can stand for: `1.250,00` is 1250, `1.250` is 1250 or 1.25, `12,50` is 12.5.
///
/// German and English writing share the signs, so an ambiguous number keeps both readings and matches either.
pub(crate) fn number_values(raw: &str) -> Vec<String> {
    if let Some(date) = date(raw) {
        return vec![date];
    }
    let raw = raw.trim_matches(|c: char| !c.is_ascii_digit());
    let (dots, commas) = (raw.matches('.').count(), raw.matches(',').count());
    let last = raw.rfind(['.', ',']);
    let mut values = Vec::new();
    let mut push = |text: String| {
        let value = plain(&text);
        if !values.contains(&value) {
            values.push(value);
        }
    };
    match last {
        None => push(raw.to_string()),
        Some(at) => {
            let tail = raw.len() - at - 1;
            let whole = raw.replace(['.', ','], "");
            let decimal = format!("{}.{}", raw[..at].replace(['.', ','], ""), &raw[at + 1..]);
            if dots > 0 && commas > 0 {
                push(decimal);
            } else if dots + commas > 1 {
                push(whole);
                push(raw.to_string());
            } else {
                push(decimal);
                if tail == 3 {
                    push(whole);
                }
            }
        }
    }
    values
}

/// Drops leading zeros and trailing decimal zeros.
fn plain(text: &str) -> String {
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    };
    let trimmed = text.trim_start_matches('0');
    match trimmed.chars().next() {
        None => "0".into(),
        Some('.') => format!("0{trimmed}"),
        Some(_) => trimmed.to_string(),
    }
}

/// Returns every code a text spells: one to four neighbouring runs of letters and digits joined, at least one digit among them.
///
/// So `XJ 200`, `XJ-200` and `XJ200` are the same code, and `A10` is not found in `A100`.
pub(crate) fn codes(text: &str) -> HashSet<String> {
    let runs: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|r| !r.is_empty()).map(|r| r.to_uppercase()).collect();
    let mut out = HashSet::new();
    for start in 0..runs.len() {
        let mut joined = String::new();
        for run in runs.iter().skip(start).take(4) {
            joined.push_str(run);
            if joined.chars().any(|c| c.is_ascii_digit()) {
                out.insert(joined.clone());
            }
        }
    }
    out
}

/// A text made ready to be searched for terms.
#[derive(Debug, Default, Clone)]
pub(crate) struct Bag {
    pub(crate) stems: HashSet<String>,
    pub(crate) numbers: HashSet<String>,
    pub(crate) codes: HashSet<String>,
}

impl Bag {
    pub(crate) fn of(text: &str) -> Self {
        let mut bag = Self { codes: codes(text), ..Self::default() };
        for token in tokens(text) {
            match token.kind {
                Kind::Word => {
                    bag.stems.insert(token.stem);
                }
                Kind::Number => bag.numbers.extend(number_values(&token.raw)),
                Kind::Code => bag
                    .numbers
                    .extend(token.raw.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).map(plain)),
            }
        }
        bag
    }

    /// How well a token is found here: 1 exact (after stemming), [`COMPOUND`] as part of a compound or by a synonym, 0 not at all.
    pub(crate) fn finds(&self, token: &Token) -> f32 {
        let found = |yes: bool| if yes { 1.0 } else { 0.0 };
        match token.kind {
            Kind::Number => found(
                number_values(&token.raw).iter().any(|v| self.numbers.contains(v))
                    || self.codes.contains(&compact(&token.raw)),
            ),
            Kind::Code => found(self.codes.contains(&token.stem)),
            Kind::Word if self.stems.contains(&token.stem) => 1.0,
            Kind::Word => {
                let long = token.stem.len() >= COMPOUND_LETTERS;
                let inside = self.stems.iter().any(|s| {
                    let compound = long
                        && s.len() >= COMPOUND_LETTERS
                        && (s.contains(&token.stem) || token.stem.contains(s.as_str()));
                    compound || alike(&token.stem, s)
                });
                if inside { COMPOUND } else { 0.0 }
            }
        }
    }
}

/// `Garantie` found in `Garantiezeit`: nearly as good as the word itself.
pub(crate) const COMPOUND: f32 = 0.85;
/// Shorter parts hit by chance (`Stelle` in `Stellenwert` is fine, `art` in `warten` is not).
const COMPOUND_LETTERS: usize = 5;

/// Words that carry no topic, German and English, folded.
const STOP: &str = " a ab aber about after all alle allem allen aller alles als also am an and ander andere anderen any are as at auch auf aus be bei beim been before bei being bin bis bist bitte by can could da damit dann darf das dass \
dein deine dem den denn der des dessen deren dich die dies diese diesem diesen dieser dieses dir do does doch dort du durch ein eine einem einen einer eines er es etwa etwas euch euer for from fuer ganz gegen genau geht genannt gibt give \
had haben habe hat hatte has have her hier hin how i ich if ihm ihn ihnen ihr ihre ihrem ihren ihrer im in into ins is ist it its ja je jede jedem jeden jeder jedes jetzt kann kannst koennen koennt man many may me mehr mein meine mich \
mir mit much muss muessen must my nach nein noch nun nur ob oder of off on one or our please say says schon sehr sein seine sich sie sind so soll sollen sollte some sowie such tell than that the their them then there \
these they this those through to ueber um und uns unser unsere unserem unseren unserer unter up us von vom vor war waren warum was we welche welchem welchen welcher welches wenn wer werden wem wen wessen wessen were what when where which \
while who whom whose why wie wieso will wir wird wo wofuer wohin womit woran worauf wozu wurde wurden would you your zu zum zur zwischen did sagt steht stehen laut according under haben gelten gilt betraegt ";

/// Whether a folded word carries no topic.
pub(crate) fn is_stop(folded: &str) -> bool {
    STOP.split_ascii_whitespace().any(|s| s == folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_word_meet() {
        for (a, b) in [
            ("Pumpe", "Pumpen"),
            ("Prüfung", "Pruefungen"),
            ("Straße", "Strassen"),
            ("warranty", "warranties"),
            ("operating", "operates"),
            ("Lieferzeit", "Lieferzeiten"),
            ("Mitarbeiter", "Mitarbeitern"),
        ] {
            assert_eq!(stem(&fold(a)), stem(&fold(b)), "{a} / {b}");
        }
        assert_ne!(stem(&fold("Pumpe")), stem(&fold("Ventil")));
    }

    #[test]
    fn numbers_read_german_and_english() {
        assert_eq!(number_values("12,50"), ["12.5"]);
        assert_eq!(number_values("12.5"), ["12.5"]);
        assert_eq!(number_values("1.250,00"), ["1250"]);
        assert_eq!(number_values("1,250.00"), ["1250"]);
        assert_eq!(number_values("1.250"), ["1.25", "1250"]);
        assert_eq!(number_values("007"), ["7"]);
        assert_eq!(number_values("22.11.2026"), ["2026-11-22"]);
        assert_eq!(number_values("2026-11-22"), ["2026-11-22"]);
    }

    #[test]
    fn codes_are_told_from_numbers_with_units() {
        let kinds: Vec<(String, Kind)> =
            tokens("XJ-200 mit 24V und 1.250,00 € für M12").into_iter().map(|t| (t.stem, t.kind)).collect();
        assert!(kinds.contains(&("XJ200".into(), Kind::Code)));
        assert!(kinds.contains(&("24".into(), Kind::Number)));
        assert!(kinds.contains(&("1.250,00".into(), Kind::Number)));
        assert!(kinds.contains(&("M12".into(), Kind::Code)));
    }

    #[test]
    fn a_code_is_found_however_it_is_written_and_only_whole() {
        let bag = Bag::of("Artikel XJ 200-B nach DIN EN 60947-2, A100");
        for code in ["XJ-200", "xj200", "DIN EN 60947", "A100"] {
            assert!(bag.codes.contains(&compact(code)), "{code}");
        }
        assert!(!bag.codes.contains("A10"));
        assert!(!bag.codes.contains("XJ2"));
    }

    #[test]
    fn compounds_are_found_in_both_directions() {
        let bag = Bag::of("Die Garantiezeit beträgt 24 Monate.");
        let word = |w: &str| tokens(w).remove(0);
        assert_eq!(bag.finds(&word("Garantie")), COMPOUND);
        assert_eq!(bag.finds(&word("Monat")), 1.0);
        assert_eq!(bag.finds(&word("24")), 1.0);
        assert_eq!(bag.finds(&word("25")), 0.0);
        assert_eq!(bag.finds(&word("Zeit")), 0.0);
    }
}
