//! Files nobody reads, or reads only as plain text: what their handlers say of them.

use std::path::Path;

use extract::{
    Document, Outcome,
    handler::{KIND_KEY, Kind},
};
use handlers::{Desk, Verdict};

use crate::{Error, limits};

/// The kind of a failure that ends when somebody approves a handler.
pub(crate) const QUARANTINED: &str = "quarantined";

/// The metadata key that holds the state of the handlers a file was read under. Another state reads it anew.
pub(crate) const HANDLERS_KEY: &str = "handlers";

/// What came of a file.
pub(crate) enum Handled {
    /// Nothing a handler has to do with.
    Untouched(Result<Outcome, extract::Error>),
    /// As the handlers are now, this is it: a handler's document, a text that waits for one, or a file that does.
    Settled(Result<Outcome, extract::Error>),
    /// A handler read it that nobody approved.
    Quarantined(String),
}

/// Asks the handlers about a file, where readers did not know it or saw records in its text.
///
/// # Errors
/// [`Error::Handlers`] when their files cannot be used.
pub(crate) async fn consult(
    desk: &Desk,
    path: &Path,
    outcome: Result<Outcome, extract::Error>,
) -> Result<Handled, Error> {
    let (verdict, outcome) = match outcome {
        Ok(Outcome::Text(mut document)) => match take_kind(&mut document) {
            Some(kind) => (desk.text(path, &kind).await, Ok(Outcome::Text(document))),
            None => return Ok(Handled::Untouched(Ok(Outcome::Text(document)))),
        },
        Err(error) if error.is_unknown_format() => (desk.unknown(path).await, Err(error)),
        other => return Ok(Handled::Untouched(other)),
    };
    Ok(match verdict.map_err(|source| Error::Handlers { source })? {
        Verdict::Read { document, .. } => Handled::Settled(Ok(extract::finish(document, &limits()))),
        // Its text is what it was before there was a handler: searchable.
        Verdict::Quarantined { .. } if outcome.is_ok() => Handled::Settled(outcome),
        Verdict::Quarantined { handler, records } => Handled::Quarantined(format!(
            "{records} records are quarantined: nobody approved the handler `{handler}`; `0711 handlers show {handler}`, then `0711 handlers approve {handler} --digest DIGEST` with the one it names"
        )),
        Verdict::Waits { kind } => Handled::Settled(outcome.map_err(|error| waiting(error, &kind))),
        Verdict::None { reason } => {
            tracing::debug!(path = %path.display(), reason, "no handler can look at a file");
            Handled::Untouched(outcome)
        }
    })
}

/// A file without a reader, with what would give it one.
fn waiting(error: extract::Error, kind: &str) -> extract::Error {
    match error {
        extract::Error::Unsupported { format } => extract::Error::Unsupported {
            format: format!("{format}; it waits for a handler, see `0711 handlers pending {kind}`"),
        },
        other => other,
    }
}

fn take_kind(document: &mut Document) -> Option<Kind> {
    serde_json::from_str(&document.metadata.remove(KIND_KEY)?).ok()
}
