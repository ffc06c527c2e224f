use super::*;
use crate::render::plain_text;

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn block(kind: BlockKind, text: &str) -> Block {
    Block::new(kind, text, Place::default())
}

fn document(blocks: Vec<Block>) -> Document {
    Document { blocks, ..Document::default() }
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect()
}

/// What must hold for every document and every limit.
fn check(document: &Document, limits: &ChunkLimits, count: &dyn Fn(&str) -> usize) -> Vec<Chunk> {
    let chunks = chunk(document, limits, count);
    let joined: String = chunks.iter().map(|chunk| squeeze(&chunk.text)).collect();
    assert_eq!(joined, squeeze(&plain_text(document)));
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.ordinal as usize, index);
        assert!(chunk.token_count as usize <= limits.max_tokens, "{} > {}", chunk.token_count, limits.max_tokens);
        assert_eq!(chunk.token_count as usize, count(&chunk.text));
    }
    chunks
}

/// A small generator, so that the property is tried on documents nobody thought of.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn text(&mut self, max_words: u64) -> String {
        const WORDS: [&str; 14] = [
            "Klemme",
            "z. B.",
            "2.5",
            "mm²",
            "Nr.",
            "ä",
            "Ende.",
            "Ja!\n",
            "\n\n",
            "größer",
            "1.234,50",
            "日本語。",
            "x|y;",
            "Donaudampfschiff",
        ];
        (0..self.below(max_words) + 1).map(|_| WORDS[self.below(14) as usize]).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn chunks_rejoin_to_the_document_whatever_it_is() {
    for seed in 0..200 {
        let mut random = Lcg(seed);
        let blocks = (0..random.below(12))
            .map(|_| {
                let place = match random.below(4) {
                    0 => Place::page(random.below(3) as u32 + 1),
                    1 => Place::slide(random.below(2) as u32 + 1),
                    _ => Place::default(),
                };
                match random.below(6) {
                    0 => Block::new(BlockKind::Heading(random.below(4) as u8 + 1), random.text(4), place),
                    1 => Block::new(BlockKind::ListItem, random.text(20), place),
                    2 => Block::new(BlockKind::Code, random.text(60), place),
                    3 => {
                        let header = (0..random.below(4)).map(|_| random.text(2)).collect();
                        let rows = (0..random.below(8)).map(|_| (0..3).map(|_| random.text(3)).collect()).collect();
                        Block::table(header, rows, place)
                    }
                    _ => Block::new(BlockKind::Paragraph, random.text(120), place),
                }
            })
            .collect();
        let max = random.below(60) as usize + 4;
        let limits = ChunkLimits { target_tokens: max / 2 + 1, max_tokens: max };
        check(&document(blocks), &limits, &|text| text.chars().count().div_ceil(4));
    }
}

#[test]
fn headings_make_the_path_and_stay_with_their_text() {
    let long = "Ein Satz mit genau sieben Wörtern hier. ".repeat(10);
    let doc = document(vec![
        block(BlockKind::Heading(1), "Gesetz"),
        block(BlockKind::Paragraph, &long),
        block(BlockKind::Heading(2), "§ 1"),
        block(BlockKind::Paragraph, &long),
    ]);
    let chunks = check(&doc, &ChunkLimits { target_tokens: 80, max_tokens: 100 }, &words);
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[0].heading_path, ["Gesetz"]);
    assert_eq!(chunks[1].heading_path, ["Gesetz", "§ 1"]);
    assert!(chunks[1].text.starts_with("§ 1\n\nEin Satz"));
    assert_eq!(chunks[0].language.as_deref(), Some("de"));
}

#[test]
fn rows_carry_their_header_and_number() {
    let rows: Vec<Vec<String>> = (0..50).map(|i| vec![format!("WDU {i}"), format!("{i},20")]).collect();
    let doc =
        document(vec![Block::table(vec!["Artikel".into(), "Preis".into()], rows, Place::rows(Some("Preise"), 4, 53))]);
    let chunks = check(&doc, &ChunkLimits { target_tokens: 50, max_tokens: 60 }, &words);
    let last = chunks.last().unwrap();
    assert!(last.text.ends_with("Artikel: WDU 49; Preis: 49,20"), "{}", last.text);
    assert_eq!(last.place.row_last, Some(53));
    assert_eq!(last.place.sheet.as_deref(), Some("Preise"));
    assert_eq!(chunks[1].place.row_first, chunks[0].place.row_last.map(|row| row + 1));
}

#[test]
fn a_table_that_fits_a_chunk_is_not_cut() {
    let rows: Vec<Vec<String>> = (0..12).map(|i| vec![format!("WDU {i}"), format!("{i},20")]).collect();
    let text = "Ein Satz mit genau sieben Wörtern hier. ".repeat(6);
    let doc = document(vec![
        block(BlockKind::Heading(1), "Preise"),
        block(BlockKind::Paragraph, &text),
        Block::table(vec!["Artikel".into(), "Preis".into()], rows, Place::page(3)),
        block(BlockKind::Paragraph, &text),
    ]);
    let chunks = check(&doc, &ChunkLimits { target_tokens: 45, max_tokens: 80 }, &words);
    let with_rows: Vec<_> = chunks.iter().filter(|chunk| chunk.text.contains("Artikel: WDU")).collect();
    assert_eq!(with_rows.len(), 1, "{chunks:?}");
    assert!(with_rows[0].text.contains("Artikel | Preis\nArtikel: WDU 0"), "{}", with_rows[0].text);
    assert!(with_rows[0].text.contains("WDU 11"), "{}", with_rows[0].text);
}

#[test]
fn lines_are_exact_inside_a_long_paragraph() {
    let text = (1..=30).map(|i| format!("Zeile {i} ist zu Ende.")).collect::<Vec<_>>().join("\n");
    let doc = document(vec![Block::new(BlockKind::Paragraph, text, Place::lines(11, 40))]);
    let chunks = check(&doc, &ChunkLimits { target_tokens: 20, max_tokens: 30 }, &words);
    assert_eq!(chunks[0].place, Place::lines(11, 14));
    assert_eq!(chunks[1].place.line_first, Some(15));
}

#[test]
fn a_giant_line_is_cut_in_linear_time() {
    let counted = std::cell::Cell::new(0_usize);
    let count = |text: &str| {
        counted.set(counted.get() + text.len());
        text.len().div_ceil(4)
    };
    for text in ["x".repeat(400_000), "wort ".repeat(80_000)] {
        counted.set(0);
        let doc = document(vec![block(BlockKind::Paragraph, &text)]);
        let chunks = check(&doc, &ChunkLimits::default(), &count);
        assert!(chunks.len() > 200);
        // Twice for making the chunks, once more for checking them.
        assert!(counted.get() < text.len() * 6, "{} bytes counted", counted.get());
    }
}
