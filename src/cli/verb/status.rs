use ::backup::{Memory, Schedule};
use base::{Clock, Exit};
use install::control::{Client, CustomerStatus, Status};
use serde_json::{Value, json};
use stack::http::CallError;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    printer::{bytes, duration},
    verb::{backup, control::painted},
};

/// Shows one screen: who it is for, what runs, what answers.
pub async fn run(context: &Context) -> Outcome {
    let (customer, _) = context.installed()?;
    let status = match Client::new(&context.layout).status().await {
        Ok(status) => status,
        Err(error @ CallError::Connect { .. }) => {
            let failure = Failure::from(error).during("the agent does not run");
            return Err(failure.remedy("run `0711 start`"));
        }
        Err(error) => return Err(error.into()),
    };
    let found = status.customers.iter().find(|found| &found.slug == customer.slug());
    let Some(found) = found else {
        return Err(Failure::new(Exit::Failed, format!("the agent does not know `{}`", customer.slug())));
    };
    // What is remembered of backups lies beside the data; a damaged note must not hide how the services are.
    let memory = Memory::read(&customer).ok();
    let schedule = Schedule::read(&customer).ok().flatten();
    if context.printer.json {
        let mut value = flat(&status, found);
        value["backup"] = json!({
            "schedule": schedule,
            "last_success": memory.as_ref().and_then(|memory| memory.last_success.as_ref()),
            "last_failure": memory.as_ref().and_then(|memory| memory.last_failure.as_ref()),
        });
        return context.printer.value(&value);
    }
    print(context, &status, found);
    let Some(memory) = memory.filter(|memory| schedule.is_some() || memory.last_place().is_some()) else {
        return Ok(());
    };
    for line in backup::last(&memory) {
        context.printer.line(context.printer.dim(&line));
    }
    Ok(())
}

/// The customer's fields and the agent's beside them, so that a script need not search a list.
fn flat(status: &Status, customer: &CustomerStatus) -> Value {
    let mut value = json!({"format": status.format, "agent": status.agent});
    if let (Some(object), Ok(Value::Object(fields))) = (value.as_object_mut(), serde_json::to_value(customer)) {
        object.extend(fields);
    }
    value
}

fn print(context: &Context, status: &Status, customer: &CustomerStatus) {
    let printer = context.printer;
    let now = Clock::system().now();
    let since = |at: base::Timestamp| duration(u64::try_from((now.millis() - at.millis()) / 1000).unwrap_or(0));
    let version = customer.version.as_deref().unwrap_or("installation not finished");
    printer.line(format!("{}  0711 {version}", printer.bold(&customer.name)));
    let license = customer.license.id.as_deref().unwrap_or("unreadable");
    printer.line(format!("license    {license}: {}", customer.license.standing));
    if let Some(documents) = customer.documents {
        printer.line(format!("documents  {documents}"));
    }
    printer.line(format!("adapter    {}", customer.adapter.as_deref().unwrap_or("none, the base model answers")));
    printer.line(format!("console    {}", customer.console_url));
    printer.line(format!("API        {}", customer.api_url));
    if let Some(free) = customer.disk_free_bytes {
        printer.line(format!("disk free  {}", bytes(free)));
    }
    if let Some(problem) = &customer.problem {
        printer.line(format!("{}    {problem}", printer.warn("problem")));
    }
    printer.line("");
    for role in &customer.roles {
        let memory = role.resident_bytes.map(bytes).unwrap_or_default();
        let up = role.started.filter(|_| role.pid.is_some()).map(|at| format!("up {}", since(at))).unwrap_or_default();
        let pid = role.pid.map(|pid| format!("pid {pid}")).unwrap_or_default();
        let state = painted(printer, &role.state);
        printer.line(format!("{:<8} {state} port {:<6} {pid:<12} {memory:>9}  {up}", role.role, role.port));
        if role.restarts > 0 {
            let last = role.last_error.as_deref().unwrap_or("unknown");
            printer
                .line(format!("         {}", printer.dim(&format!("restarted {} times; last: {last}", role.restarts))));
        }
    }
    let agent = &status.agent;
    let memory = bytes(agent.resident_bytes);
    printer.line(printer.dim(&format!("agent    pid {}, {memory}, up {}", agent.identity.pid, since(agent.started))));
}
