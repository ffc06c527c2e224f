//! The numbers Word puts before paragraphs by itself: `4.2`, `c)`, `IV.`. They stand in no text, only in how lists and styles are set.
//!
//! ECMA-376 part 1, 17.9 (numbering) and 17.7 (styles).

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::word::{attribute, value};
use crate::xml::{Visit, local, walk};

/// Levels of a list.
pub(super) const LEVELS: usize = 9;
/// Lists and styles of one document; beyond that the file is made to be large.
const MOST: usize = 20_000;
/// How many styles a style may stand on, one on another.
const MAX_BASES: usize = 20;
/// The largest number written in letters or Roman digits; what is larger is written in decimal ones.
const MAX_LETTERED: u32 = 3_000;
/// The most characters of what a level is shown with; every paragraph of it repeats them.
const MAX_LEVEL_TEXT: usize = 64;

/// How lists and numbered styles count.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// `abstractNum`, by `abstractNumId`.
    kinds: HashMap<String, [Level; LEVELS]>,
    /// `num`, by `numId`.
    lists: HashMap<String, List>,
    /// `style`, by `styleId`.
    styles: HashMap<String, Style>,
    /// By kind and level, the number of the last paragraph; none since a level above it went on.
    counters: HashMap<String, [Option<u32>; LEVELS]>,
}

/// A level of a kind (`lvl`).
#[derive(Clone, Debug, Default)]
struct Level {
    /// 0 where the file says nothing.
    start: u32,
    /// Empty for decimal.
    format: String,
    /// With `%1` for the number of the first level.
    text: String,
    /// The style whose paragraphs are of this level.
    style: Option<String>,
    /// Whether the levels above are written in digits here.
    is_legal: bool,
    /// The level above, counted from 1, after which it starts anew, 0 for never; otherwise after any.
    restarts_after: Option<usize>,
}

/// Counts together with the others of its kind, unless it says where it starts; levels it has of its own stand for those of the kind.
#[derive(Clone, Debug, Default)]
struct List {
    kind: String,
    starts: [Option<u32>; LEVELS],
    levels: [Option<Level>; LEVELS],
}

impl Level {
    /// Takes down what an element says of it.
    fn tell(&mut self, name: &str, inside: Option<&str>, start: &BytesStart<'_>) {
        if inside != Some("lvl") {
            return;
        }
        let told = || value(start);
        match name {
            "start" => self.start = told().and_then(|start| start.parse().ok()).unwrap_or_default(),
            "numFmt" => self.format = told().unwrap_or_default(),
            "lvlText" => self.text = told().unwrap_or_default().chars().take(MAX_LEVEL_TEXT).collect(),
            "pStyle" => self.style = told(),
            "lvlRestart" => self.restarts_after = told().and_then(|level| level.parse().ok()),
            "isLgl" => self.is_legal = told().is_none_or(|told| !matches!(&*told, "0" | "false")),
            _ => {}
        }
    }
}

impl List {
    fn level<'a>(&'a self, kind: &'a [Level; LEVELS], at: usize) -> &'a Level {
        self.levels[at].as_ref().unwrap_or(&kind[at])
    }
}

/// What a style says of the paragraphs that have it, and the style it stands on.
#[derive(Clone, Debug, Default)]
struct Style {
    list: Option<String>,
    level: Option<usize>,
    base: Option<String>,
}

/// What a paragraph says of its own number.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbered {
    pub list: Option<String>,
    pub level: Option<usize>,
    pub style: Option<String>,
}

impl Numbering {
    /// Reads the parts `numbering.xml` and `styles.xml`; what is damaged in them numbers nothing.
    pub fn read(numbering: &str, styles: &str) -> Self {
        let mut reading = Reading::default();
        let _damage = walk(numbering, &mut reading);
        let _damage = walk(styles, &mut reading);
        reading.numbering
    }

    /// Counts a paragraph and returns the number it is shown with.
    pub fn next(&mut self, paragraph: &Numbered) -> Option<String> {
        let (list, level) = self.place(paragraph)?;
        let list = self.lists.get_mut(&list)?;
        let kind = self.kinds.get(&list.kind)?;
        let counters = self.counters.entry(list.kind.clone()).or_default();
        // A list that says where it starts does so once.
        let start = list.starts[level].take();
        let list = &*list;
        counters[level] = Some(match (start, counters[level]) {
            (Some(start), _) => start,
            (None, Some(before)) => before.saturating_add(1),
            (None, None) => list.level(kind, level).start,
        });
        for (below, counter) in counters.iter_mut().enumerate().skip(level + 1) {
            if list.level(kind, below).restarts_after.is_none_or(|above| level < above) {
                *counter = None;
            }
        }
        for (above, counter) in counters[..level].iter_mut().enumerate() {
            counter.get_or_insert(list.starts[above].unwrap_or(list.level(kind, above).start));
        }
        let own = list.level(kind, level);
        if matches!(own.format.as_str(), "bullet" | "none") && !own.text.contains('%') {
            return None;
        }
        let mut label = own.text.clone();
        for (at, counter) in counters[..=level].iter().enumerate() {
            let format = if own.is_legal { "decimal" } else { &list.level(kind, at).format };
            label = label.replace(&format!("%{}", at + 1), &written(counter.unwrap_or_default(), format));
        }
        let label = label.trim();
        label.contains(char::is_alphanumeric).then(|| label.to_owned())
    }

    /// The list and the level a paragraph belongs to: by its own word, or by its style's.
    fn place(&self, paragraph: &Numbered) -> Option<(String, usize)> {
        let (mut list, mut level) = (paragraph.list.clone(), paragraph.level);
        let mut of_list = None;
        let mut style = paragraph.style.clone();
        for _ in 0..MAX_BASES {
            let Some(known) = style.as_ref().and_then(|style| self.styles.get(style)) else { break };
            if list.is_none() && known.list.is_some() {
                list.clone_from(&known.list);
                of_list.clone_from(&style);
            }
            level = level.or(known.level);
            style.clone_from(&known.base);
        }
        // List 0 is none: how a paragraph leaves what its style would have it in.
        let list = list.filter(|list| list != "0")?;
        let of = self.lists.get(&list)?;
        let kind = self.kinds.get(&of.kind)?;
        let by_style = || (0..LEVELS).find(|level| of_list.is_some() && of.level(kind, *level).style == of_list);
        Some((list, level.or_else(by_style).unwrap_or(0)))
    }
}

/// A number of a level as it is shown.
fn written(number: u32, format: &str) -> String {
    let letters = |first: u8| {
        // After Z come AA, BB and so on.
        let (letter, times) = ((number - 1) % 26, (number - 1) / 26 + 1);
        char::from(first + letter as u8).to_string().repeat(times as usize)
    };
    match format {
        "bullet" | "none" => String::new(),
        "decimalZero" => format!("{number:02}"),
        "upperLetter" if (1..=MAX_LETTERED).contains(&number) => letters(b'A'),
        "lowerLetter" if (1..=MAX_LETTERED).contains(&number) => letters(b'a'),
        "upperRoman" if (1..=MAX_LETTERED).contains(&number) => roman(number),
        "lowerRoman" if (1..=MAX_LETTERED).contains(&number) => roman(number).to_lowercase(),
        _ => number.to_string(),
    }
}

fn roman(mut number: u32) -> String {
    const DIGITS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut out = String::new();
    for (value, digit) in DIGITS {
        while number >= value {
            out.push_str(digit);
            number -= value;
        }
    }
    out
}

#[derive(Default)]
struct Reading {
    numbering: Numbering,
    open: Vec<String>,
    kind: Option<String>,
    list: Option<String>,
    style: Option<String>,
    level: usize,
}

impl Visit for Reading {
    fn open(&mut self, start: &BytesStart<'_>, _at: usize) {
        let name = local(start).to_owned();
        let id = |key| attribute(start, key);
        match name.as_str() {
            "abstractNum" => {
                self.kind = id("abstractNumId").filter(|_| self.numbering.kinds.len() < MOST);
                if let Some(kind) = &self.kind {
                    self.numbering.kinds.insert(kind.clone(), Default::default());
                }
            }
            "num" => {
                self.list = id("numId").filter(|_| self.numbering.lists.len() < MOST);
                if let Some(list) = &self.list {
                    self.numbering.lists.insert(list.clone(), List::default());
                }
            }
            "style" => {
                self.style = id("styleId").filter(|_| self.numbering.styles.len() < MOST);
                if let Some(style) = &self.style {
                    self.numbering.styles.insert(style.clone(), Style::default());
                }
            }
            "lvl" | "lvlOverride" => {
                self.level = id("ilvl").and_then(|level| level.parse().ok()).unwrap_or(LEVELS);
            }
            _ => self.tell(&name, start),
        }
        self.open.push(name);
    }

    fn text(&mut self, _text: &str) {}

    fn close(&mut self, _at: usize) {
        match self.open.pop().as_deref() {
            Some("abstractNum") => self.kind = None,
            Some("num") => self.list = None,
            Some("style") => self.style = None,
            _ => {}
        }
    }
}

impl Reading {
    /// Takes down what an element says of the kind, list or style it stands in.
    fn tell(&mut self, name: &str, start: &BytesStart<'_>) {
        let Self { numbering, open, kind, list, style, level } = self;
        let told = || value(start);
        let inside = open.last().map(String::as_str);
        if let Some(of) = kind.as_ref().and_then(|kind| numbering.kinds.get_mut(kind)).and_then(|of| of.get_mut(*level))
        {
            of.tell(name, inside, start);
        } else if let Some(of) = list.as_ref().and_then(|list| numbering.lists.get_mut(list)) {
            match (name, inside) {
                ("abstractNumId", Some("num")) => of.kind = told().unwrap_or_default(),
                ("startOverride", Some("lvlOverride")) => {
                    if let Some(start) = of.starts.get_mut(*level) {
                        *start = told().and_then(|start| start.parse().ok());
                    }
                }
                (_, Some("lvl")) => {
                    if let Some(of) = of.levels.get_mut(*level) {
                        of.get_or_insert_default().tell(name, inside, start);
                    }
                }
                _ => {}
            }
        } else if let Some(of) = style.as_ref().and_then(|style| numbering.styles.get_mut(style)) {
            match (name, inside) {
                ("basedOn", Some("style")) => of.base = told(),
                ("numId", Some("numPr")) => of.list = told(),
                ("ilvl", Some("numPr")) => {
                    of.level = told().and_then(|level| level.parse().ok()).filter(|at| *at < LEVELS)
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(at: usize, format: &str, text: &str, more: &str) -> String {
        format!(
            "<w:lvl w:ilvl='{at}'><w:start w:val='1'/><w:numFmt w:val='{format}'/><w:lvlText w:val='{text}'/>{more}</w:lvl>"
        )
    }

    fn numbering() -> Numbering {
        let headings = level(0, "decimal", "%1", "<w:pStyle w:val='H1'/>")
            + &level(1, "decimal", "%1.%2", "<w:pStyle w:val='H2'/>")
            + &level(2, "lowerLetter", "%3)", "");
        let lists = level(0, "upperRoman", "%1.", "")
            + &level(1, "decimal", "%1.%2", "<w:isLgl/>")
            + &level(2, "bullet", "•", "");
        let parts = format!(
            "<w:numbering><w:abstractNum w:abstractNumId='0'>{headings}</w:abstractNum><w:abstractNum w:abstractNumId='1'>{lists}</w:abstractNum>\
             <w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num><w:num w:numId='2'><w:abstractNumId w:val='1'/></w:num>\
             <w:num w:numId='3'><w:abstractNumId w:val='1'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='4'/></w:lvlOverride></w:num></w:numbering>"
        );
        let styles = "<w:styles><w:style w:styleId='H1'><w:pPr><w:numPr><w:numId w:val='1'/></w:numPr></w:pPr></w:style>\
                      <w:style w:styleId='H2'><w:basedOn w:val='H1'/><w:pPr><w:numPr><w:ilvl w:val='1'/></w:numPr></w:pPr></w:style>\
                      <w:style w:styleId='H2a'><w:basedOn w:val='H2'/></w:style>\
                      <w:style w:styleId='round'><w:basedOn w:val='round'/></w:style></w:styles>";
        Numbering::read(&parts, styles)
    }

    fn styled(style: &str) -> Numbered {
        Numbered { style: Some(style.to_owned()), ..Numbered::default() }
    }

    fn listed(list: &str, level: usize) -> Numbered {
        Numbered { list: Some(list.to_owned()), level: Some(level), style: None }
    }

    #[test]
    fn headings_count_by_their_styles() {
        let mut numbering = numbering();
        let mut next = |paragraph: Numbered| numbering.next(&paragraph);
        for (paragraph, expect) in [
            (styled("H1"), Some("1")),
            (styled("H2"), Some("1.1")),
            (styled("H2a"), Some("1.2")),
            (listed("1", 2), Some("a)")),
            (listed("1", 2), Some("b)")),
            (styled("H1"), Some("2")),
            (Numbered { list: Some("0".to_owned()), ..styled("H1") }, None),
            (styled("H2"), Some("2.1")),
            (listed("1", 2), Some("a)")),
            (styled("round"), None),
            (styled("unknown"), None),
            (listed("99", 0), None),
        ] {
            assert_eq!(next(paragraph.clone()).as_deref(), expect, "{paragraph:?}");
        }
    }

    #[test]
    fn lists_of_a_kind_go_on_unless_they_start_anew() {
        let mut numbering = numbering();
        let mut next = |list, level| numbering.next(&listed(list, level));
        assert_eq!(next("2", 1).as_deref(), Some("1.1"));
        assert_eq!(next("2", 0).as_deref(), Some("II."));
        assert_eq!(next("2", 2), None);
        assert_eq!(next("3", 0).as_deref(), Some("IV."));
        assert_eq!(next("3", 0).as_deref(), Some("V."));
        assert_eq!(next("3", 1).as_deref(), Some("5.1"));
    }

    #[test]
    fn levels_restart_where_they_say_and_lists_may_have_their_own() {
        let parts = format!(
            "<w:numbering><w:abstractNum w:abstractNumId='0'><w:lvl w:ilvl='0'><w:numFmt w:val='decimalZero'/><w:lvlText w:val='%1'/></w:lvl>{}{}{}</w:abstractNum>\
             <w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num>\
             <w:num w:numId='2'><w:abstractNumId w:val='0'/><w:lvlOverride w:ilvl='0'>{}</w:lvlOverride></w:num></w:numbering>",
            level(1, "lowerLetter", "%1.%2", ""),
            level(2, "upperRoman", "%1.%2.%3", "<w:lvlRestart w:val='1'/>"),
            level(3, "none", "%1:", ""),
            level(0, "upperLetter", "%1", ""),
        );
        let mut numbering = Numbering::read(&parts, "");
        let mut next = |list, level| numbering.next(&listed(list, level)).unwrap_or_default();
        let shown =
            [("1", 0), ("1", 1), ("1", 2), ("1", 1), ("1", 2), ("1", 3), ("2", 0), ("2", 0), ("1", 0), ("1", 2)]
                .map(|(list, level)| next(list, level));
        assert_eq!(shown, ["00", "00.a", "00.a.I", "00.b", "00.b.II", "00:", "A", "B", "03", "03.a.I"]);
    }

    #[test]
    fn what_a_level_is_shown_with_is_bounded() {
        let parts = format!(
            "<w:numbering><w:abstractNum w:abstractNumId='0'>{}</w:abstractNum><w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:numbering>",
            level(0, "decimal", &"a".repeat(1 << 20), "")
        );
        assert_eq!(Numbering::read(&parts, "").next(&listed("1", 0)).unwrap().len(), MAX_LEVEL_TEXT);
    }

    #[test]
    fn numbers_are_written_as_word_does() {
        for (number, format, expect) in [
            (27, "upperLetter", "AA"),
            (26, "lowerLetter", "z"),
            (1994, "upperRoman", "MCMXCIV"),
            (4, "lowerRoman", "iv"),
            (7, "decimalZero", "07"),
            (0, "lowerLetter", "0"),
            (u32::MAX, "upperRoman", "4294967295"),
        ] {
            assert_eq!(written(number, format), expect);
        }
    }
}
