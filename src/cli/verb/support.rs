use std::{io::IsTerminal, path::PathBuf};

use ::support::{Collected, Options};
use audit::{Act, Entry, Log, Outcome as Ending, Who};
use base::{Clock, CustomerLayout, Digest, Exit, Timestamp};
use license::{Description, Seen};
use serde_json::json;

use crate::{
    args::SupportArgs,
    context::{Context, own_binary},
    failure::{During, Failure, Outcome},
    printer::{bytes, shown},
    progress::Progress,
    verb::{audit::existing, preflight},
    wizard,
};

/// Lines of a file that a preview shows.
const PREVIEW_LINES: usize = 4;
const PREVIEW_CHARACTERS: usize = 110;

/// Collects what somebody else needs to help, shows it, and writes it.
pub async fn run(context: &Context, args: &SupportArgs) -> Outcome {
    let customer = existing(context)?;
    let clock = Clock::system();
    let now = clock.now();
    let out = args.out.clone().unwrap_or_else(|| default_name(&customer, now));
    if out.exists() {
        let failure = Failure::new(Exit::Usage, format!("`{}` exists and is not overwritten", out.display()));
        return Err(failure.remedy("name another file with `--out FILE`"));
    }
    let options = Options {
        layout: context.layout.clone(),
        slug: customer.slug().clone(),
        since: args.since.moment(now),
        bytes_max: args.max_mb * 1_000_000,
        with_names: args.with_names,
        // A machine that cannot be judged is no reason to have no bundle of it.
        wanted: preflight::for_support(&context.layout, &customer).ok(),
        binary: own_binary()?,
        more: vec![("license.json".to_owned(), license(&customer).into_bytes())],
        clock,
    };
    let progress = Progress::start(context.printer, "collecting");
    let act = || Entry::new(Who::this_process(), Act::SupportBundle).object(out.display().to_string());
    let log = Log::customer(&customer);
    let collected = match ::support::collect(options).await {
        Ok(collected) => collected,
        Err(error) => {
            progress.abandon();
            if let ::support::Error::Secret(found) = &error {
                let found: Vec<_> = found.iter().map(|found| format!("{} in {}", found.secret, found.file)).collect();
                context.record(log, act().outcome(Ending::Refused).detail(found.join(", ")));
            }
            return Err(error.into());
        }
    };
    progress.finish(&format!("{} files", collected.manifest().files.len()));
    if args.preview && !context.printer.json {
        preview(context, &collected);
    }
    if args.preview && !args.yes {
        let may_write = std::io::stdin().is_terminal()
            && !context.printer.json
            && wizard::confirm(&format!("Write this to `{}`?", out.display()))?;
        if !may_write {
            if context.printer.json {
                return context.printer.value(&json!({"format": 1, "file": null, "manifest": collected.manifest()}));
            }
            context.printer.note("nothing was written; `--yes` writes after a preview without a question");
            return Ok(());
        }
    }
    let packed = collected.to_bytes()?;
    Collected::write(&out, &packed)?;
    let (files, digest) = (collected.manifest().files.len(), Digest::of(&packed));
    context.record(log, act().detail(format!("{files} files, {} bytes, {digest}", packed.len())));
    if context.printer.json {
        let value = json!({
            "format": 1, "file": out, "size_bytes": packed.len(), "sha256": digest, "manifest": collected.manifest(),
        });
        return context.printer.value(&value);
    }
    summary(context, &collected);
    context.printer.line(format!("{}  {}", out.display(), bytes(packed.len() as u64)));
    context.printer.line(digest.to_string());
    Ok(())
}

fn default_name(customer: &CustomerLayout, now: Timestamp) -> PathBuf {
    let time: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    PathBuf::from(format!("support-{}-{time}.tar.zst", customer.slug()))
}

/// What the license says, or why it cannot be read.
fn license(customer: &CustomerLayout) -> String {
    let described = || -> Outcome<serde_json::Value> {
        let entitlement = license::load_installed(&customer.license(), &license::embedded_roots()?)?;
        let description = Description::of(&entitlement, Clock::system().now(), &Seen::load(&customer.seen())?);
        serde_json::to_value(description).during("cannot write the license")
    };
    let value = described().unwrap_or_else(|failure| json!({"unreadable": failure.chain()}));
    format!("{value:#}\n")
}

fn preview(context: &Context, collected: &Collected) {
    let printer = context.printer;
    for (path, content) in collected.files() {
        printer.line(format!("{}  {}", printer.bold(&shown(path)), bytes(content.len() as u64)));
        let text = String::from_utf8_lossy(content);
        for line in text.lines().take(PREVIEW_LINES) {
            let line: String = shown(line).chars().take(PREVIEW_CHARACTERS).collect();
            printer.line(printer.dim(&format!("    {line}")));
        }
        let more = text.lines().count().saturating_sub(PREVIEW_LINES);
        if more > 0 {
            printer.line(printer.dim(&format!("    … {more} more lines")));
        }
    }
}

fn summary(context: &Context, collected: &Collected) {
    let (printer, manifest) = (context.printer, collected.manifest());
    for collector in manifest.collectors.iter().filter(|collector| collector.how != ::support::How::Ok) {
        printer.note(format!("note: `{}` is not in it: {}", collector.name, shown(&collector.describe())));
    }
    if !manifest.left_out.is_empty() {
        printer.note(format!("note: no room for {}; `--max-mb` gives more", manifest.left_out.join(", ")));
    }
    let redacted: u64 = manifest.files.iter().map(|file| file.redacted).sum();
    let hidden: u64 = manifest.files.iter().map(|file| file.names_hidden).sum();
    printer.line(format!(
        "{} secrets were looked for and not found; {redacted} other credentials and {hidden} names taken out",
        manifest.searched_for.len()
    ));
}
