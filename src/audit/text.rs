//! Texts from outside, on their way into a record.

/// Returns at most `characters_max` characters of `text`, with everything a terminal or a table would obey, or that changes the
/// order of what is read, written out as `\u{…}`.
pub(crate) fn plain(text: &str, characters_max: usize) -> String {
    let mut out = String::new();
    let mut characters = text.trim().chars();
    for character in characters.by_ref().take(characters_max) {
        if is_obeyed(character) { out.extend(character.escape_unicode()) } else { out.push(character) }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

/// Control characters, the line and paragraph separators, and the marks of writing direction.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out_and_length_has_an_end() {
        assert_eq!(plain(" Größe 2,5 mm² ", 40), "Größe 2,5 mm²");
        assert_eq!(plain("a\u{1b}[2Jb\nc", 40), "a\\u{1b}[2Jb\\u{a}c");
        assert_eq!(plain("gpj.\u{202e}exe", 40), "gpj.\\u{202e}exe");
        assert_eq!(plain("abcdef", 3), "abc…");
    }
}
