//! The door: detects the format, calls its reader, and finishes what every document needs.

use base::Place;
use unicode_normalization::{UnicodeNormalization, is_nfc_quick};

use crate::detect::{Kind, TextKind, detect, detect_text, extension};
use crate::error::Error;
use crate::format::{Block, BlockKind, Document, Limits, Outcome};
use crate::language::LanguageDetector;
use crate::{archive, catalog, delimited, encoding, invoice, json, mail, markdown, office, pdf, sheet, text, xml};

/// Invoices kept as data of one file.
const MAX_INVOICES: usize = 1_000;

/// Said once, at the outermost archive, however deep the reason lies.
const NOTHING_INSIDE: &str = "no member could be read: ";

/// Readers of nested formats recurse a little; those of the extractors we use, sometimes a lot.
const STACK_BYTES: usize = 64 << 20;

/// Reads a file's bytes. `name` (its path or file name) only helps where the content leaves the format open.
///
/// Runs in this process: a file that exhausts memory or the stack takes the process with it. Use
/// [`worker::Pool`](crate::worker::Pool) for files of unknown origin.
///
/// # Errors
///
/// [`Error::Encrypted`], [`Error::TooLarge`], [`Error::Unsupported`], and [`Error::Unreadable`] for damage, a reader's panic
/// included.
pub fn read(bytes: &[u8], name: &str, limits: &Limits) -> Result<Outcome, Error> {
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(Error::TooLarge { what: "the file".to_owned(), limit_bytes: limits.max_file_bytes });
    }
    // A thread of its own gives a known stack, a place for the extractors' runtime, and a wall for their panics.
    let outcome = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("extract".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || Reading::new(limits).read(bytes, name))
            .map_err(|error| Error::NoWorker { reason: format!("no thread: {error}") })?;
        thread.join().unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
    })?;
    Ok(match outcome {
        Outcome::Text(document) => finish(document, limits),
        empty => empty,
    })
}

/// Reads a file too large to hold, where it is one of the formats that are read piece by piece.
///
/// # Errors
///
/// [`Error::TooLarge`] for every other format, and those of [`read`].
pub(crate) fn read_large(source: impl std::io::Read, size: u64, limits: &Limits) -> Result<Outcome, Error> {
    let (format, source) = catalog::sniff_stream(source)?;
    let Some(format) = format else {
        return Err(Error::TooLarge { what: format!("the file ({size} bytes)"), limit_bytes: limits.max_file_bytes });
    };
    catalog::read(source, format, limits).map(|document| finish(document, limits))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown");
    let message: String = message.chars().take(200).collect();
    Error::unreadable(format!("its reader failed: {message}"))
}

/// One file being read, with what its parts may still cost.
pub(crate) struct Reading<'a> {
    pub limits: &'a Limits,
    depth: u32,
    parts_left: u32,
    pub unpacked_left: u64,
}

impl<'a> Reading<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self { limits, depth: 0, parts_left: limits.max_parts, unpacked_left: limits.max_unpacked_bytes }
    }

    /// Reads one file or part; blocks may be empty of text here, [`finish`] and [`Self::part`] look at that.
    pub(crate) fn read(&mut self, bytes: &[u8], name: &str) -> Result<Outcome, Error> {
        if bytes.is_empty() {
            return Ok(empty(&extension(name), "the file is empty (0 bytes)"));
        }
        let kind = detect(bytes, name);
        let document = match &kind {
            Kind::Text => self.text(bytes, name)?,
            Kind::Zip => archive::zip(self, bytes)?,
            Kind::Tar => archive::tar(self, bytes)?,
            Kind::Gzip => archive::gzip(self, bytes, name)?,
            Kind::Sheet(format) => match sheet::read(bytes, format) {
                Err(Error::Unreadable { reason }) => self.second_opinion(bytes, format, name, reason)?,
                other => other?,
            },
            Kind::Office("pdf", media_type) => self.pdf(bytes, media_type)?,
            Kind::Office(format, media_type) => office::read(bytes, format, media_type, self.limits)?,
            Kind::Image(format) => {
                let reason = format!("a {format} image: text recognition (OCR) is not installed");
                return Ok(empty("image", &reason));
            }
            Kind::Encrypted => return Err(Error::Encrypted),
            Kind::Unsupported(format) => return Err(Error::unsupported(format.clone())),
        };
        if document.blocks.iter().all(Block::is_blank) {
            if document.format == "pdf" && !has_pdf_end(bytes) {
                return Err(Error::unreadable(
                    "it is cut short: the end mark of a PDF is missing, and no page has text",
                ));
            }
            let reason = match document.format.as_str() {
                "pdf" => "no text layer: its pages are images (a scan) or drawings, and text recognition (OCR) is not installed".to_owned(),
                "zip" | "tar" | "gz" | "7z" if !document.warnings.is_empty() => {
                    format!("{NOTHING_INSIDE}{}", document.warnings.join("; "))
                }
                "zip" | "tar" | "gz" | "7z" => "the archive has no members with text".to_owned(),
                "xlsx" | "xls" | "xlsb" | "ods" => "no sheet has a filled cell".to_owned(),
                _ => "the document holds no text".to_owned(),
            };
            return Ok(empty(&document.format, &reason));
        }
        Ok(Outcome::Text(document))
    }

    fn text(&mut self, bytes: &[u8], name: &str) -> Result<Document, Error> {
        let declared = declared_encoding(bytes);
        let decoded = encoding::decode(bytes, declared.as_deref());
        let content = decoded.text.as_str();
        let mut document = match detect_text(content, name) {
            TextKind::Plain => {
                let mut document = text::read(content, plain_format(&extension(name)));
                // Records read as running text: whoever has a handler for them does better.
                if self.depth == 0
                    && let Some(kind) = crate::handler::of_text(bytes, name)
                    && let Ok(kind) = serde_json::to_string(&kind)
                {
                    document.metadata.insert(crate::handler::KIND_KEY.to_owned(), kind);
                }
                document
            }
            TextKind::Markdown => markdown::read(content),
            TextKind::Html => match office::read(content.as_bytes(), "html", "text/html", self.limits) {
                Ok(document) => document,
                Err(error) => {
                    let mut document = text::read(content, "html");
                    document.warnings.push(format!("read as plain text because the HTML is damaged: {error}"));
                    document
                }
            },
            TextKind::Xml => xml::read(content, "xml")?,
            TextKind::Catalog(format) => self.catalog(content, format)?,
            TextKind::Invoice => match invoice::read(content, bytes) {
                Some(document) => document,
                None => {
                    let mut document = xml::read(content, "xml")?;
                    document.invoices.push(invoice::unreadable(content));
                    document
                }
            },
            TextKind::Delimited => {
                let decimal_comma =
                    decoded.encoding != "UTF-8" || LanguageDetector::new().detect(&head(content)) == Some("de");
                let format = if extension(name) == "tsv" { "tsv" } else { "csv" };
                delimited::read(content, format, decimal_comma)?
            }
            TextKind::Json => json::read(content).unwrap_or_else(|| text::read(content, "json")),
            // Mail has encodings of its own in every part: it wants the bytes.
            TextKind::Mail => mail::read(self, mail_bytes(bytes, &decoded))?,
            TextKind::Mbox => mail::read_mbox(self, mail_bytes(bytes, &decoded))?,
            TextKind::Markup(format, media_type) => office::read(content.as_bytes(), format, media_type, self.limits)
                .unwrap_or_else(|_| text::read(content, format)),
        };
        document.metadata.insert("encoding".to_owned(), decoded.encoding.to_owned());
        Ok(document)
    }

    /// A PDF; where an invoice is attached to it, that comes first and the pages after it, then what else is attached.
    fn pdf(&mut self, bytes: &[u8], media_type: &str) -> Result<Document, Error> {
        let embedded = invoice::embedded(bytes);
        let pages = match pdf::read(bytes) {
            Ok(Some(mut document)) => {
                let is_invoice = |name: &str| embedded.as_ref().is_some_and(|invoice| invoice.name == name);
                for (name, content) in invoice::attachments(bytes, self.unpacked_left) {
                    self.unpacked_left = self.unpacked_left.saturating_sub(content.len() as u64);
                    if !is_invoice(&name) {
                        self.part(&mut document, &content, &name);
                    }
                }
                Ok(document)
            }
            Ok(None) => office::read(bytes, "pdf", media_type, self.limits),
            Err(error) => Err(error),
        };
        let Some(embedded) = embedded else { return pages };
        let mut document = invoice::read_embedded(&embedded);
        match pages {
            Ok(pages) => {
                // The general extractor reads the attachment once more, as XML of no particular kind.
                let is_attachment =
                    |block: &Block| block.place.part.as_deref().is_some_and(|part| part.starts_with(&embedded.name));
                document.blocks.extend(pages.blocks.into_iter().filter(|block| !is_attachment(block)));
                document.invoices.extend(pages.invoices);
                document.warnings.extend(pages.warnings);
                document.metadata.extend(pages.metadata);
            }
            Err(error) => document.warnings.push(format!("the pages around the invoice cannot be read: {error}")),
        }
        Ok(document)
    }

    /// A catalogue so damaged that not one product can be had is still text.
    fn catalog(&self, content: &str, format: catalog::CatalogFormat) -> Result<Document, Error> {
        match (catalog::read(content.as_bytes(), format, self.limits), format) {
            (Err(error @ Error::Unreadable { .. }), catalog::CatalogFormat::Bmecat) => {
                let mut document = xml::read(content, "xml")?;
                document.warnings.push(format!("read as plain XML, because the catalogue is damaged: {error}"));
                Ok(document)
            }
            (Err(Error::Unreadable { .. }), catalog::CatalogFormat::EtimXchange) => {
                Ok(json::read(content).unwrap_or_else(|| text::read(content, "json")))
            }
            (result, _) => result,
        }
    }

    /// A workbook one reader refuses may still open in the other.
    fn second_opinion(
        &mut self,
        bytes: &[u8],
        format: &'static str,
        name: &str,
        reason: String,
    ) -> Result<Document, Error> {
        let media_type = match format {
            "xls" => "application/vnd.ms-excel",
            "ods" => "application/vnd.oasis.opendocument.spreadsheet",
            _ => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        };
        match office::read(bytes, format, media_type, self.limits) {
            Ok(document) if document.blocks.iter().any(|block| !block.is_blank()) => Ok(document),
            Err(Error::Encrypted) => Err(Error::Encrypted),
            _ => {
                tracing::debug!(file = name, "no reader opens the workbook");
                Err(Error::Unreadable { reason })
            }
        }
    }

    /// Begins a part; `false` when the file has had as many, or as deep ones, as it may.
    pub(crate) fn enter(&mut self) -> bool {
        if self.depth >= self.limits.max_depth || self.parts_left == 0 {
            return false;
        }
        self.parts_left -= 1;
        self.depth += 1;
        true
    }

    /// Ends the part begun last.
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Reads a document inside `parent` and appends its blocks under a heading of its name. What cannot be read becomes a
    /// warning; it never stops the rest.
    pub(crate) fn part(&mut self, parent: &mut Document, bytes: &[u8], name: &str) {
        if !self.enter() {
            let warning = format!(
                "{name}: not opened, the limit of {} parts and {} levels is reached",
                self.limits.max_parts, self.limits.max_depth
            );
            // One such line is news, a thousand are noise.
            if !parent.warnings.last().is_some_and(|last| last.ends_with("levels is reached")) {
                parent.warnings.push(warning);
            }
            return;
        }
        let outcome = self.read(bytes, name);
        self.leave();
        match outcome {
            Ok(Outcome::Text(document)) => append(parent, document, name),
            Ok(Outcome::Empty { reason, .. }) => {
                let reason = reason.strip_prefix(NOTHING_INSIDE).unwrap_or(&reason);
                parent.warnings.push(format!("{name}: {reason}"));
            }
            Err(error) => parent.warnings.push(format!("{name}: {error}")),
        }
    }
}

/// Appends a part's blocks: one heading level deeper, each place naming the part.
pub(crate) fn append(parent: &mut Document, part: Document, name: &str) {
    let place = Place { part: Some(name.to_owned()), ..Place::default() };
    parent.blocks.push(Block::new(BlockKind::Heading(1), name, place));
    for mut block in part.blocks {
        if let BlockKind::Heading(level) = &mut block.kind {
            *level = level.saturating_add(1);
        }
        block.place.part = Some(match block.place.part.take() {
            Some(inner) => format!("{name}/{inner}"),
            None => name.to_owned(),
        });
        parent.blocks.push(block);
    }
    // An archive may hold more invoices than anybody asks for; that they are there is said by their blocks.
    let room = MAX_INVOICES.saturating_sub(parent.invoices.len());
    for mut invoice in part.invoices.into_iter().take(room) {
        invoice.part = Some(match invoice.part.take() {
            Some(inner) => format!("{name}/{inner}"),
            None => name.to_owned(),
        });
        parent.invoices.push(invoice);
    }
    parent.warnings.extend(part.warnings.into_iter().map(|warning| format!("{name}: {warning}")));
}

/// Whether the mark that ends every PDF stands near the end, where readers look for it.
fn has_pdf_end(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(4096)..];
    tail.windows(5).any(|window| window == b"%%EOF")
}

pub(crate) fn empty(format: &str, reason: &str) -> Outcome {
    Outcome::Empty { format: format.to_owned(), reason: reason.chars().take(300).collect() }
}

fn plain_format(extension: &str) -> &str {
    match extension {
        "log" | "yaml" | "yml" | "ini" | "toml" | "ics" | "vcf" | "vcs" | "dxf" | "mif" | "sql" => extension,
        _ => "txt",
    }
}

/// Mail in UTF-16 has to become ASCII-compatible before its structure can be read.
fn mail_bytes<'b>(bytes: &'b [u8], decoded: &'b encoding::Decoded) -> &'b [u8] {
    if decoded.encoding.starts_with("UTF-16") || decoded.encoding.starts_with("UTF-32") {
        decoded.text.as_bytes()
    } else {
        bytes
    }
}

/// The encoding an XML declaration or an HTML head names.
pub(crate) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(2048)]).to_lowercase();
    if !head.trim_start().starts_with('<') {
        return None;
    }
    ["encoding=", "charset="].into_iter().find_map(|key| {
        let rest = head[head.find(key)? + key.len()..].trim_start_matches(['"', '\'', ' ']);
        let label: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
        (!label.is_empty()).then_some(label)
    })
}

fn head(text: &str) -> String {
    text.chars().take(20_000).collect()
}

/// What every document gets at the end: clean text, a bounded size, a title and a language.
pub fn finish(mut document: Document, limits: &Limits) -> Outcome {
    let mut left = limits.max_text_bytes as usize;
    let mut cut = false;
    document.blocks.retain_mut(|block| {
        clean_block(block);
        if block.is_blank() {
            return false;
        }
        let bytes = block.text_bytes();
        if bytes > left {
            cut = true;
            shorten(block, left);
        }
        left = left.saturating_sub(bytes);
        !block.is_blank()
    });
    if cut {
        let warning = format!("only the first {} bytes of its text were kept", limits.max_text_bytes);
        document.warnings.push(warning);
    }
    if document.blocks.is_empty() {
        return empty(&document.format, "the document holds no text");
    }
    document.title = document
        .title
        .map(|title| crate::table::one_line(&title))
        .filter(|title| !title.is_empty())
        .or_else(|| {
            let heading = document
                .blocks
                .iter()
                .find(|block| matches!(block.kind, BlockKind::Heading(_)) && block.place.sheet.is_none());
            heading.map(|block| crate::table::one_line(&block.text))
        })
        .map(|title| title.chars().take(300).collect());
    let mut sample = String::new();
    for block in &document.blocks {
        if let BlockKind::Table { rows, .. } = &block.kind {
            for cell in rows.iter().take(50).flatten() {
                sample.push_str(cell);
                sample.push(' ');
            }
        } else {
            sample.extend(block.text.chars().take(5_000));
            sample.push('\n');
        }
        if sample.len() > 20_000 {
            break;
        }
    }
    document.language = LanguageDetector::new().detect(&head(&sample)).map(str::to_owned);
    Outcome::Text(document)
}

fn clean_block(block: &mut Block) {
    clean(&mut block.text);
    if let BlockKind::Table { header, rows } = &mut block.kind {
        header.iter_mut().chain(rows.iter_mut().flatten()).for_each(clean);
    }
}

/// Composes accents, and drops soft hyphens, byte order marks and control characters: none of them can be seen, and each
/// breaks a search for the word it stands in.
fn clean(text: &mut String) {
    let dirty =
        |c: char| c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{ad}' | '\u{feff}' | '\u{200b}');
    if text.contains(dirty) {
        *text = text.replace("\r\n", "\n").chars().filter(|c| !dirty(*c)).collect();
    }
    if is_nfc_quick(text.chars()) != unicode_normalization::IsNormalized::Yes {
        *text = text.nfc().collect();
    }
}

fn shorten(block: &mut Block, bytes: usize) {
    if let BlockKind::Table { rows, .. } = &mut block.kind {
        let mut left = bytes;
        let keep = rows
            .iter()
            .take_while(|row| {
                let size: usize = row.iter().map(String::len).sum();
                let fits = size <= left;
                left = left.saturating_sub(size);
                fits
            })
            .count();
        let gone = u32::try_from(rows.len() - keep).unwrap_or(u32::MAX);
        rows.truncate(keep);
        block.place.row_last = block.place.row_last.map(|last| last.saturating_sub(gone));
    } else {
        let mut end = bytes.min(block.text.len());
        while !block.text.is_char_boundary(end) {
            end -= 1;
        }
        block.text.truncate(end);
    }
}

#[cfg(test)]
mod tests;
