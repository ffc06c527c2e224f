use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use ::audit::{Act, Entry, Kept, Log, Outcome as Ending, Verdict, Who, installation_key, merged, read_pack};
use base::{Clock, CustomerLayout, Digest, Exit, dsse::PublicKey, file};
use serde_json::json;

use crate::{
    args::{AuditArgs, AuditVerb, Since},
    context::Context,
    failure::{During, Failure, Outcome},
    printer::{bytes, shown},
    verb::evidence,
};

/// Shows, checks and hands out the audit logs.
pub async fn run(context: &Context, args: &AuditArgs) -> Outcome {
    match &args.verb {
        AuditVerb::Show { since, lines } => show(context, *since, *lines),
        AuditVerb::Verify { anchors, keys } => {
            let noted = anchors.iter().map(|anchor| (anchor.seq, anchor.digest)).collect();
            verify(context, &noted, keys)
        }
        AuditVerb::Export { out, csv, since } => export(context, out.as_deref(), *csv, *since),
        AuditVerb::Evidence { check: Some(path), key, .. } => check(context, path, key.as_deref()),
        AuditVerb::Evidence { out, bundle, trust_roots, .. } => {
            let out = out.clone().unwrap_or_else(|| PathBuf::from("evidence.tar"));
            evidence(context, &out, bundle.as_deref(), trust_roots).await
        }
    }
}

/// Returns the customer, whose folder has to be there: looking makes none.
pub fn existing(context: &Context) -> Outcome<CustomerLayout> {
    let customer = context.customer()?;
    if customer.dir().is_dir() || Log::customer(&customer).exists() {
        return Ok(customer);
    }
    let failure = Failure::new(Exit::Usage, format!("there is nothing of `{}` here", customer.slug()));
    Err(failure.remedy("check `--root DIR` and `--slug SLUG`; `0711 install` installs"))
}

fn show(context: &Context, since: Option<Since>, lines: usize) -> Outcome {
    let customer = existing(context)?;
    let since = since.map(|since| since.moment(Clock::system().now()));
    let mut reading = merged(&Log::of_customer(&context.layout, &customer), since)?;
    let all = reading.records.len();
    if lines > 0 && all > lines {
        reading.records.drain(..all - lines);
    }
    let printer = context.printer;
    if printer.json {
        let records: Vec<_> = reading.records.iter().map(line).collect();
        let value = json!({"format": 1, "records": records, "of": all, "unreadable": reading.unreadable});
        return printer.value(&value);
    }
    if reading.records.len() < all {
        printer.note(format!("the last {} of {all} records; `-n 0` shows all", reading.records.len()));
    }
    if reading.records.is_empty() {
        printer.note("nothing is recorded");
    }
    let columns = |kept: &Kept| {
        let record = &kept.record;
        [record.at.to_string(), record.who.to_string(), record.act.name().to_owned(), record.outcome.name().to_owned()]
    };
    let rows: Vec<_> = reading.records.iter().map(|kept| (columns(kept), kept)).collect();
    let width = |column: usize| rows.iter().map(|(row, _)| row[column].chars().count()).max().unwrap_or(0).min(40);
    let widths: [usize; 4] = std::array::from_fn(width);
    for (row, kept) in &rows {
        let record = &kept.record;
        let [at, who, act, outcome]: [String; 4] =
            std::array::from_fn(|n| format!("{:<1$}", shown(&row[n]), widths[n]));
        let outcome = match record.outcome {
            Ending::Ok => printer.good(&outcome),
            Ending::Begun => printer.dim(&outcome),
            Ending::Failed | Ending::Refused => printer.warn(&outcome),
        };
        let detail = if record.detail.is_empty() { String::new() } else { format!("  {}", shown(&record.detail)) };
        printer.line(format!(
            "{}  {who}  {act}  {outcome}  {}{}",
            printer.dim(&at),
            shown(&record.object),
            printer.dim(&detail)
        ));
    }
    if reading.unreadable > 0 {
        let text =
            format!("{} lines are not what was written there; `0711 audit verify` says where", reading.unreadable);
        printer.note(printer.warn(&text));
    }
    Ok(())
}

fn line(kept: &Kept) -> serde_json::Value {
    json!({
        "time": kept.record.at.to_string(), "log": kept.log, "seq": kept.record.seq, "who": kept.record.who,
        "act": kept.record.act, "object": kept.record.object, "outcome": kept.record.outcome, "detail": kept.record.detail,
        "digest": kept.digest,
    })
}

fn verify(context: &Context, noted: &BTreeMap<u64, Digest>, keys: &[String]) -> Outcome {
    let customer = existing(context)?;
    let keys = keys.iter().map(|key| public_key(key)).collect::<Outcome<Vec<_>>>()?;
    let verdicts = ::audit::verify_customer(&context.layout, &customer, noted, keys)?;
    let broken: Vec<_> = verdicts.iter().filter(|verdict| !verdict.is_intact()).map(|verdict| verdict.log).collect();
    let printer = context.printer;
    if printer.json {
        printer.value(&json!({"format": 1, "intact": broken.is_empty(), "logs": verdicts}))?;
    } else {
        verdicts.iter().for_each(|verdict| print(context, verdict));
    }
    if broken.is_empty() {
        return Ok(());
    }
    let text = format!("the audit log is not whole: something is changed or missing in {}", broken.join(" and "));
    Err(Failure::new(Exit::Tampered, text).remedy(
        "keep the files as they are, and compare with an export or an evidence pack made earlier; what was done since is still recorded",
    ))
}

fn print(context: &Context, verdict: &Verdict) {
    let printer = context.printer;
    let name = format!("{:<9}", verdict.log);
    match (&verdict.head, verdict.breaks.first()) {
        (None, None) => printer.line(format!("{name} {}", printer.dim("nothing is recorded"))),
        (Some(head), None) => {
            printer.line(format!("{name} {} {} records", printer.good("whole:"), verdict.records));
            printer.line(format!("          head {}:{}", head.seq, head.digest));
        }
        (_, Some(first)) => {
            let to = match (first.intact_to, first.intact_until) {
                (Some(seq), Some(at)) => format!("intact up to record {seq} of {at}"),
                _ => "not intact from the beginning".to_owned(),
            };
            printer.line(format!("{name} {} {to}", printer.warn("broken:")));
            for found in &verdict.breaks {
                let at = match (&found.file, found.line) {
                    (Some(file), Some(line)) => format!("{file}, line {line}: "),
                    _ => String::new(),
                };
                printer.line(format!("          {}{}", shown(&at), shown(&found.why)));
            }
        }
    }
    let say = |text: String| printer.line(format!("          {}", printer.dim(&text)));
    if verdict.signed > 0 {
        say(format!("{} checkpoints are signed, and hold", verdict.signed));
    }
    if verdict.signed_by_others > 0 {
        say(format!("{} checkpoints are signed by another key; `--key` names it", verdict.signed_by_others));
    }
    if verdict.mended > 0 {
        say(format!("{} lines were torn by a crash, and mended", verdict.mended));
    }
    if verdict.is_torn {
        say("the last line is unfinished; the next record mends it".to_owned());
    }
}

fn export(context: &Context, out: Option<&Path>, csv: bool, since: Option<Since>) -> Outcome {
    let customer = existing(context)?;
    let clock = Clock::system();
    let since = since.map(|since| since.moment(clock.now()));
    // Before it is read: an export tells of itself, and one that cannot be recorded does not happen.
    let place = out.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
    let from = since.map_or_else(|| "from the beginning".to_owned(), |since| format!("since {since}"));
    let entry = Entry::new(Who::this_process(), Act::Export).object("audit log").detail(format!("{from}, to {place}"));
    Log::customer(&customer).append(entry, clock)?;
    let reading = merged(&Log::of_customer(&context.layout, &customer), since)?;
    let text = if csv { ::audit::to_csv(&reading.records)? } else { ::audit::to_json_lines(&reading.records)? };
    match out {
        Some(path) => {
            file::write_atomic(path, &text, 0o600).during(format!("cannot write `{}`", path.display()))?;
            if context.printer.json {
                let (records, unreadable) = (reading.records.len(), reading.unreadable);
                context
                    .printer
                    .value(&json!({"format": 1, "file": path, "records": records, "unreadable": unreadable}))?;
            } else {
                context.printer.line(format!(
                    "{}: {} records, {}",
                    path.display(),
                    reading.records.len(),
                    bytes(text.len() as u64)
                ));
            }
        }
        // Byte for byte: it may be read by another program. One that went away is no error of ours.
        None => drop(std::io::stdout().lock().write_all(&text)),
    }
    if reading.unreadable > 0 {
        let text = format!("{} lines could not be exported; `0711 audit verify` says where", reading.unreadable);
        return Err(Failure::new(Exit::Tampered, text));
    }
    Ok(())
}

async fn evidence(context: &Context, out: &Path, bundle: Option<&Path>, trust_roots: &[PathBuf]) -> Outcome {
    let customer = existing(context)?;
    let clock = Clock::system();
    let key = installation_key(&customer, clock)?;
    let entry = Entry::new(Who::this_process(), Act::Export).object("evidence pack");
    Log::customer(&customer).append(entry.detail(format!("to {}", out.display())), clock)?;
    let pack = evidence::gather(context, &customer, bundle, trust_roots).await?;
    let (packed, manifest) = pack.seal(customer.slug(), &key, clock.now())?;
    file::write_atomic(out, &packed, 0o600).during(format!("cannot write `{}`", out.display()))?;
    if context.printer.json {
        return context.printer.value(&json!({"file": out, "size_bytes": packed.len(), "manifest": manifest}));
    }
    context.printer.line(format!("{}: {} files, {}", out.display(), manifest.files.len(), bytes(packed.len() as u64)));
    context.printer.line(format!("signed with key {}", manifest.key));
    Ok(())
}

fn check(context: &Context, path: &Path, key: Option<&str>) -> Outcome {
    let key = key.map(public_key).transpose()?;
    let manifest = read_pack(path, key.as_ref())?;
    if context.printer.json {
        return context.printer.value(&json!({"whole": true, "key_was_given": key.is_some(), "manifest": manifest}));
    }
    context.printer.line(format!(
        "whole: {} files of `{}`, made {}",
        manifest.files.len(),
        manifest.slug,
        manifest.made
    ));
    match key {
        Some(key) => context.printer.line(format!("signed with the key that was given, {}", key.id())),
        None => context.printer.line(format!(
            "signed with key {}, which the pack itself names: give the installation's with `--key` to know who made it",
            manifest.key
        )),
    }
    Ok(())
}

fn public_key(text: &str) -> Outcome<PublicKey> {
    PublicKey::from_hex(text.trim())
        .map_err(|error| Failure::new(Exit::Usage, format!("the key after `--key` is none: {error}")))
}
