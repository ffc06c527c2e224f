use std::time::{Duration, Instant};

use base::{Exit, Role, job};
use install::control::{Client, Command, CustomerStatus, RoleStatus};
use stack::RoleState;

use crate::{
    args::RoleArg,
    context::Context,
    failure::{Failure, Outcome},
    progress::Progress,
};

const POLL: Duration = Duration::from_millis(300);
/// Loading models takes seconds; after this long something is wrong.
const READY_PATIENCE: Duration = Duration::from_secs(180);

/// Starts the agent if it does not run, and the services, or one service; returns when they are ready.
pub async fn start(context: &Context, args: &RoleArg) -> Outcome {
    let (customer, _) = context.installed()?;
    install::ensure_agent(&context.layout).await?;
    let client = Client::new(&context.layout);
    let command = Command { customer: Some(customer.slug().clone()), role: args.role };
    client.start(&command).await?;
    wait_ready(context, &client, args.role).await
}

/// Stops one service, or all of them and then the agent. Data stays.
pub async fn stop(context: &Context, args: &RoleArg) -> Outcome {
    let (customer, _) = context.installed()?;
    let progress = Progress::start(context.printer, "stopping");
    match args.role {
        Some(role) => {
            let command = Command { customer: Some(customer.slug().clone()), role: Some(role) };
            Client::new(&context.layout).stop(&command).await?;
        }
        None => install::stop_all(&context.layout, customer.slug()).await?,
    }
    progress.finish("data stays; `0711 start` goes on");
    Ok(())
}

/// Restarts the services, or one service; returns when they are ready again.
pub async fn restart(context: &Context, args: &RoleArg) -> Outcome {
    let (customer, _) = context.installed()?;
    install::ensure_agent(&context.layout).await?;
    let client = Client::new(&context.layout);
    client.restart(&Command { customer: Some(customer.slug().clone()), role: args.role }).await?;
    wait_ready(context, &client, args.role).await
}

async fn wait_ready(context: &Context, client: &Client, role: Option<Role>) -> Outcome {
    let customer = context.customer()?;
    let mut progress = Progress::start(context.printer, "starting");
    let started = Instant::now();
    loop {
        let status = client.status().await?;
        let found = status.customers.into_iter().find(|found| &found.slug == customer.slug());
        let Some(found) = found else {
            return Err(Failure::new(Exit::Failed, format!("the agent does not know `{}`", customer.slug())));
        };
        match progress_of(&found, role) {
            Step::Ready(count) => {
                progress.finish(&format!("{count} ready"));
                return Ok(());
            }
            Step::Stuck(text) => return Err(Failure::new(Exit::Unavailable, text).remedy("see `0711 logs ROLE`")),
            Step::Waiting(at) if started.elapsed() < READY_PATIENCE => progress.update(&at),
            Step::Waiting(at) => {
                let text = format!("not ready after {} s: {}", READY_PATIENCE.as_secs(), at.note);
                return Err(Failure::new(Exit::Unavailable, text).remedy("see `0711 status` and `0711 logs ROLE`"));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

enum Step {
    Ready(usize),
    Waiting(job::Progress),
    Stuck(String),
}

fn progress_of(customer: &CustomerStatus, role: Option<Role>) -> Step {
    if let Some(problem) = &customer.problem {
        return Step::Stuck(problem.clone());
    }
    let wanted: Vec<_> = customer.roles.iter().filter(|found| role.is_none_or(|role| role == found.role)).collect();
    let stuck = wanted.iter().find_map(|found| match (&found.state, &found.held) {
        (RoleState::NeedsAPerson { reason }, _) => Some(format!("`{}` does not stay up: {reason}", found.role)),
        // Asked for by name it will not come; asked for among all, the others are enough.
        (RoleState::Stopped, Some(held)) if role.is_some() => Some(format!("`{}` {held}", found.role)),
        _ => None,
    });
    if let Some(text) = stuck {
        return Step::Stuck(text);
    }
    let is_waiting = |found: &&&RoleStatus| found.state != RoleState::Ready && found.held.is_none();
    let waiting: Vec<_> = wanted.iter().filter(is_waiting).map(|found| found.role.name()).collect();
    match waiting.is_empty() {
        true => Step::Ready(wanted.len()),
        false => Step::Waiting(job::Progress {
            done: (wanted.len() - waiting.len()) as u64,
            total: wanted.len() as u64,
            unit: "services".to_owned(),
            note: format!("waiting for {}", waiting.join(", ")),
            eta_seconds: None,
        }),
    }
}
