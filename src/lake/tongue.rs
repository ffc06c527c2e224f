//! Lets passages in another language than the question compete.
//!
//! A multilingual model puts a question nearer to every passage of its own language than to any other: with
//! multilingual-e5-small by 0.04 of cosine on average and never less than 0.02, two standard deviations of what passages of
//! one language differ by. A German question then finds twenty German passages on nothing in particular before the one
//! English data sheet that answers it. And the words cannot put that right: an English passage does not hold German words.
//!
//! So each language's mean cosine with this question is lifted to that of the question's own language, and a foreign passage
//! gets [`WORDS_OF_OTHERS`] in place of the words it cannot have. Where all is in one language nothing changes.

use std::collections::HashSet;

/// What a foreign passage gets for its words, in standard deviations of cosine: what separates chance matches of words from
/// an answer in the question's own.
pub(crate) const WORDS_OF_OTHERS: f32 = 2.0;

/// Means of fewer passages than this say little: they are trusted half at this number, more above it.
const HALF_TRUSTED: f32 = 30.0;
/// The standard deviation cosines are taken to have before there are enough to measure it, and how many that one counts for.
const USUAL_DEVIATION: f64 = 0.02;
const USUAL_COUNT: f64 = 50.0;

/// The languages of an index, by number; 0 is a language nobody could tell.
pub(crate) struct Tongues(Vec<String>);

impl Default for Tongues {
    fn default() -> Self {
        Self(vec![String::new()])
    }
}

impl Tongues {
    /// Returns a language's number. There are fewer than 256 of them; what comes after is unknown.
    pub fn number(&mut self, language: Option<&str>) -> u8 {
        let Some(language) = language.filter(|language| !language.is_empty()) else {
            return 0;
        };
        let known = self.0.iter().position(|known| known == language);
        let number = known.or_else(|| {
            (self.0.len() <= usize::from(u8::MAX)).then(|| {
                self.0.push(language.to_owned());
                self.0.len() - 1
            })
        });
        number.and_then(|number| u8::try_from(number).ok()).unwrap_or(0)
    }

    /// Returns the language of a number; `None` for 0.
    pub fn language(&self, number: u8) -> Option<&str> {
        self.0.get(usize::from(number)).map(String::as_str).filter(|language| !language.is_empty())
    }

    /// Returns the number of a language that is known already.
    pub fn known(&self, language: Option<&str>) -> Option<u8> {
        let at = self.0.iter().position(|known| Some(known.as_str()) == language)?;
        u8::try_from(at).ok().filter(|number| *number > 0)
    }
}

/// How the cosines of one question are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evened {
    /// By a language's number: what its passages' cosines are lifted by.
    pub lifts: [f32; 256],
    /// The standard deviation of cosines within a language.
    pub deviation: f32,
    own: Option<u8>,
}

impl Evened {
    /// Reads the cosines of one question with every live passage, given with the passages' languages; `own` is the question's.
    pub fn of(passages: impl Iterator<Item = (u8, f32)>, own: Option<u8>) -> Self {
        let mut sums = [(0.0_f64, 0.0_f64, 0.0_f64); 256];
        for (language, cosine) in passages {
            let (count, sum, squares) = &mut sums[usize::from(language)];
            let cosine = f64::from(cosine);
            *count += 1.0;
            *sum += cosine;
            *squares += cosine * cosine;
        }
        let (mut spread, mut count) = (USUAL_COUNT * USUAL_DEVIATION * USUAL_DEVIATION, USUAL_COUNT);
        for (of, sum, squares) in sums.iter().filter(|(of, ..)| *of > 0.0) {
            spread += (squares - sum * sum / of).max(0.0);
            count += of;
        }
        let mut lifts = [0.0; 256];
        let own = own.filter(|own| sums[usize::from(*own)].0 > 0.0);
        if let Some(own) = own {
            let (own_count, own_sum, _) = sums[usize::from(own)];
            for (language, (of, sum, _)) in sums.iter().enumerate().skip(1) {
                if *of > 0.0 && language != usize::from(own) {
                    let few = of.min(own_count) as f32;
                    let apart = (own_sum / own_count - sum / of).max(0.0) as f32;
                    lifts[language] = apart * few / (few + HALF_TRUSTED);
                }
            }
        }
        Self { lifts, deviation: (spread / count).sqrt() as f32, own }
    }

    pub fn lift(&self, language: u8) -> f32 {
        self.lifts[usize::from(language)]
    }

    /// Whether a passage is known to be in another language than the question, beside passages in its own.
    pub fn is_foreign(&self, language: u8) -> bool {
        self.own.is_some_and(|own| language != 0 && language != own)
    }
}

/// Tells the language of a question by the small words only one of the two languages has; `None` when they do not decide.
pub(crate) fn language_of(question: &str) -> Option<&'static str> {
    let lower = question.to_lowercase();
    let words: HashSet<&str> = lower.split(|char: char| !char.is_alphanumeric()).collect();
    let count = |list: &str| list.split(' ').filter(|word| words.contains(word)).count();
    let umlauts = usize::from(lower.contains(['ä', 'ö', 'ü', 'ß']));
    match (count(GERMAN) + umlauts, count(ENGLISH)) {
        (german, english) if german > english => Some("de"),
        (german, english) if english > german => Some("en"),
        _ => None,
    }
}

const GERMAN: &str = "der die das den dem des ein eine einer eines einem einen und oder ist sind wird werden wurde wie wo wer wem \
    wen wann warum welche welcher welches welchem welchen für fuer von vom mit bei beim zu zum zur im auf aus nach nicht kein keine \
    gibt hat haben muss müssen kann können darf soll wir ich unsere unser es sich durch über unter zwischen als auch nur";
const ENGLISH: &str = "the of and or is are does do did how what which who whom whose when where why for from with by to on at \
    not no there has have must can may should be been being our we i it its this that these those between through as if into \
    an was were will would";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_tell_their_language_or_nothing() {
        for question in ["Wie hoch ist der Bemessungsstrom?", "Prüfung Schaltschrank", "Klemmen für Tragschienen"] {
            assert_eq!(language_of(question), Some("de"), "{question}");
        }
        for question in ["What was the rated current?", "terminals for DIN rails", "Who signs?"] {
            assert_eq!(language_of(question), Some("en"), "{question}");
        }
        for question in ["WDU 2.5", "", "Terminal Block", "6ES7 131-6BF01"] {
            assert_eq!(language_of(question), None, "{question}");
        }
    }

    #[test]
    fn the_mean_of_another_language_is_lifted_to_the_own_one() {
        let passages = |foreign: usize| {
            let own = (0..1000).map(|index| (1, 0.80 + 0.01 * (index % 3) as f32));
            own.chain((0..foreign).map(|index| (2, 0.76 + 0.01 * (index % 3) as f32)))
        };
        let evened = Evened::of(passages(1000), Some(1));
        assert!((evened.lift(2) - 0.04).abs() < 0.002, "{}", evened.lift(2));
        assert_eq!((evened.lift(0), evened.lift(1)), (0.0, 0.0));
        // Within a language, not over both: 0.0082 of the data, drawn a little to what is usual.
        assert!((evened.deviation - 0.0085).abs() < 0.001, "{}", evened.deviation);
        assert!(evened.is_foreign(2) && !evened.is_foreign(1) && !evened.is_foreign(0));
        // One passage in another language proves nothing about it.
        assert!(Evened::of(passages(1), Some(1)).lift(2) < 0.003);
    }

    #[test]
    fn without_passages_in_the_questions_language_nothing_is_foreign() {
        let evened = Evened::of((0..100).map(|_| (2, 0.8)), Some(1));
        assert!(!evened.is_foreign(2));
        assert_eq!(evened, Evened { own: None, ..Evened::of((0..100).map(|_| (2, 0.8)), None) });
        assert!(Evened::of(std::iter::empty(), None).deviation > 0.0);
    }

    #[test]
    fn languages_have_numbers() {
        let mut tongues = Tongues::default();
        assert_eq!((tongues.number(None), tongues.number(Some("de")), tongues.number(Some("en"))), (0, 1, 2));
        assert_eq!(tongues.number(Some("de")), 1);
        assert_eq!((tongues.known(Some("en")), tongues.known(Some("fr")), tongues.known(None)), (Some(2), None, None));
        assert_eq!((tongues.language(2), tongues.language(0)), (Some("en"), None));
        for index in 0..300 {
            tongues.number(Some(&format!("x{index}")));
        }
        assert_eq!(tongues.number(Some("one-too-many")), 0);
    }
}
