use std::path::Path;

use ::extract::{Limits, Outcome as Read, worker::Pool};
use serde_json::json;

use crate::{
    args::ExtractArgs,
    context::{Context, own_binary},
    failure::{Failure, Outcome},
};

/// Prints the text of one file: Markdown, or blocks with their places.
///
/// The file is parsed in a worker process: a hostile file can end that, not this.
pub async fn run(context: &Context, args: &ExtractArgs) -> Outcome {
    let pool = Pool::new(own_binary()?, 1, Limits::default());
    let read = pool.extract(&args.file).await.map_err(|error| Failure::from(error).during(reading(&args.file)))?;
    match read {
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

fn reading(file: &Path) -> String {
    format!("cannot read `{}`", file.display())
}
