//! A line as words: what the recognisers look at.

/// One word and its place in the line, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub text: &'a str,
    pub start: usize,
    pub end: usize,
}

impl Word<'_> {
    /// Returns the word in lower case, letters and digits only: `Artikel-Nr` is `artikelnr`.
    pub fn plain(&self) -> String {
        self.text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    }

    pub fn digits(&self) -> usize {
        self.text.bytes().filter(u8::is_ascii_digit).count()
    }

    pub fn is_number(&self) -> bool {
        !self.text.is_empty() && self.text.bytes().all(|byte| byte.is_ascii_digit())
    }

    pub fn is_capitalised(&self) -> bool {
        self.text.chars().next().is_some_and(char::is_uppercase)
    }
}

/// Cuts a line at white space, brackets, quotes and separators. Hyphens, slashes, points and commas stay inside a word
/// (`60947-7-1`, `2,5`, `2014/35/EU`) and go at its ends.
pub(crate) fn words(line: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = 0;
    for (at, character) in line.char_indices().chain([(line.len(), ' ')]) {
        if !is_separator(character) {
            continue;
        }
        if at > start {
            push(&mut words, line, start, at);
        }
        start = at + character.len_utf8();
    }
    words
}

fn push<'a>(words: &mut Vec<Word<'a>>, line: &'a str, start: usize, end: usize) {
    let text = &line[start..end];
    let is_edge = |c: char| matches!(c, '.' | ',' | '-' | '–' | '/' | '…');
    let left = text.trim_start_matches(is_edge);
    let start = end - left.len();
    let text = left.trim_end_matches(is_edge);
    if !text.is_empty() {
        words.push(Word { text, start, end: start + text.len() });
    }
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '(' | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '<'
                | '>'
                | '"'
                | '\''
                | '„'
                | '“'
                | '”'
                | '‚'
                | '‘'
                | '’'
                | '«'
                | '»'
                | ';'
                | ':'
                | '|'
                | '='
                | '·'
                | '•'
                | '!'
                | '?'
                | '*'
                | '#'
                | '_'
                | '`'
                | '→'
        )
}

/// Returns whether nothing but blanks (and one hyphen or slash) stands between two words.
pub(crate) fn adjoin(line: &str, left: &Word<'_>, right: &Word<'_>) -> bool {
    let gap = line.get(left.end..right.start).unwrap_or("x");
    gap.chars().all(|c| c == ' ' || c == '\u{a0}' || c == '\u{202f}') && gap.chars().count() <= 2
}

/// Returns whether only separators of a label and its value stand between two places: blanks, a colon, a column's end.
pub(crate) fn leads(line: &str, from: usize, to: usize) -> bool {
    let gap = line.get(from..to).unwrap_or("x");
    gap.len() <= 40
        && gap
            .chars()
            .all(|c| c.is_whitespace() || matches!(c, ':' | '.' | ';' | '|' | '=' | '#' | '-' | '(' | '*' | '"'))
}
