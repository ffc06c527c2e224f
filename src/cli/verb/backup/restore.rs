use std::path::{Path, PathBuf};

use ::backup::{Restore, Restored, name_in_backup};
use base::{Clock, Exit, Layout};
use plan::Answers;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Watch, blocking, place::Place};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    printer::{bytes, shown},
};

/// What is to be put back, and how.
pub struct Wanted {
    pub which: Option<String>,
    pub replaces: bool,
    pub with_secrets: bool,
}

/// Puts a backup back, and says how to go on.
pub async fn run(context: &Context, place: &Place, wanted: Wanted, interrupt: CancellationToken) -> Outcome {
    let (store, key) = place.open(context).await?;
    let watch = Watch::new(context.printer, "restoring");
    let (layout, slug) = (context.layout.clone(), context.slug().cloned());
    let (restored, watch) = blocking(move || {
        let rewrite = |name: &str, content: &[u8]| answers_here(&layout, name, content);
        let restore = Restore {
            store,
            key: &key,
            layout: &layout,
            customer: slug.as_ref(),
            which: wanted.which.as_deref(),
            replaces: wanted.replaces,
            with_secrets: wanted.with_secrets,
            rewrite: &rewrite,
            clock: Clock::system(),
        };
        let restored = restore.run(&|event| watch.see(event), &interrupt);
        if restored.is_err() {
            watch.end(None);
        }
        Ok((restored?, watch))
    })
    .await?;
    watch.end(Some(&format!("{} files, {}", restored.files, bytes(restored.bytes))));
    show(context, &restored)
}

/// Tells the answers where the license is now. Data folders stay as they were named: they are the customer's, and none lies
/// below the root. Every other path is made anew by `install`.
fn answers_here(layout: &Layout, name: &str, content: &[u8]) -> Option<Vec<u8>> {
    let mut answers = Answers::from_yaml(std::str::from_utf8(content).ok()?).ok()?;
    let customer = layout.customer(&answers.slug().ok()?);
    if name_in_backup(&customer, &customer.answers()).as_deref() != Some(name) {
        return None;
    }
    answers.license = customer.license().display().to_string();
    Some(answers.to_yaml().ok()?.into_bytes())
}

fn show(context: &Context, restored: &Restored) -> Outcome {
    let layout = &context.layout;
    let customer = layout.customer(&restored.customer);
    let missing: Vec<_> = restored
        .needs
        .iter()
        .filter(|model| !layout.model(&model.digest).is_file() && !Layout::cached_model(&model.digest).is_file())
        .collect();
    let answers = customer.answers();
    let folders: Vec<PathBuf> = folders(&answers).into_iter().filter(|folder| !folder.is_dir()).collect();
    let next = next(layout, &answers);
    if context.printer.json {
        context.printer.value(&json!({
            "restored": restored, "missing_models": missing, "missing_folders": folders, "next": next,
        }))?;
    } else {
        let printer = context.printer;
        printer.line(format!("{} of {} is in place: {}", restored.customer, restored.made, customer.dir().display()));
        for path in &restored.aside {
            printer.line(format!("  what was there is now {}", path.display()));
        }
        for folder in &folders {
            printer.line(format!("  the data folder {} is not on this machine", shown(&folder.display().to_string())));
        }
        for model in &missing {
            printer.line(format!(
                "  the model {} is missing: `0711 models fetch {}`, or install from a bundle",
                model.name, model.name
            ));
        }
        if let Some(next) = &next {
            printer.line(format!("\nGo on with:\n  {next}"));
        }
    }
    match restored.lacking {
        0 => Ok(()),
        count => {
            let text = format!("{count} files were not in the backup: they could not be read when it was made");
            Err(Failure::new(Exit::Incomplete, text).remedy("`0711 backup list` shows backups that lack none"))
        }
    }
}

fn folders(answers: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(answers).ok();
    text.and_then(|text| Answers::from_yaml(&text).ok()).map(|answers| answers.folders).unwrap_or_default()
}

/// The command that makes an installation of what was put back; none where only a lake was backed up.
fn next(layout: &Layout, answers: &Path) -> Option<String> {
    let text = std::fs::read_to_string(answers).ok()?;
    let answers_of = Answers::from_yaml(&text).ok()?;
    let bundle = match answers_of.runtime {
        plan::Runtime::Docker => " --bundle DIR",
        plan::Runtime::Native => "",
    };
    let root = layout.root().map(|root| format!(" --root {}", quoted(root))).unwrap_or_default();
    Some(format!("0711 install --answers {}{bundle}{root} --yes", quoted(answers)))
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
