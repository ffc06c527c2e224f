//! The gate between a model's bytes and the reader: whole characters only, and nothing at or after a stop text.

/// Holds back bytes that are not yet a character, and text that may turn out to begin a stop text.
pub(super) struct Gate {
    stops: Vec<String>,
    bytes: Vec<u8>,
    held: String,
}

impl Gate {
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            bytes: Vec::new(),
            held: String::new(),
        }
    }

    /// Takes a token's bytes. Returns the text that may go out now, and whether a stop text ended the answer.
    pub fn push(&mut self, bytes: &[u8]) -> (String, bool) {
        self.bytes.extend_from_slice(bytes);
        self.take_characters(false);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = (0..=self.held.len())
            .find(|at| {
                self.held.is_char_boundary(*at) && self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..]))
            })
            .filter(|at| *at < self.held.len())
            .unwrap_or(self.held.len());
        let rest = self.held.split_off(kept);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// Returns what was held back, when the answer ends by itself.
    pub fn finish(&mut self) -> String {
        self.take_characters(true);
        std::mem::take(&mut self.held)
    }

    /// Moves whole characters from `bytes` to `held`. Bytes that can never become one are shown as U+FFFD; at the end, so are
    /// those that have not.
    fn take_characters(&mut self, ended: bool) {
        loop {
            let (valid, bad) = match std::str::from_utf8(&self.bytes) {
                Ok(text) => (text.len(), None),
                Err(error) => (error.valid_up_to(), Some(error.error_len())),
            };
            self.held.push_str(&String::from_utf8_lossy(&self.bytes[..valid]));
            let skipped = match bad {
                None => 0,
                Some(Some(length)) => length,
                Some(None) if ended => self.bytes.len() - valid,
                Some(None) => {
                    self.bytes.drain(..valid);
                    return;
                }
            };
            if skipped > 0 {
                self.held.push('\u{fffd}');
            }
            self.bytes.drain(..valid + skipped);
            if self.bytes.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `tokens` and returns what went out after each, and at the end; `|` stands where a stop text ended it.
    fn check(stops: &[&str], tokens: &[&[u8]], expect: &[&str]) {
        let mut gate = Gate::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut out = Vec::new();
        for token in tokens {
            let (text, stopped) = gate.push(token);
            out.push(if stopped { text + "|" } else { text });
        }
        out.push(gate.finish());
        assert_eq!(out, expect);
    }

    #[test]
    fn characters_go_out_whole() {
        check(&[], &[b"Gr\xc3", b"\xb6\xc3\x9f", b"e"], &["Gr", "öß", "e", ""]);
        check(&[], &[b"\xf0\x9f", b"\x98", b"\x80!"], &["", "", "😀!", ""]);
    }

    #[test]
    fn bytes_that_are_no_character_are_marked() {
        check(&[], &[b"a\xffb", b"\xc3"], &["a\u{fffd}b", "", "\u{fffd}"]);
    }

    #[test]
    fn a_stop_text_and_what_follows_never_go_out() {
        check(&["END"], &[b"one E", b"N", b"D two"], &["one ", "", "|", ""]);
        check(&["END"], &[b"one E", b"N", b"GLAND"], &["one ", "", "ENGLAND", ""]);
        check(&["\n\n", "##"], &[b"a\n", b"b#", b"#c"], &["a", "\nb", "|", ""]);
        check(&["ß"], &[b"Gru\xc3", b"\x9f dich"], &["Gru", "|", ""]);
        check(&["END"], &[b"ends with EN"], &["ends with ", "EN"]);
    }

    #[test]
    fn an_empty_stop_text_stops_nothing() {
        check(&[""], &[b"a"], &["a", ""]);
    }
}
