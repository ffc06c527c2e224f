use stack::RotatingWriter;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    failure::{During, Outcome},
    start::watch_signals,
    verb::serve::log_to,
};

/// What systemd puts into the environment of a service that is to tell when it is ready, and that it lives (sd_notify(3)).
fn notify() -> ::agent::Notify {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    // The variables may be inherited from somebody else's service.
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let watchdog = number("WATCHDOG_USEC").filter(|_| is_ours).map(std::time::Duration::from_micros);
    ::agent::Notify::new(std::env::var_os("NOTIFY_SOCKET"), watchdog)
}

/// Runs the resident agent in the foreground. SIGTERM ends it and leaves the services running.
pub fn run(context: &Context) -> Outcome {
    let log = context.layout.agent_log();
    let writer = RotatingWriter::open(&log).during(format!("cannot open the log `{}`", log.display()))?;
    log_to(writer);
    // One thread is enough for waking up now and then; it keeps the resident part of the agent small.
    let runtime = Builder::new_current_thread().enable_all().build().during("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        watch_signals(shutdown.clone());
        Ok(::agent::run(context.layout.clone(), notify(), shutdown).await?)
    })
}
