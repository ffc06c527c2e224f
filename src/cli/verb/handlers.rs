//! Handlers of unknown formats: what there is, what waits, who approves, who writes.

mod add;
mod model;
mod show;

use std::path::{Path, PathBuf};

use ::handlers::{Decision, Queue, Registry, Settings, State};
use audit::{Act, Entry as Record, Log, Outcome as Ending, Who};
use base::{Clock, CustomerLayout, Digest};
use extract::handler::{CONTRACT, HandlerLimits, Runner};

use crate::{
    args::{HandlersArgs, HandlersVerb},
    context::{Context, own_binary},
    failure::{During, Failure, Outcome},
};

pub use model::after_ingestion;

/// The longest source that is read.
const SOURCE_BYTES_MAX: u64 = 64 << 10;

/// What every verb works with.
struct Bench<'a> {
    context: &'a Context,
    customer: CustomerLayout,
    registry: Registry,
    queue: Queue,
    runner: Runner,
    clock: Clock,
}

/// Carries out a verb of handlers.
pub async fn run(context: &Context, args: &HandlersArgs) -> Outcome {
    let bench = Bench::open(context)?;
    match &args.verb {
        HandlersVerb::List => show::list(&bench),
        HandlersVerb::Show { name } => show::one(&bench, name),
        HandlersVerb::Pending { kind: None } => show::waiting(&bench),
        HandlersVerb::Pending { kind: Some(kind) } => show::waiting_kind(&bench, kind),
        HandlersVerb::Approve { name, digest } => bench.decide(name, *digest, State::Approved),
        HandlersVerb::Reject { name, digest } => {
            let digest = digest.map_or_else(|| bench.registry.newest(name).map(|handler| handler.entry.digest), Ok)?;
            bench.decide(name, digest, State::Rejected)
        }
        HandlersVerb::Test { handler, files, rows } => add::test(&bench, handler, files, *rows).await,
        HandlersVerb::Add(args) => add::add(&bench, args).await,
        HandlersVerb::Contract => {
            context.printer.line(CONTRACT.trim_end());
            Ok(())
        }
        HandlersVerb::Write { kind } => model::write(&bench, kind.as_deref()).await,
        HandlersVerb::EnableClaude(args) => model::enable(&bench, args),
        HandlersVerb::DisableClaude => model::disable(&bench),
        HandlersVerb::Configure(args) => model::configure(&bench, args),
    }
}

/// Makes processes for handlers out of this program.
pub fn runner() -> Outcome<Runner> {
    Ok(Runner::new(own_binary()?, HandlerLimits::default()))
}

impl<'a> Bench<'a> {
    fn open(context: &'a Context) -> Outcome<Self> {
        let customer = context.customer()?;
        Ok(Self {
            registry: Registry::new(&customer),
            queue: Queue::new(&customer),
            runner: runner()?,
            clock: Clock::system(),
            context,
            customer,
        })
    }

    fn settings(&self) -> Outcome<Settings> {
        Ok(Settings::read(&self.customer)?)
    }

    /// Who decides, and when.
    fn decision(&self) -> Decision {
        Decision { by: account(), at: self.clock.now() }
    }

    fn decide(&self, name: &str, digest: Digest, state: State) -> Outcome {
        let act = if state == State::Approved { Act::Approve } else { Act::ConfigChange };
        let entry = self.registry.decide(name, digest, state, self.decision())?;
        let detail = format!("{} of {}", state.name(), entry.digest);
        self.record(Record::new(Who::this_process(), act).object(format!("handler {name}")).detail(detail));
        let printer = self.context.printer;
        if printer.json {
            return printer.value(&entry);
        }
        printer.line(format!("{name} is {}", state.name()));
        if let Some(before) = self.approved_beside(&entry)? {
            printer.line(format!("the one approved before it stays in force: source {}", before.digest));
        }
        printer.note("run `0711 ingest`: files of its kind are read anew");
        Ok(())
    }

    /// Returns the approved handler of the same name that is in force beside this one.
    fn approved_beside(&self, entry: &::handlers::Entry) -> Outcome<Option<::handlers::Entry>> {
        let all = self.registry.list()?.into_iter();
        let mut same = all.filter(|other| other.name == entry.name && other.state == State::Approved);
        Ok(same.next().filter(|_| entry.state != State::Approved))
    }

    fn record(&self, entry: Record) {
        self.context.record(Log::customer(&self.customer), entry.outcome(Ending::Ok));
    }
}

/// The account that typed.
fn account() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Reads a source.
fn source(path: &Path) -> Outcome<String> {
    let act = format!("cannot read `{}`", path.display());
    let bytes = base::file::read_bounded(path, SOURCE_BYTES_MAX).during(act.clone())?;
    String::from_utf8(bytes).during(act)
}

/// Returns absolute paths: they are kept, and other processes have other current folders.
fn absolute(paths: &[PathBuf]) -> Outcome<Vec<PathBuf>> {
    let one = |path: &PathBuf| path.canonicalize().during(format!("cannot read `{}`", path.display()));
    paths.iter().map(one).collect::<Result<_, Failure>>()
}
