//! What a question asks for: its terms, the codes it names, and the sort of answer it wants.

use crate::{
    language::Language,
    words::{Kind, Token, compact, fold, is_stop, tokens},
};

/// Question words that are followed by the thing asked for (`Wie viele Urlaubstage …`, `Which software …`, `Wer ist Geschäftsführer …`).
const ASKS_FOR: &str = " viele viel welche welcher welches welchen welchem wer many much which what who ";

/// The sort of thing that answers a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Number,
    Money,
    Duration,
    Date,
    Person,
    Reason,
    Anything,
}

/// A question, read.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) language: Language,
    /// Content words, numbers and codes, each stem once.
    pub(crate) terms: Vec<Token>,
    /// Article codes, standards and long numbers, compacted: an answer must be about them.
    pub(crate) codes: Vec<String>,
    /// Which of `terms` are written like a name (capitalised inside an English sentence, or all capitals).
    pub(crate) names: Vec<bool>,
    pub(crate) wanted: Wanted,
    /// Index into `terms` of the thing asked for, where the question names it right after the question word.
    pub(crate) focus: Option<usize>,
}

/// Adjectives that belong to the question word (`how long`, `wie hoch`), not to the topic; `wie schwer` is about a weight, so `schwer` stays.
const MEASURES: &str =
    " lang lange hoch viel viele gross weit oft schnell alt long high many much big large far often fast old soon ";

impl Asked {
    /// Whether a text brings the sort of thing wanted, beyond what the question itself says: `KX 10` is no figure in an answer about the KX 10.
    pub(crate) fn is_met_by(&self, text: &str) -> bool {
        let mut rest = text.to_owned();
        for term in &self.terms {
            rest = rest.replace(&term.raw, " ");
            if term.kind == Kind::Code {
                rest = rest.replace(&term.raw.replace(' ', "-"), " ");
            }
        }
        self.wanted.is_in(&rest)
    }

    pub(crate) fn read(text: &str) -> Self {
        let language = Language::of(text);
        let mut asked = Self {
            language,
            terms: Vec::new(),
            codes: Vec::new(),
            names: Vec::new(),
            wanted: wanted(text),
            focus: None,
        };
        let (mut previous, mut asking) = (String::new(), false);
        for (position, token) in designations(tokens(text)).into_iter().enumerate() {
            let folded = fold(&token.raw);
            let measure = matches!(previous.as_str(), "wie" | "how") && MEASURES.contains(&format!(" {folded} "));
            let skip = token.kind == Kind::Word && (measure || is_stop(&folded) || folded.chars().count() < 2);
            asking |= ASKS_FOR.contains(&format!(" {folded} "));
            previous = folded;
            if skip || asked.terms.iter().any(|t| t.stem == token.stem) {
                continue;
            }
            if asking && asked.focus.is_none() && token.kind == Kind::Word {
                // German nouns are capitalised: an adjective or a verb in between is not what is asked for.
                let noun = language == Language::English || token.raw.starts_with(char::is_uppercase);
                asked.focus = noun.then_some(asked.terms.len());
                asking = noun;
            }
            let proper = language == Language::English && position > 0 && token.raw.starts_with(char::is_uppercase);
            asked.names.push(token.kind == Kind::Word && (is_acronym(&token.raw) || proper));
            if is_code(&token) {
                asked.codes.push(compact(&token.raw));
            }
            asked.terms.push(token);
        }
        asked
    }
}

fn is_acronym(raw: &str) -> bool {
    raw.chars().count() >= 2 && raw.chars().all(char::is_uppercase)
}

/// Codes name one article, standard or paper: letters and digits together, and numbers of five digits or more.
fn is_code(token: &Token) -> bool {
    let digits = token.raw.chars().filter(char::is_ascii_digit).count();
    let plain = token.raw.chars().all(|c| c.is_ascii_digit() || c == '-');
    token.kind == Kind::Code || (token.kind == Kind::Number && plain && digits >= 5)
}

/// Joins a designation written apart into one code: `KX 4`, `KP 2,5`, `ISO 9001`, `KX 6 S`.
fn designations(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let short = |raw: &str, most| is_acronym(raw) && raw.chars().count() <= most;
    for token in tokens {
        let join = out.last().is_some_and(|last| match (last.kind, token.kind) {
            (Kind::Word, Kind::Number) => short(&last.raw, 5),
            // `KX 6 S` and `KX 4 PE`, but not `PSN 24 V`.
            (Kind::Code, Kind::Word) => {
                last.raw.contains(' ')
                    && token.raw.chars().count() <= 2
                    && token.raw.chars().all(char::is_uppercase)
                    && !matches!(token.raw.as_str(), "V" | "A" | "W" | "N")
            }
            _ => false,
        });
        match out.last_mut().filter(|_| join) {
            Some(last) => {
                last.raw = format!("{} {}", last.raw, token.raw);
                last.stem = compact(&last.raw);
                last.kind = Kind::Code;
            }
            None => out.push(token),
        }
    }
    out
}

/// Quantities: who asks for one wants a figure. Word endings and words, folded.
const QUANTITIES: [&str; 27] = [
    "strom",
    "spannung",
    "moment",
    "kraft",
    "gewicht",
    "laenge",
    "breite",
    "hoehe",
    "temperatur",
    "druck",
    "leistung",
    "menge",
    "betrag",
    "nummer",
    "prozent",
    "pegel",
    "torque",
    "current",
    "voltage",
    "weight",
    "length",
    "width",
    "force",
    "temperature",
    "amount",
    "number",
    "level",
];

fn wanted(text: &str) -> Wanted {
    let folded = format!(
        " {} ",
        fold(text).split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
    );
    let any = |list: &[&str]| list.iter().any(|p| folded.contains(&format!(" {p} ")));
    let part = |list: &[&str]| list.iter().any(|p| folded.contains(p));
    if any(&["wann", "when", "what date", "which date", "seit wann", "bis wann"])
        || part(&[" welchem datum", " welches datum", " welchem tag", " on which day"])
    {
        Wanted::Date
    } else if any(&["wie lange", "how long", "wie viele tage", "how many days"])
        || part(&["lieferzeit", "frist ", "lead time"])
    {
        Wanted::Duration
    } else if any(&["teuer", "expensive"]) || part(&["kostet", "kosten ", "preis", "price", " cost", "wie viel geld"]) {
        Wanted::Money
    } else if any(&["wie viel", "wie viele", "wieviel", "wieviele", "how many", "how much"])
        || part(&[
            " wie hoch",
            " wie gross",
            " wie schwer",
            " wie weit",
            " wie oft",
            " wie breit",
            " how high",
            " how large",
            " how heavy",
            " how often",
            " how far",
            " how big",
            " how wide",
        ])
    {
        Wanted::Number
    } else if any(&["warum", "weshalb", "wieso", "why"]) {
        Wanted::Reason
    } else if quantity(&folded) {
        Wanted::Number
    } else if any(&["wer", "wem", "wen", "who", "whom"]) {
        Wanted::Person
    } else {
        Wanted::Anything
    }
}

/// Whether the question asks `which` of a quantity: `Welchen Bemessungsstrom …`, `What is the payable amount …`.
fn quantity(folded: &str) -> bool {
    let mut words = folded.split(' ').filter(|w| !w.is_empty());
    let asks = words.any(|w| matches!(w, "welche" | "welchen" | "welcher" | "welches" | "welchem" | "which" | "what"));
    asks && words.take(4).any(|w| QUANTITIES.iter().any(|q| w.ends_with(q)))
}

const REASONS: [&str; 18] = [
    "weil ",
    "wegen ",
    "ursache",
    "grund ",
    "deshalb",
    "daher",
    "dadurch",
    "aufgrund",
    "because",
    "due to",
    "caus",
    "reason",
    "since ",
    "owing to",
    "durch ",
    "found that",
    "stellte fest",
    "festgestellt",
];

const TIME_UNITS: [&str; 22] = [
    "tag",
    "tage",
    "tagen",
    "woche",
    "monat",
    "jahr",
    "stunde",
    "minute",
    "sekunde",
    "werktag",
    "day",
    "week",
    "month",
    "year",
    "hour",
    "minut",
    "second",
    "quartal",
    "quarter",
    "arbeitstag",
    "kalendertag",
    "uhr",
];
const NUMBER_WORDS: &str = " ein eine einen einem einer eins zwei drei vier fuenf sechs sieben acht neun zehn elf zwoelf zwanzig dreissig hundert tausend one two three four five six seven eight nine ten eleven twelve twenty thirty hundred thousand ";
const MONTHS: &str = " januar februar maerz april mai juni juli august september oktober november dezember january february march may june july october december montag dienstag mittwoch donnerstag freitag samstag sonntag monday tuesday wednesday thursday friday saturday sunday ";

impl Wanted {
    /// Whether the question wants something that can be recognised.
    pub(crate) fn is_specific(self) -> bool {
        self != Self::Anything
    }

    /// Whether a text contains the sort of thing wanted.
    pub(crate) fn is_in(self, text: &str) -> bool {
        let folded = fold(text);
        let words = || folded.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
        let digits = text.chars().any(|c| c.is_ascii_digit());
        let listed = |list: &str| words().any(|w| list.contains(&format!(" {w} ")));
        match self {
            Self::Anything => true,
            Self::Number => digits || listed(NUMBER_WORDS),
            Self::Money => digits,
            Self::Duration => {
                (digits || listed(NUMBER_WORDS))
                    && words().any(|w| TIME_UNITS.iter().any(|u| w.contains(u) && w.len() <= u.len() + 12))
            }
            Self::Reason => REASONS.iter().any(|r| folded.contains(r)),
            Self::Date => digits || listed(MONTHS),
            Self::Person => {
                // Two capitalised words in a row; `RegistrationName:` and `KX` are no names of people.
                let mut capitals = text.split_whitespace().map(|w| {
                    let mut letters = w.trim_end_matches([',', '.', ';', ')']).chars();
                    letters.next().is_some_and(char::is_uppercase)
                        && letters.as_str().len() > 1
                        && letters.all(|c| c.is_lowercase() || c == '-')
                });
                let mut run = 0;
                capitals.any(|c| {
                    run = if c { run + 1 } else { 0 };
                    run >= 2
                }) || listed(" herr frau mr mrs ms ")
                    || text.contains('@')
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sort_of_answer_is_read_from_the_question() {
        for (question, expect) in [
            ("Wie lange gilt die Garantie?", Wanted::Duration),
            ("Was kostet der XJ-200?", Wanted::Money),
            ("Wann wurde die Anlage geprüft?", Wanted::Date),
            ("Wie hoch ist der Druck?", Wanted::Number),
            ("Who signs the report?", Wanted::Person),
            ("How many pumps are in stock?", Wanted::Number),
            ("Welche Farbe hat das Gehäuse?", Wanted::Anything),
            ("Welchen Bemessungsstrom hat die KX 4?", Wanted::Number),
            ("Warum ist das Gehäuse gerissen?", Wanted::Reason),
        ] {
            assert_eq!(Asked::read(question).wanted, expect, "{question}");
        }
    }

    #[test]
    fn terms_leave_out_question_words() {
        let asked = Asked::read("Wie hoch ist der maximale Druck der Pumpe XJ-200 nach ISO 9001?");
        let terms: Vec<&str> = asked.terms.iter().map(|t| t.raw.as_str()).collect();
        assert_eq!(terms, ["maximale", "Druck", "Pumpe", "XJ-200", "ISO 9001"]);
        assert_eq!(asked.codes, ["XJ200", "ISO9001"]);
    }

    #[test]
    fn designations_written_apart_are_one_code() {
        for (question, code) in [
            ("Was kostet die KX 4?", "KX4"),
            ("Wie schnell ist die KP 2,5 verdrahtet?", "KP25"),
            ("Für welchen Strom ist die KX 6 S ausgelegt?", "KX6S"),
            ("Liefert PSN 24 V?", "PSN24"),
            ("Is invoice RE-2026-10482 paid?", "RE202610482"),
        ] {
            assert_eq!(Asked::read(question).codes, [code], "{question}");
        }
    }

    #[test]
    fn the_thing_asked_for_is_told_from_the_rest() {
        for (question, focus) in [
            ("Wie viele Urlaubstage haben die Beschäftigten?", Some("Urlaubstage")),
            ("Welchen Bemessungsstrom hat die KX 4?", Some("Bemessungsstrom")),
            ("Wer ist Geschäftsführer?", Some("Geschäftsführer")),
            ("Which software does the department use?", Some("software")),
            ("Wie lange ist die Garantie?", None),
            ("Why were the screws loose?", None),
        ] {
            let asked = Asked::read(question);
            let found = asked.focus.map(|i| asked.terms[i].raw.as_str());
            assert_eq!(found, focus, "{question}");
        }
    }

    #[test]
    fn the_question_does_not_answer_itself() {
        let asked = Asked::read("What tightening torque applies to the KX 10?");
        assert!(!asked.is_met_by("Durchgangsklemme KX 10"));
        assert!(asked.is_met_by("Klemme: KX 10 · Anzugsdrehmoment: 1,5–1,8 Nm"));
        let asked = Asked::read("Wer ist Geschäftsführer der Kessler Klemmtechnik GmbH?");
        assert!(!asked.is_met_by("Party PartyLegalEntity – RegistrationName: Kessler Klemmtechnik GmbH"));
    }

    #[test]
    fn a_wanted_thing_is_recognised() {
        assert!(Wanted::Duration.is_in("Die Garantie beträgt zwei Jahre."));
        assert!(!Wanted::Duration.is_in("Die Garantie ist großzügig."));
        assert!(Wanted::Date.is_in("geprüft im März"));
        assert!(Wanted::Person.is_in("Der Bericht wird von Anna Weber unterschrieben."));
        assert!(!Wanted::Number.is_in("No pumps are in stock."));
    }
}
