use base::{CustomerLayout, file};
use plan::journal::{Event, Evidence};
use plan::{AdapterOutcome, Plan, Receipt, Step, StepId};
use serde_json::Value;

use crate::execute::evidence;
use crate::journal_file::JournalFile;
use crate::{Error, read_receipt};

/// Writes the receipt of a plan whose every step holds, and closes the journal. Nothing is written when that receipt is
/// already there.
pub(crate) fn write(plan: &Plan, customer: &CustomerLayout, journal: &mut JournalFile) -> Result<Receipt, Error> {
    let path = customer.receipt();
    let before = read_receipt(customer)?;
    let receipt = make(plan, before.as_ref(), journal);
    let is_there = before.as_ref() == Some(&receipt);
    if !is_there {
        let bytes = receipt.to_json().map_err(|source| Error::Format { path: path.clone(), source })?;
        file::write_atomic(&path, &bytes, 0o600).map_err(Error::file("write", &path))?;
    }
    let digest = receipt.digest();
    if !is_there || journal.state().receipt() != Some(digest) {
        journal.append(Event::Closed { receipt: digest })?;
    }
    Ok(receipt)
}

fn make(plan: &Plan, before: Option<&Receipt>, journal: &JournalFile) -> Receipt {
    let mut receipt = Receipt {
        format: Receipt::FORMAT,
        plan: plan.digest(),
        customer_name: plan.customer_name().to_owned(),
        slug: plan.slug().clone(),
        version: plan.version().to_owned(),
        binary: base::Digest::of(b""),
        license_id: String::new(),
        license: base::Digest::of(b""),
        port_base: plan.slot().port_base,
        root: plan.root().map(ToOwned::to_owned),
        models: Vec::new(),
        folders: plan.answers().folders.clone(),
        documents: evidence(journal, StepId::Check).number("documents").unwrap_or(0),
        adapter: match plan.step(StepId::Train) {
            Some(_) => Some(adapter(&evidence(journal, StepId::Train))),
            None => before.and_then(|before| before.adapter.clone()),
        },
        installed_at: journal.state().opened_at().unwrap_or(base::Timestamp::from_millis(0)),
    };
    for step in plan.steps() {
        match step {
            Step::Binary { digest, .. } => receipt.binary = *digest,
            Step::License { id, digest, .. } => (receipt.license_id, receipt.license) = (id.clone(), *digest),
            Step::Model { model, .. } => receipt.models.push(model.clone()),
            _ => {}
        }
    }
    receipt
}

/// Scores are left to `version.json`: how far a budget of minutes reaches differs from run to run.
fn adapter(evidence: &Evidence) -> AdapterOutcome {
    let outcome = evidence.0.get("outcome");
    let word = |name: &str| match outcome.and_then(|outcome| outcome.get(name)) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Object(fields)) => fields.keys().next().cloned(),
        _ => None,
    };
    AdapterOutcome { version: word("version"), decision: word("decision").unwrap_or_else(|| "unknown".to_owned()) }
}
