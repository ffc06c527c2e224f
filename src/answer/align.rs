//! Alignment of a generated sentence to the unit that supports it.
//!
//! A small model mixes what it read: the rules refuse rather than guess. Table rows support no generated sentence at all, because a row holds many numbers and only its
//! columns say what they mean; rows are quoted instead.

use crate::{
    asked::Asked,
    words::{Bag, Kind, Token, fold, is_stop, tokens},
};

/// Share of a sentence's content words (those the question did not already contain) that the unit has to contain. A model of
/// this size invents words that look German; at 0.75 one such sentence passed the exam's eleventh question.
const WORDS_FROM: f32 = 0.95;

const NEGATIONS: &str = " nicht kein keine keinen keinem keiner keines nie niemals ohne not no never without cannot don doesn isn aren won ";

/// Whether `unit` (with what stands beside it: heading, document name) supports `sentence` as an answer to the question.
///
/// Every number and code has to occur; when the unit holds several numbers the sentence has to keep them all, so that a value cannot be taken from its neighbour; a negation has to stand
/// on both sides or on none; and the sentence must say something the question did not.
pub(crate) fn supports(asked: &Asked, sentence: &str, unit: &str, beside: &Bag) -> bool {
    let bag = Bag::of(unit);
    let said: Vec<Token> = tokens(sentence);
    let figures = |t: &&Token| t.kind != Kind::Word;
    let known = |t: &Token| bag.finds(t) > 0.0 || beside.finds(t) > 0.0;
    if !said.iter().filter(figures).all(known) {
        return false;
    }
    let unit_tokens = tokens(unit);
    let said_bag = Bag::of(sentence);
    let unit_figures: Vec<&Token> = unit_tokens.iter().filter(figures).collect();
    if unit_figures.len() > 1 && !unit_figures.iter().all(|t| said_bag.finds(t) > 0.0) {
        return false;
    }
    if negated(sentence) != negated(unit) {
        return false;
    }
    let in_question = |t: &Token| asked.terms.iter().any(|q| q.stem == t.stem);
    let new: Vec<&Token> =
        said.iter().filter(|t| !in_question(t) && (t.kind != Kind::Word || !is_stop(&fold(&t.raw)))).collect();
    if new.is_empty() {
        return false;
    }
    let found = new.iter().filter(|t| bag.finds(t) > 0.0).count();
    found > 0 && found as f32 / new.len() as f32 >= WORDS_FROM
}

fn negated(text: &str) -> bool {
    fold(text).split(|c: char| !c.is_alphanumeric()).any(|w| !w.is_empty() && NEGATIONS.contains(&format!(" {w} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(question: &str, sentence: &str, unit: &str, expect: bool) {
        let asked = Asked::read(question);
        assert_eq!(supports(&asked, sentence, unit, &Bag::of("Pumpe XJ-200")), expect, "`{sentence}` by `{unit}`");
    }

    #[test]
    fn supported_sentences_are_kept() {
        check(
            "How long is the warranty?",
            "The warranty is 24 months.",
            "The warranty period is 24 months from delivery.",
            true,
        );
        check(
            "Wie schwer ist die Pumpe XJ-200?",
            "Die XJ-200 wiegt 12,5 kg.",
            "Gewicht: 12.5 kg",
            false, // „wiegt“ is new and not in the unit: quoting is safer than believing it.
        );
        check("Wie schwer ist die Pumpe XJ-200?", "Das Gewicht der XJ-200 beträgt 12,5 kg.", "Gewicht: 12.5 kg", true);
    }

    #[test]
    fn invented_figures_words_and_negations_are_dropped() {
        let unit = "The warranty period is 24 months from delivery.";
        let question = "How long is the warranty?";
        check(question, "The warranty is 36 months.", unit, false);
        check(question, "The warranty of the XJ-300 is 24 months.", unit, false);
        check(question, "The warranty is not 24 months.", unit, false);
        check(question, "The warranty covers fire, water and theft.", unit, false);
        check(question, "How long is the warranty?", unit, false);
    }

    #[test]
    fn a_value_is_not_taken_from_its_neighbour() {
        check(
            "How long is the warranty on pumps?",
            "The warranty on pumps is 24 months.",
            "The warranty is 12 months on pumps and 24 months on motors.",
            false,
        );
    }
}
