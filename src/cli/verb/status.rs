use std::{fmt::Write, time::Duration};

use ::backup::{Memory, Schedule};
use base::{Clock, Exit, Timestamp};
use install::control::{Client, CustomerStatus, DiskStage, RoleStatus, Status, WorkVerdict};
use serde_json::{Value, json};
use stack::{RoleState, http::CallError};
use tokio_util::sync::CancellationToken;

use crate::{
    args::StatusArgs,
    context::Context,
    failure::{Failure, Outcome},
    printer::{Printer, bytes, duration, shown},
    verb::backup,
};

const DRAW_EVERY: Duration = Duration::from_secs(2);

/// Shows one screen: who it is for, what runs, how it does, and what a person should look at.
pub async fn run(context: &Context, args: &StatusArgs, interrupt: CancellationToken) -> Outcome {
    if !args.watch {
        let (status, customer) = ask(context).await?;
        if context.printer.json {
            return context.printer.value(&flat(context, &status, &customer));
        }
        context.printer.line(screen(context, &status, &customer, Clock::system().now()).trim_end());
        return Ok(());
    }
    loop {
        match ask(context).await {
            Ok((status, customer)) if context.printer.json => {
                context.printer.value(&flat(context, &status, &customer))?
            }
            Ok((status, customer)) => {
                context.printer.redraw(&screen(context, &status, &customer, Clock::system().now()));
            }
            Err(failure) if failure.exit == Exit::Usage => return Err(failure),
            // An agent that is being replaced comes back.
            Err(failure) => context.printer.redraw(&format!("{failure}\n")),
        }
        tokio::select! {
            // Nothing is under way while we wait.
            () = interrupt.cancelled() => return Ok(()),
            () = tokio::time::sleep(DRAW_EVERY) => {}
        }
    }
}

async fn ask(context: &Context) -> Outcome<(Status, CustomerStatus)> {
    let (customer, _) = context.installed()?;
    let status = match Client::new(&context.layout).status().await {
        Ok(status) => status,
        Err(error @ CallError::Connect { .. }) => {
            let failure = Failure::from(error).during("the agent does not run");
            return Err(failure.remedy("run `0711 start`; `0711 doctor` looks closer"));
        }
        Err(error) => return Err(error.into()),
    };
    let found = status.customers.iter().find(|found| &found.slug == customer.slug()).cloned();
    let missing = || Failure::new(Exit::Failed, format!("the agent does not know `{}`", customer.slug()));
    let found = found.ok_or_else(missing)?;
    Ok((status, found))
}

/// What is remembered of backups lies beside the data; a damaged note must not hide how the services are.
struct Backups {
    memory: Option<Memory>,
    schedule: Option<Schedule>,
}

impl Backups {
    fn of(context: &Context) -> Self {
        let Ok((customer, _)) = context.installed() else {
            return Self { memory: None, schedule: None };
        };
        Self { memory: Memory::read(&customer).ok(), schedule: Schedule::read(&customer).ok().flatten() }
    }

    /// What a person reads: nothing where nobody makes backups.
    fn lines(&self) -> Vec<String> {
        match &self.memory {
            Some(memory) if self.schedule.is_some() || memory.last_place().is_some() => backup::last(memory),
            _ => Vec::new(),
        }
    }
}

/// The customer's fields and the agent's beside them, so that a script need not search a list.
fn flat(context: &Context, status: &Status, customer: &CustomerStatus) -> Value {
    let mut value = json!({"format": status.format, "agent": status.agent, "host": status.host});
    let backups = Backups::of(context);
    value["backup"] = json!({
        "schedule": backups.schedule,
        "last_success": backups.memory.as_ref().and_then(|memory| memory.last_success.as_ref()),
        "last_failure": backups.memory.as_ref().and_then(|memory| memory.last_failure.as_ref()),
    });
    if let (Some(object), Ok(Value::Object(fields))) = (value.as_object_mut(), serde_json::to_value(customer)) {
        object.extend(fields);
    }
    value
}

/// Writing to a string cannot fail.
fn screen(context: &Context, status: &Status, customer: &CustomerStatus, now: Timestamp) -> String {
    let printer = context.printer;
    let mut out = String::new();
    head(&mut out, printer, customer);
    let _ = writeln!(out, "\n{}", printer.dim("service   state           does its work    p50     p95   memory  up"));
    for role in &customer.roles {
        row(&mut out, printer, role, now);
    }
    let agent = &status.agent;
    let agent = format!(
        "agent     pid {}, {}, up {}",
        agent.identity.pid,
        bytes(agent.resident_bytes),
        since(agent.started, now)
    );
    let _ = writeln!(out, "{}", printer.dim(&agent));
    for line in Backups::of(context).lines() {
        let _ = writeln!(out, "{}", printer.dim(&line));
    }
    worries(&mut out, printer, status, customer);
    out
}

fn since(at: Timestamp, now: Timestamp) -> String {
    duration(u64::try_from((now.millis() - at.millis()) / 1000).unwrap_or(0))
}

fn head(out: &mut String, printer: Printer, customer: &CustomerStatus) {
    let version = customer.version.as_deref().unwrap_or("installation not finished");
    let _ = writeln!(out, "{}  0711 {version}", printer.bold(&shown(&customer.name)));
    let mut line = |name: &str, text: &str| _ = writeln!(out, "{name:<10}{text}");
    let standing = format!("{}: {}", customer.license.id.as_deref().unwrap_or("unreadable"), customer.license.standing);
    line("license", &if customer.license.standing == "valid" { standing } else { printer.warn(&standing) });
    if let Some(documents) = customer.documents {
        line("documents", &documents.to_string());
    }
    line("adapter", customer.adapter.as_deref().unwrap_or("none, the base model answers"));
    line("console", &customer.console_url);
    line("API", &customer.api_url);
    if let Some(free) = customer.disk_free_bytes {
        let is_short = customer.disk.as_ref().is_some_and(|disk| disk.stage > DiskStage::Room);
        let text = format!("{} free", bytes(free));
        line("disk", &if is_short { printer.warn(&text) } else { text });
    }
    if let Some(changes) = &customer.changes {
        let is_in_effect = !customer.drift.iter().any(|drift| drift.what == "compose");
        let word = if is_in_effect { "is in effect" } else { "is there" };
        line("changes", &format!("`{}` {word}", shown(&changes.display().to_string())));
    }
}

fn row(out: &mut String, printer: Printer, role: &RoleStatus, now: Timestamp) {
    let state = match &role.held {
        Some(_) => printer.warn(&format!("{:<14}", "rests")),
        None => painted(printer, &role.state),
    };
    let work = role.work.as_ref();
    let verdict = match work.map(|work| work.verdict) {
        None => printer.dim(&format!("{:<14}", if role.pid.is_some() { "not asked yet" } else { "" })),
        Some(WorkVerdict::Good) => printer.good(&format!("{:<14}", "yes")),
        Some(WorkVerdict::Failing) => printer.bad(&format!("{:<14}", "no")),
        Some(other) => format!("{:<14}", other.word()),
    };
    let time = |value: Option<u64>| value.map(milliseconds).unwrap_or_default();
    let (p50, p95) = (time(work.and_then(|work| work.p50_ms)), time(work.and_then(|work| work.p95_ms)));
    let memory = role.resident_bytes.map(bytes).unwrap_or_default();
    let up = role.started.filter(|_| role.pid.is_some()).map(|at| since(at, now)).unwrap_or_default();
    let _ = writeln!(out, "{:<9} {state}  {verdict} {p50:>6}  {p95:>6}  {memory:>8}  {up}", role.role.name());
    let mut note = |text: String| _ = writeln!(out, "          {}", printer.dim(&shown(&text)));
    if let Some(held) = &role.held {
        note(held.clone());
    }
    if let RoleState::NeedsAPerson { reason } | RoleState::Unhealthy { reason } = &role.state {
        note(reason.clone());
    }
    if let Some(work) = work.filter(|work| work.verdict == WorkVerdict::Failing && work.failures == 1) {
        note(work.note.clone());
    }
    if role.restarts > 0 {
        let last = role.last_error.as_deref().unwrap_or("unknown");
        note(format!("restarted {} times; last: {last}", role.restarts));
    }
}

fn worries(out: &mut String, printer: Printer, status: &Status, customer: &CustomerStatus) {
    let mut lines = Vec::new();
    if let Some(problem) = &customer.problem {
        lines.push(format!("{}: {}", printer.warn("problem"), shown(problem)));
    }
    if let Some(disk) = customer.disk.as_ref().filter(|disk| disk.stage > DiskStage::Room) {
        lines.push(format!("{}: {}", printer.warn("disk"), shown(&disk.why)));
    }
    for drift in &customer.drift {
        let role = drift.role.map(|role| format!("{role}: ")).unwrap_or_default();
        lines.push(format!("{}: {role}{}; {}", printer.warn("drift"), shown(&drift.cause), shown(&drift.remedy)));
    }
    for change in &status.host.changes {
        lines.push(format!("{}: {}", printer.dim("changed since all was well"), shown(change)));
    }
    if !lines.is_empty() {
        let _ = writeln!(out, "\n{}", lines.join("\n"));
    }
}

/// Names a role's state in the colour that fits it.
fn painted(printer: Printer, state: &RoleState) -> String {
    let word = format!("{:<14}", state.word());
    match state {
        RoleState::Ready => printer.good(&word),
        RoleState::Stopped => printer.dim(&word),
        RoleState::NeedsAPerson { .. } => printer.bad(&word),
        _ => printer.warn(&word),
    }
}

fn milliseconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", ms as f64 / 1000.0),
    }
}
