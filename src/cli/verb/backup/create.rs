use std::{collections::BTreeMap, io::IsTerminal, sync::Arc};

use ::backup::{
    Create, Created, Keep, LakeCut, Memory, Needed, Prune, Repository, RepositoryKey, Schedule, Source, Store, Turn,
};
use base::{Clock, CustomerLayout, Exit, Secret, Timestamp};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Watch, blocking,
    place::{Place, ask},
};
use crate::{
    args::BackupCreateArgs,
    context::Context,
    failure::{Failure, Outcome},
    local::Parts,
    printer::bytes,
};

/// How much the scheduled backup gives way to everybody else.
const NICE: i32 = 10;

/// Makes a backup.
pub async fn run(context: &Context, args: &BackupCreateArgs, interrupt: CancellationToken) -> Outcome {
    let customer = context.customer()?;
    let place = Place::find(context, &args.place)?;
    let started = Clock::system().now();
    let keep = match args.scheduled {
        true => {
            // Who asks a question comes before a backup. Where that cannot be had, the backup is made all the same.
            let _ = rustix::process::nice(NICE);
            Schedule::read(&customer)?.map(|schedule| schedule.keep).unwrap_or_default()
        }
        false => Keep::default(),
    };
    let made = make(context, args, &place, &customer, keep, interrupt).await;
    if let Err(failure) = &made
        && !matches!(failure.exit, Exit::Locked | Exit::Incomplete)
        && customer.dir().is_dir()
    {
        // What failed before the backup itself began is known to nobody else.
        Memory::failed(&customer, started, place.name(), &failure.to_string())?;
    }
    made
}

async fn make(
    context: &Context,
    args: &BackupCreateArgs,
    place: &Place,
    customer: &CustomerLayout,
    keep: Keep,
    interrupt: CancellationToken,
) -> Outcome {
    let parts = Parts::find(context)?;
    let turn = Arc::new(Turn::take(customer)?);
    let (store, key) = opened(context, args, place, customer).await?;
    let has_lake = customer.lakehouse().is_dir();
    let lake = if has_lake { Some(parts.lake().await?) } else { None };
    let cut = match &lake {
        Some(lake) => {
            let pin = lake.pin().await?;
            Some(LakeCut { commit: pin.commit.0, committed: Timestamp::from_millis(pin.committed_ms) })
        }
        None => None,
    };
    let watch = Watch::new(context.printer, "backing up");
    let models = parts.models();
    let job = Job {
        turn: turn.clone(),
        store: store.clone(),
        key: key.clone(),
        customer: customer.clone(),
        root: context.layout.root().map(ToOwned::to_owned),
        cut,
        needs: [&models.chat, &models.embed]
            .map(|model| Needed { name: model.name.clone(), digest: model.digest })
            .to_vec(),
        waits: args.wait || args.scheduled,
        accepts_older: args.accept_older,
    };
    let stop = interrupt.clone();
    let made = blocking(move || job.run(&watch, &stop)).await;
    if let Some(lake) = &lake {
        // A pin that stays costs room until the next backup; it fails no backup that was made.
        if let Err(error) = lake.unpin().await {
            tracing::warn!(%error, "cannot let go of the lake's commit");
        }
    }
    drop(turn);
    let created = made?;
    key.keep(&customer.backup_keys())?;
    if !keep.is_empty() {
        let (layout, store, printer) = (customer.clone(), store.clone(), context.printer);
        blocking(move || {
            let watch = Watch::new(printer, "pruning");
            let prune = Prune { store, key: &key, layout: &layout, keep, is_dry: false, waits: true };
            let pruned = prune.run(&|event| watch.see(event), &interrupt);
            watch.end(pruned.is_ok().then_some(""));
            pruned.map(drop).map_err(Into::into)
        })
        .await?;
    }
    show(context, &store, &created)
}

fn show(context: &Context, store: &Store, created: &Created) -> Outcome {
    let entry = &created.entry;
    if context.printer.json {
        context.printer.value(&json!({"place": store.place(), "backup": created}))?;
    } else {
        context.printer.line(format!(
            "backup {} at {}: {} files, {}, {} of it new",
            entry.id.short(),
            store.place(),
            entry.files,
            bytes(entry.content_bytes),
            bytes(entry.added_bytes)
        ));
    }
    match created.skipped_files.len() {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Incomplete, format!("{count} files are not in the backup"))
            .remedy("see which, and why, above; as root everything of the installation can be read")),
    }
}

/// What a backup needs, on its way to the thread that makes it.
struct Job {
    turn: Arc<Turn>,
    store: Arc<Store>,
    key: RepositoryKey,
    customer: CustomerLayout,
    root: Option<std::path::PathBuf>,
    cut: Option<LakeCut>,
    needs: Vec<Needed>,
    waits: bool,
    accepts_older: bool,
}

impl Job {
    fn run(self, watch: &Watch, interrupt: &CancellationToken) -> Outcome<Created> {
        let create = Create {
            turn: &self.turn,
            store: self.store,
            key: &self.key,
            source: Source { layout: &self.customer, lake: self.cut },
            root: self.root.as_deref(),
            needs: self.needs,
            formats: formats(),
            program: env!("CARGO_PKG_VERSION"),
            waits: self.waits,
            accepts_older: self.accepts_older,
            clock: Clock::system(),
        };
        let created = create.run(&|event| watch.see(event), interrupt);
        watch.end(created.is_ok().then_some(""));
        Ok(created?)
    }
}

/// The formats of what is backed up, as this program writes them.
fn formats() -> BTreeMap<String, u32> {
    [
        ("answers", plan::Answers::FORMAT),
        ("config", base::config::FORMAT),
        ("ingest", ::ingest::FORMAT),
        ("lake", lake::FORMAT),
        ("plan", plan::Plan::FORMAT),
        ("receipt", plan::Receipt::FORMAT),
    ]
    .map(|(name, format)| (name.to_owned(), format))
    .into()
}

/// Opens the backups that are there, or begins new ones.
async fn opened(
    context: &Context,
    args: &BackupCreateArgs,
    place: &Place,
    customer: &CustomerLayout,
) -> Outcome<(Arc<Store>, RepositoryKey)> {
    let store = Arc::new(place.store()?);
    let looked = store.clone();
    if blocking(move || Ok(Repository::find(&looked)?)).await?.is_some() {
        return place.open(context).await;
    }
    let was_here = Memory::read(customer)?.known_at(&store.place()).is_some();
    if args.scheduled || (was_here && !args.new) {
        let failure = Failure::from(::backup::Error::NoRepository { place: store.place() });
        return Err(match was_here {
            true => failure.remedy("one was here before: check that the medium is mounted; `--new` begins another one"),
            false => failure,
        });
    }
    let passphrase = match (place.passphrase()?, args.ask_passphrase) {
        (Some(passphrase), _) => Some(passphrase),
        (None, true) => Some(asked()?),
        (None, false) => None,
    };
    let key = RepositoryKey::generate();
    // Kept before anything is written: a backup nobody can open would be worse than none.
    let kept = key.keep(&customer.backup_keys())?;
    let begun = key.clone();
    let store = place.store()?;
    let store = blocking(move || Ok(Repository::begin(store, &begun, passphrase.as_ref(), Clock::system())?)).await?;
    tell_key(context, &key, &kept);
    Ok((store, key))
}

fn asked() -> Outcome<Secret> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let failure = Failure::new(Exit::Usage, "nobody can be asked for a passphrase here");
        return Err(failure.remedy("name a file with `--passphrase-file FILE`, mode 0600"));
    }
    ask("Passphrase for the backup", true)
}

/// Shows the recovery key, this once.
fn tell_key(context: &Context, key: &RepositoryKey, kept: &std::path::Path) {
    let text = key.to_text();
    let printer = context.printer;
    if printer.json {
        printer.note(json!({"event": "begun", "recovery_key": text.expose(), "kept_in": kept}).to_string());
        return;
    }
    printer.note(format!("\nrecovery key  {}\n", printer.bold(text.expose())));
    printer.note("  Write it down now: it is shown this once. Keep it away from this machine and from the backup.");
    printer.note("  Whoever has it can read the backup; when this machine is gone, nobody can without it.");
    printer.note(format!("  For the next backups it is kept in {}\n", kept.display()));
}
