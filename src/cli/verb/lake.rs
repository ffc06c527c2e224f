use std::path::Path;

use base::{Exit, Timestamp};
use lake::{Checked, CommitId, Lake};
use serde_json::json;

use crate::{
    args::{LakeArgs, LakeVerb, SnapshotVerb},
    context::Context,
    failure::{Failure, Outcome},
    local::Parts,
    printer::{Printer, bytes, shown},
};

/// Looks after the tables.
pub async fn run(context: &Context, args: &LakeArgs) -> Outcome {
    let parts = Parts::existing(context)?;
    let printer = context.printer;
    match &args.verb {
        LakeVerb::Check => print_check(printer, &parts.lake().await?.check().await?),
        LakeVerb::Compact => {
            let lake = parts.lake().await?;
            let before = lake.stats().await?;
            lake.refresh().await?;
            let after = lake.stats().await?;
            if printer.json {
                return printer
                    .value(&json!({"commit": after.commits, "bytes_before": before.bytes, "bytes": after.bytes}));
            }
            match after.commits == before.commits {
                true => printer.line("there was nothing to join"),
                false => printer.line(format!("joined, as commit {}; older commits keep their files", after.commits)),
            }
            Ok(())
        }
        LakeVerb::Snapshot { verb: SnapshotVerb::List { limit } } => {
            let snapshots = parts.lake().await?.snapshots(*limit).await?;
            if printer.json {
                return printer.value(&json!({ "snapshots": snapshots }));
            }
            for one in snapshots {
                let state = if one.is_whole { String::new() } else { "  removed by a vacuum".to_owned() };
                let at = Timestamp::from_millis(one.committed_ms);
                printer.line(format!("{:>6}  {at}  {}{}", one.commit.0, one.kind, printer.dim(&state)));
            }
            Ok(())
        }
        LakeVerb::Vacuum { keep } => {
            let done = parts.lake().await?.vacuum(*keep as usize).await?;
            if printer.json {
                return printer.value(&done);
            }
            printer.line(format!(
                "{} files removed, {}; commits from {} on can be asked",
                done.files,
                bytes(done.bytes),
                done.oldest
            ));
            Ok(())
        }
        LakeVerb::Export { dir, at } => export(printer, &parts, dir, at.map(CommitId)).await,
    }
}

fn print_check(printer: Printer, checked: &Checked) -> Outcome {
    if printer.json {
        printer.value(checked)?;
    } else {
        for (name, rows) in &checked.rows {
            printer.line(format!("{name:<14} {rows:>10} rows"));
        }
        if let Some(nearest) = &checked.nearest {
            let how = match nearest.scan.as_str() {
                "exact" => "all vectors are compared exactly",
                "bytes" => "all vectors are compared, rounded first",
                _ => "the nearest groups of vectors are compared",
            };
            printer.line(format!(
                "search by meaning: {how}; {:.1} % of the ten nearest are found",
                nearest.recall * 100.0
            ));
        }
        checked.notes.iter().for_each(|note| printer.line(printer.dim(note)));
        match checked.faults.is_empty() {
            true => printer.line(printer.good(&format!("commit {} is whole", checked.commit.0))),
            false => checked.faults.iter().for_each(|fault| printer.line(printer.bad(&shown(fault)))),
        }
    }
    if checked.faults.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Damaged, format!("{} things in the tables are wrong", checked.faults.len()));
    Err(failure.remedy("`0711 backup restore` puts a backup back; without one, move the folder `lakehouse` aside and run `0711 ingest`"))
}

async fn export(printer: Printer, parts: &Parts, dir: &Path, at: Option<CommitId>) -> Outcome {
    let exported = match Lake::export(&parts.customer, dir, at).await {
        Ok(exported) => exported,
        Err(lake::Error::Refused(why)) => {
            let failure = Failure::new(Exit::Usage, why).during(format!("cannot export into `{}`", dir.display()));
            return Err(failure.remedy("name a new folder; `0711 lake snapshot list` shows which commits are whole"));
        }
        Err(error) => return Err(error.into()),
    };
    if printer.json {
        return printer.value(&exported);
    }
    for (name, rows) in &exported.tables {
        printer.line(format!("{name:<40} {rows:>10} rows"));
    }
    printer.line(printer.good(&format!("commit {} is in {}", exported.commit.0, dir.display())));
    Ok(())
}
