//! Mail: headers, the body, and attachments as parts.

use mail_parser::{Address, Message, MessageParser, MimeHeaders, PartType};

use base::Place;

use crate::error::Error;
use crate::format::{Block, BlockKind, Document};
use crate::office;
use crate::read::Reading;

/// Reads one mail. The plain body is taken where there is one, else the HTML body.
pub(crate) fn read(reading: &mut Reading<'_>, bytes: &[u8]) -> Result<Document, Error> {
    let message = MessageParser::default().parse(bytes).ok_or_else(|| Error::unreadable("no mail header"))?;
    Ok(document(reading, &message))
}

/// Reads a mailbox: every mail is a part.
pub(crate) fn read_mbox(reading: &mut Reading<'_>, bytes: &[u8]) -> Result<Document, Error> {
    let mut mailbox = Document { format: "mbox".to_owned(), ..Document::default() };
    for (index, mail) in split_mbox(bytes).into_iter().enumerate() {
        // A mail without any header still is text somebody wrote.
        match MessageParser::default().parse(mail) {
            Some(message) => {
                let subject = message.subject().unwrap_or("no subject").to_owned();
                let part = document(reading, &message);
                crate::read::append(
                    &mut mailbox,
                    part,
                    &format!("mail {}: {}", index + 1, crate::table::one_line(&subject)),
                );
            }
            None => mailbox.warnings.push(format!("mail {} cannot be read", index + 1)),
        }
    }
    Ok(mailbox)
}

/// A line that begins with `From ` at the start or after a blank line begins a mail (RFC 4155).
fn split_mbox(bytes: &[u8]) -> Vec<&[u8]> {
    let mut mails = Vec::new();
    let mut start = None;
    let mut at = 0;
    let mut after_blank = true;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if after_blank && line.starts_with(b"From ") {
            if let Some(from) = start {
                mails.push(&bytes[from..at]);
            }
            start = Some(at + line.len());
        }
        after_blank = line.iter().all(u8::is_ascii_whitespace);
        at += line.len();
    }
    if let Some(from) = start {
        mails.push(&bytes[from..]);
    }
    mails
}

fn document(reading: &mut Reading<'_>, message: &Message<'_>) -> Document {
    let mut document =
        Document { format: "eml".to_owned(), title: message.subject().map(str::to_owned), ..Document::default() };
    let mut lines = Vec::new();
    for (name, value) in [
        ("From", message.from().map(addresses)),
        ("To", message.to().map(addresses)),
        ("Cc", message.cc().map(addresses)),
        ("Subject", message.subject().map(str::to_owned)),
        ("Date", date(message)),
    ] {
        if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
            lines.push(format!("{name}: {value}"));
            document.metadata.insert(name.to_lowercase(), value);
        }
    }
    if let Some(date) = message.date() {
        document.metadata.insert("date".to_owned(), date.to_rfc3339());
    }
    let names: Vec<String> =
        message.attachments().enumerate().filter_map(|(index, part)| attachment_name(part, index)).collect();
    if !names.is_empty() {
        lines.push(format!("Attachments: {}", names.join(", ")));
    }
    document.blocks.push(Block::new(BlockKind::Paragraph, lines.join("\n"), Place::default()));

    for part in message.text_body.iter().filter_map(|id| message.part(*id)) {
        match &part.body {
            PartType::Html(html) => body_html(reading, &mut document, html),
            PartType::Text(text) => document.blocks.extend(body_text(text)),
            _ => {}
        }
    }
    // A multipart mail whose boundary never comes has no parts; its text is there all the same.
    if document.blocks.len() == 1 && message.parts.len() == 1 && message.attachments.is_empty() {
        let body = message.raw_message().get(message.root_part().offset_body as usize..).unwrap_or_default();
        document.blocks.extend(body_text(&crate::encoding::decode(body, None).text));
    }
    // Some programs send an empty plain body beside the real one.
    if document.blocks.len() == 1 {
        for part in message.html_body.iter().filter_map(|id| message.part(*id)) {
            if let PartType::Html(html) = &part.body {
                body_html(reading, &mut document, html);
            }
        }
    }
    for block in &mut document.blocks {
        block.place.part = Some("body".to_owned());
    }
    for (index, part) in message.attachments().enumerate() {
        let name = attachment_name(part, index).unwrap_or_else(|| format!("attachment {}", index + 1));
        match &part.body {
            PartType::Message(inner) => {
                if reading.enter() {
                    let inner = self::document(reading, inner);
                    reading.leave();
                    crate::read::append(&mut document, inner, &name);
                } else {
                    document.warnings.push(format!("{name}: not opened, too many parts or levels"));
                }
            }
            // The same text as the body, in its other form.
            PartType::Text(_) | PartType::Html(_) if is_body(message, part) => {}
            PartType::Multipart(_) => {}
            _ => reading.part(&mut document, part.contents(), &name),
        }
    }
    document
}

/// The date as the mail says it, with its weekday and zone.
fn date(message: &Message<'_>) -> Option<String> {
    let raw = message.header_raw("Date").map(crate::table::one_line).filter(|raw| !raw.is_empty());
    raw.or_else(|| message.date().map(mail_parser::DateTime::to_rfc3339))
}

fn is_body(message: &Message<'_>, part: &mail_parser::MessagePart<'_>) -> bool {
    message
        .text_body
        .iter()
        .chain(&message.html_body)
        .filter_map(|id| message.part(*id))
        .any(|body| std::ptr::eq(body, part))
}

fn body_text(text: &str) -> Vec<Block> {
    let mut blocks = crate::text::paragraphs(text, 1);
    for block in &mut blocks {
        // Lines of a decoded body are no lines of the file.
        block.place = Place::default();
    }
    blocks
}

fn body_html(reading: &Reading<'_>, document: &mut Document, html: &str) {
    match office::read(html.as_bytes(), "html", "text/html", reading.limits) {
        Ok(body) => document.blocks.extend(body.blocks),
        Err(error) => document.warnings.push(format!("HTML body: {error}")),
    }
}

fn attachment_name(part: &mail_parser::MessagePart<'_>, index: usize) -> Option<String> {
    if let Some(name) = part.attachment_name() {
        return Some(crate::table::one_line(name));
    }
    if let PartType::Message(message) = &part.body {
        return Some(crate::table::one_line(message.subject().unwrap_or("forwarded mail")));
    }
    let kind = part.content_type()?;
    let extension = match (kind.ctype(), kind.subtype().unwrap_or("")) {
        ("text", "calendar") => "ics",
        ("text", "html") => "html",
        ("text", "csv") => "csv",
        ("text", "xml") | ("application", "xml") => "xml",
        ("application", "pdf") => "pdf",
        ("text", _) => "txt",
        _ => return None,
    };
    Some(format!("attachment {}.{extension}", index + 1))
}

fn addresses(address: &Address<'_>) -> String {
    address
        .iter()
        .map(|one| match (one.name(), one.address()) {
            (Some(name), Some(address)) => format!("{name} <{address}>"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => String::new(),
        })
        .filter(|one| !one.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}
