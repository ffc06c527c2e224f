use std::path::Path;

use ::extract::{CatalogItem, Error, Limits, Outcome as Read, worker::Pool};
use base::Exit;
use serde_json::{Value, json};

use crate::{
    args::{ExtractArgs, ExtractAs},
    context::{Context, own_binary},
    failure::{Failure, Outcome},
    printer::Printer,
};

/// The version of the lines `--as structured` prints; each catalogue and each invoice says it once.
const FORMAT: u32 = 1;

/// Prints the text of one file (Markdown, or blocks with their places), or the data of a catalogue or an invoice.
///
/// The file is parsed in a worker process: a hostile file can end that, not this.
pub async fn run(context: &Context, args: &ExtractArgs) -> Outcome {
    let pool = Pool::new(own_binary()?, 1, Limits::default());
    let failed = |error: Error| Failure::from(error).during(reading(&args.file));
    if args.view == ExtractAs::Structured {
        match catalog(context.printer, &pool, &args.file).await {
            Err(Error::Unsupported { .. }) => {}
            result => return result.map_err(failed),
        }
    }
    let read = pool.extract(&args.file).await.map_err(failed)?;
    match read {
        Read::Text(document) if args.view == ExtractAs::Structured => {
            if document.invoices.is_empty() {
                let text =
                    format!("`{}` has no structured view: it was read as {}", args.file.display(), document.format);
                return Err(Failure::new(Exit::Usage, text).remedy("leave out `--as structured` to print its text"));
            }
            for invoice in &document.invoices {
                context.printer.value(&numbered(serde_json::to_value(invoice).unwrap_or_default()))?;
            }
            Ok(())
        }
        Read::Text(document) if context.printer.json => {
            context.printer.value(&json!({"format": 1, "status": "text", "document": document}))
        }
        Read::Text(document) => {
            for warning in &document.warnings {
                context.printer.note(format!("note: {warning}"));
            }
            context.printer.line(::extract::to_markdown(&document).trim_end());
            Ok(())
        }
        Read::Empty { format, reason } if context.printer.json => {
            context.printer.value(&json!({"format": 1, "status": "empty", "document_format": format, "reason": reason}))
        }
        Read::Empty { reason, .. } => {
            context.printer.note(format!("no text: {reason}"));
            Ok(())
        }
    }
}

/// Prints a catalogue as JSON lines while it is read, so that its size does not matter.
async fn catalog(printer: Printer, pool: &Pool, file: &Path) -> Result<(), Error> {
    pool.catalog(file, |item| {
        let text = match &item {
            CatalogItem::Header(_) => {
                serde_json::to_value(&item).and_then(|value| serde_json::to_string(&numbered(value)))
            }
            _ => serde_json::to_string(&item),
        };
        // These types are plain text and lists: nothing in them can fail to be written.
        printer.line(text.unwrap_or_default());
    })
    .await
}

/// Puts the version of the format before the fields of an object.
fn numbered(value: Value) -> Value {
    let mut fields = serde_json::Map::new();
    fields.insert("format".to_owned(), FORMAT.into());
    if let Value::Object(given) = value {
        fields.extend(given);
    }
    Value::Object(fields)
}

fn reading(file: &Path) -> String {
    format!("cannot read `{}`", file.display())
}
