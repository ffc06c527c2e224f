use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    process::ExitCode,
};

use base::Exit;
use clap::Parser;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    args::{AgentVerb, Cli, Verb, WorkerVerb},
    context::Context,
    failure::{Failure, Outcome},
    printer::Printer,
    verb,
};

/// Deep recursion in the query planner, and in unoptimised builds of it, needs more than the default of 2 MiB.
const STACK_BYTES: usize = 16 << 20;

/// Parses the command line, runs the verb, prints a failure, and returns the exit code.
pub fn main() -> ExitCode {
    unblock_index_writer();
    // The parsing worker starts before anything else is set up: it shall hold nothing it does not need.
    if is_worker("extract") {
        extract::worker::main();
    }
    if is_worker("handler") {
        extract::handler::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nothing can be done about a terminal that is gone.
            let _ = error.print();
            return ExitCode::from(exit.code());
        }
    };
    let printer = Printer::new(cli.global.json);
    match check_cpu().and_then(|()| run(cli, printer)) {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(failure) => {
            printer.failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

/// Gives Lance's full-text index a queue that never fills.
///
/// Lance 8.0.1 fills that queue from a thread of its compute pool and empties it by work for the same pool, which has one thread on machines
/// of up to three processors: a queue of the default size stops an index of some ten thousand passages for ever (seen in
/// `InnerBuilder::write_posting_lists`). What is queued is in memory already: an entry stands for 256 words, a place in the queue for some fifty bytes.
fn unblock_index_writer() {
    const QUEUE: (&str, &str) = ("LANCE_FTS_WRITE_QUEUE_SIZE", "65536");
    // SAFETY: the program has one thread as yet, so nobody reads the environment meanwhile.
    unsafe { std::env::set_var(QUEUE.0, QUEUE.1) };
}

fn is_worker(what: &str) -> bool {
    let mut words = std::env::args_os().skip(1);
    let expected: [OsString; 2] = ["worker".into(), what.into()];
    expected.iter().all(|word| words.next().as_ref() == Some(word)) && words.next().is_none()
}

fn check_cpu() -> Outcome {
    let missing = host::missing_v3();
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!(
        "this processor lacks {}, which 0711 needs (x86-64-v3: Intel Haswell, AMD Excavator or newer)",
        missing.join(", ")
    );
    Err(Failure::new(Exit::Preflight, text))
}

fn run(cli: Cli, printer: Printer) -> Outcome {
    // Two providers are compiled in by our dependencies; rustls wants to be told which one counts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let context = Context::new(&cli.global, printer);
    match cli.verb {
        Verb::Serve(args) => return verb::serve::run(&context, &args),
        Verb::Probe(args) => return verb::probe::run(&context, &args),
        Verb::Agent(args) => match args.verb {
            AgentVerb::Run => return verb::agent::run(&context),
        },
        Verb::Worker(args) => match args.verb {
            WorkerVerb::Extract => extract::worker::main(),
            WorkerVerb::Handler => extract::handler::main(),
        },
        Verb::Completions(args) => return verb::help::completions(&context, &args),
        Verb::Help(args) => return verb::help::run(&context, &args),
        _ => {}
    }
    log_to_stderr(cli.global.verbose);
    let runtime = runtime()?;
    let interrupt = CancellationToken::new();
    let outcome = runtime.block_on(async {
        watch_signals(interrupt.clone());
        match cli.verb {
            Verb::Install(args) => verb::install::run(&context, &args, interrupt).await,
            Verb::Plan(args) => verb::plan::run(&context, &args).await,
            Verb::Preflight(args) => verb::preflight::run(&context, &args).await,
            Verb::Status(args) => verb::status::run(&context, &args, interrupt).await,
            Verb::Events(args) => verb::events::run(&context, &args, interrupt).await,
            Verb::Doctor => verb::doctor::run(&context).await,
            Verb::Logs(args) => verb::logs::run(&context, &args, interrupt).await,
            Verb::Start(args) => verb::control::start(&context, &args).await,
            Verb::Stop(args) => verb::control::stop(&context, &args).await,
            Verb::Restart(args) => verb::control::restart(&context, &args).await,
            Verb::Uninstall(args) => verb::uninstall::run(&context, &args).await,
            Verb::Update(args) => verb::update::run(&context, &args, interrupt).await,
            Verb::Footprint => verb::footprint::run(&context).await,
            Verb::Egress(args) => verb::egress::run(&context, &args).await,
            Verb::Ingest(args) => verb::ingest::run(&context, &args, interrupt).await,
            Verb::Domains(args) => verb::domains::run(&context, &args).await,
            Verb::Handlers(args) => verb::handlers::run(&context, &args).await,
            Verb::Extract(args) => verb::extract::run(&context, &args).await,
            Verb::Access(args) => verb::access::run(&context, &args),
            Verb::Search(args) => verb::search::run(&context, &args).await,
            Verb::Sql(args) => verb::sql::run(&context, &args).await,
            Verb::Graph(args) => verb::graph::run(&context, &args).await,
            Verb::Lake(args) => verb::lake::run(&context, &args).await,
            Verb::Ask(args) => verb::ask::run(&context, &args).await,
            Verb::Train(args) => verb::train::run(&context, &args, interrupt).await,
            Verb::Versions(args) => verb::versions::run(&context, &args).await,
            Verb::Audit(args) => verb::audit::run(&context, &args).await,
            Verb::SupportBundle(args) => verb::support::run(&context, &args).await,
            Verb::Backup(args) => verb::backup::run(&context, &args, interrupt).await,
            Verb::License(args) => verb::license::run(&context, &args),
            Verb::Models(args) => verb::models::run(&context, &args).await,
            Verb::Bundle(args) => verb::bundle::run(&context, &args, interrupt).await,
            Verb::Release(args) => verb::release::run(&context, &args).await,
            Verb::Serve(_)
            | Verb::Probe(_)
            | Verb::Agent(_)
            | Verb::Worker(_)
            | Verb::Completions(_)
            | Verb::Help(_) => Ok(()),
        }
    });
    // Blocking work that outlives its verb (a parser, a model) must not hold the prompt back.
    runtime.shutdown_background();
    outcome
}

/// Makes the runtime of a verb or a role.
pub fn runtime() -> Outcome<tokio::runtime::Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(4).thread_stack_size(STACK_BYTES).enable_all().build();
    runtime.map_err(|error| Failure::from_error("cannot start the runtime", &error))
}

/// Cancels `interrupt` on Ctrl-C or SIGTERM. A second signal ends the program at once.
pub fn watch_signals(interrupt: CancellationToken) {
    tokio::spawn(async move {
        let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return };
        loop {
            tokio::select! {
                // Both arms only take a signal off a queue: nothing is lost when the other one wins.
                pressed = tokio::signal::ctrl_c() => if pressed.is_err() { return },
                _ = term.recv() => {}
            }
            if interrupt.is_cancelled() {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            interrupt.cancel();
        }
    });
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    // The kernel of Delta calls it an error that a table is not there yet; whoever opens one asks that first.
    let filter = EnvFilter::new(format!("{level},delta_kernel=off,buoyant_kernel=off"));
    let colours = io::stderr().is_terminal();
    // A line that cannot be written, on a full disk, is lost; complaining about it on the standard error of the same disk would end the process.
    let subscriber = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).with_target(verbose > 1);
    subscriber.log_internal_errors(false).init();
}
