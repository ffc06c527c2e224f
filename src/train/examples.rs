//! From a passage or an exchange to the tokens a model learns from.
//!
//! Three kinds. *Continuation*: the heading line and the passage as plain text, all of it learnt;
//! this is where German, the domain's words and the house's formats come from. *Notes*: the
//! answering prompt with the passage as its note and one of its sentences as the answer, asked for
//! by two of that sentence's words; only the answer is learnt, which teaches the model to find and
//! repeat instead of inventing. *Exchange*: a question people asked, with the answer they confirmed
//! or wrote. Every fourth passage that has a suitable sentence becomes notes, the others
//! continuations, by the digest of the passage's id: no text appears twice.

use answer::Language;
use base::Digest;
use engine::{ChatMessage, ChatTokenizer};

use crate::{
    Error, NO_TARGET,
    corpus::{Exchange, Passage},
};

/// Characters of a passage that a note shows.
const NOTE_CHARS: usize = 600;

/// Tokens, and for each the token to be learnt after it, or [`NO_TARGET`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Example {
    pub(crate) tokens: Vec<u32>,
    pub(crate) targets: Vec<u32>,
}

impl Example {
    /// Learns everything after the first `prompt` tokens.
    fn new(tokens: Vec<u32>, prompt: usize) -> Self {
        let mut targets: Vec<u32> = tokens.iter().skip(1).copied().chain([NO_TARGET]).collect();
        targets[..prompt.saturating_sub(1).min(tokens.len())].fill(NO_TARGET);
        Self { tokens, targets }
    }

    /// How many tokens are learnt.
    pub(crate) fn learnt(&self) -> usize {
        self.targets.iter().filter(|&&target| target != NO_TARGET).count()
    }
}

/// Makes the one example of a passage.
pub(crate) fn of_passage(tokenizer: &ChatTokenizer, passage: &Passage) -> Result<Example, Error> {
    let draw = Digest::of(passage.id.as_bytes());
    if draw.as_bytes()[0].is_multiple_of(4)
        && let Some(sentence) = sentence(&passage.text, usize::from(draw.as_bytes()[1]))
    {
        return notes(tokenizer, passage, sentence);
    }
    let mut head = vec![passage.document.as_str()];
    head.extend(passage.heading_path.iter().map(String::as_str));
    let mut tokens = tokenizer.encode(&format!("{}\n\n{}", head.join(" – "), passage.text.trim()));
    tokens.push(tokenizer.eos());
    Ok(Example::new(tokens, 0))
}

/// Makes the example of an exchange.
pub(crate) fn of_exchange(tokenizer: &ChatTokenizer, exchange: &Exchange) -> Result<Example, Error> {
    let prompt = answer::messages(Language::of(&exchange.question), &exchange.question, &exchange.quotes);
    conversation(tokenizer, prompt, &exchange.answer)
}

fn notes(tokenizer: &ChatTokenizer, passage: &Passage, sentence: &str) -> Result<Example, Error> {
    let [first, second] = keywords(sentence).unwrap_or([sentence, sentence]);
    let (language, question) = if passage.german {
        (Language::German, format!("Was steht in den Notizen zu {first} und {second}?"))
    } else {
        (Language::English, format!("What do the notes say about {first} and {second}?"))
    };
    let note = window(&passage.text, sentence);
    conversation(tokenizer, answer::messages(language, &question, &[note]), sentence)
}

fn conversation(tokenizer: &ChatTokenizer, mut messages: Vec<ChatMessage>, answer: &str) -> Result<Example, Error> {
    let prompt = tokenizer.encode_chat(&messages, true)?;
    messages.push(ChatMessage::assistant(answer));
    let whole = tokenizer.encode_chat(&messages, false)?;
    // A template may write a finished turn otherwise than an open one: learn from where they part.
    let shared = prompt.iter().zip(&whole).take_while(|(a, b)| a == b).count();
    Ok(Example::new(whole, shared))
}

/// One sentence of ordinary length with two telling words, chosen by `draw`.
fn sentence(text: &str, draw: usize) -> Option<&str> {
    let suitable: Vec<&str> = text
        .split_inclusive(['.', '!', '?', '\n'])
        .map(str::trim)
        .filter(|sentence| {
            let letters = sentence.chars().count();
            (30..=240).contains(&letters) && sentence.split_whitespace().count() >= 4 && keywords(sentence).is_some()
        })
        .collect();
    suitable.get(draw.checked_rem(suitable.len())?).copied()
}

/// The two longest different words, in the order they stand; each of at least six letters.
fn keywords(sentence: &str) -> Option<[&str; 2]> {
    let mut words: Vec<(usize, &str)> = sentence
        .split(|c: char| !c.is_alphanumeric() && c != '-')
        .filter(|word| word.chars().filter(|c| c.is_alphabetic()).count() >= 6)
        .enumerate()
        .collect();
    words.sort_by_key(|(_, word)| std::cmp::Reverse(word.chars().count()));
    words.dedup_by_key(|(_, word)| *word);
    words.truncate(2);
    words.sort_by_key(|(place, _)| *place);
    match words[..] {
        [(_, first), (_, second)] => Some([first, second]),
        _ => None,
    }
}

/// About [`NOTE_CHARS`] of the text that contain the sentence.
fn window(text: &str, sentence: &str) -> String {
    let at = text.find(sentence).map_or(0, |byte| text[..byte].chars().count());
    let spare = NOTE_CHARS.saturating_sub(sentence.chars().count());
    text.chars().skip(at.saturating_sub(spare / 2)).take(NOTE_CHARS).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Kurz. Die Umschaltautomatik prüft beide Einspeisungen alle zehn Sekunden. Nein! \
        Ein Wartungsvertrag verlängert die Gewährleistung auf fünf Jahre.";

    #[test]
    fn a_sentence_has_an_ordinary_length_and_two_telling_words() {
        let first = sentence(TEXT, 0).unwrap();
        assert_eq!(first, "Die Umschaltautomatik prüft beide Einspeisungen alle zehn Sekunden.");
        assert_eq!(keywords(first), Some(["Umschaltautomatik", "Einspeisungen"]));
        assert!(sentence(TEXT, 3).unwrap().starts_with("Ein Wartungsvertrag"));
        assert_eq!(sentence("1 2 3. Ja. Nein.", 5), None);
        assert_eq!(sentence("", 5), None);
    }

    #[test]
    fn a_window_holds_its_sentence() {
        let long = format!("{}{TEXT}", "Füllwort. ".repeat(200));
        let sentence = sentence(TEXT, 1).unwrap();
        let window = window(&long, sentence);
        assert!(window.contains(sentence) && window.chars().count() <= NOTE_CHARS);
    }

    #[test]
    fn only_what_follows_the_prompt_is_learnt() {
        let example = Example::new(vec![1, 2, 3, 4, 5], 3);
        assert_eq!(example.targets, [NO_TARGET, NO_TARGET, 4, 5, NO_TARGET]);
        assert_eq!(example.learnt(), 2);
        assert_eq!(Example::new(vec![1, 2, 3], 0).targets, [2, 3, NO_TARGET]);
    }
}
