use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::json;

use crate::failure::{Failure, Outcome};

/// Writes to the terminal: results to standard output, everything else to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    pub json: bool,
    color_out: bool,
    color_err: bool,
}

impl Printer {
    /// Colours are used on a terminal only, and never with `NO_COLOR`.
    pub fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let color_out = wanted && io::stdout().is_terminal();
        let color_err = wanted && io::stderr().is_terminal();
        Self { json, color_out, color_err }
    }

    /// Prints one line of a result.
    pub fn line(&self, text: impl AsRef<str>) {
        // A reader that went away (`| head`) is no error of ours.
        let _ = writeln!(io::stdout().lock(), "{}", text.as_ref());
    }

    /// Prints a value as one JSON document on one line.
    pub fn value(&self, value: &impl Serialize) -> Outcome {
        let text =
            serde_json::to_string(value).map_err(|error| Failure::from_error("cannot write the result", &error))?;
        self.line(text);
        Ok(())
    }

    /// Says something beside the result.
    pub fn note(&self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// Returns `text` emphasised, where the terminal can.
    pub fn bold(&self, text: &str) -> String {
        self.paint(text, "1")
    }

    /// Returns `text` toned down, where the terminal can.
    pub fn dim(&self, text: &str) -> String {
        self.paint(text, "2")
    }

    /// Returns `text` in green, where the terminal can.
    pub fn good(&self, text: &str) -> String {
        self.paint(text, "32")
    }

    /// Returns `text` in yellow, where the terminal can.
    pub fn warn(&self, text: &str) -> String {
        self.paint(text, "33")
    }

    /// Returns `text` in red, where the terminal can.
    pub fn bad(&self, text: &str) -> String {
        self.paint(text, "31")
    }

    /// Shows `text` in place of what was shown before; one after the other where there is no terminal to redraw.
    pub fn redraw(&self, text: &str) {
        let start = if io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        let mut out = io::stdout().lock();
        // A reader that went away (`| head`) is no error of ours.
        let _ = out.write_all(format!("{start}{text}").as_bytes());
        let _ = out.flush();
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.color_out { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Shows a failure: the act, its causes, the cure.
    pub fn failure(&self, failure: &Failure) {
        if failure.chain().is_empty() {
            return;
        }
        if self.json {
            let (first, causes) =
                failure.chain().split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
            let remedy = failure.remedy.as_ref().map(|remedy| remedy.0.as_str());
            let value = json!({"error": first, "caused_by": causes, "remedy": remedy, "exit": failure.exit.code()});
            self.line(value.to_string());
            return;
        }
        let mut text = String::new();
        for (depth, cause) in failure.chain().iter().enumerate() {
            let label = if depth == 0 { "error" } else { "  caused by" };
            let label =
                if self.color_err && depth == 0 { format!("\x1b[1;31m{label}\x1b[0m") } else { label.to_owned() };
            text.push_str(&format!("{label}: {}\n", cause.replace('\n', "\n    ")));
        }
        if let Some(remedy) = &failure.remedy {
            let label = if self.color_err { "\x1b[1mremedy\x1b[0m" } else { "remedy" };
            text.push_str(&format!("  {label}: {remedy}\n"));
        }
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Returns a text from a document or a file's name without anything a terminal would obey: control characters are written out.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => out.push(' '),
            character if character.is_control() => out.extend(character.escape_default()),
            character => out.push(character),
        }
    }
    out
}

/// Returns bytes as people read them: `71.6 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Returns seconds as people read them: `45 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(shown("evil\u{1b}[2J\nname, page\t1"), "evil\\u{1b}[2J name, page 1");
        assert_eq!(shown("Größe 2,5 mm²"), "Größe 2,5 mm²");
    }

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!([bytes(0), bytes(999), bytes(71_622_400), bytes(999_960)], ["0 B", "999 B", "71.6 MB", "1.0 MB"]);
        assert_eq!([duration(59), duration(200), duration(7500)], ["59 s", "3 min 20 s", "2 h 5 min"]);
    }
}
