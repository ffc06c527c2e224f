use std::{collections::BTreeMap, path::Path};

use base::{Clock, CustomerLayout, Exit, Role, config::ServiceConfig, dsse::PublicKey, file};
use install::{
    control::Client,
    egress::{Counted, Runtime, Statement, check_report, last_ledger, report_key},
};
use serde_json::json;
use stack::{RoleRecord, egress::Verdict, http::CallError};

use crate::{
    args::EgressArgs,
    context::Context,
    failure::{During, Failure, Outcome},
    printer::{duration, shown},
};

/// Shows what tried to leave, signs it, or checks what was signed.
pub async fn run(context: &Context, args: &EgressArgs) -> Outcome {
    if let Some(path) = &args.check {
        return check(context, path, args.key.as_deref());
    }
    let (customer, config) = context.installed()?;
    let statement = look(context, &customer, &config).await?;
    let key = report_key(&customer)?;
    if let Some(path) = &args.report {
        let act = format!("cannot write `{}`", path.display());
        file::write_output(path, &statement.sign(&key)?).during(act)?;
    }
    show(context, &statement, &key.public(), args.report.as_deref())?;
    verdict(context, &statement)
}

fn check(context: &Context, path: &Path, key: Option<&str>) -> Outcome {
    let key = match key {
        Some(text) => PublicKey::from_hex(text.trim())
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot use the key after `--key`: {error}")))?,
        None => report_key(&context.installed()?.0)?.public(),
    };
    let statement = check_report(path, &key)?;
    if !context.printer.json {
        context.printer.note("the signature holds");
    }
    show(context, &statement, &key, None)?;
    verdict(context, &statement)
}

async fn look(context: &Context, customer: &CustomerLayout, config: &ServiceConfig) -> Outcome<Statement> {
    let now = || Clock::system().now();
    let Some(containers) = &config.containers else {
        let record = |role: Role| RoleRecord::read(&customer.role_record(role)).filter(RoleRecord::is_alive);
        let pids: BTreeMap<u32, Role> =
            Role::ALL.into_iter().filter_map(|role| Some((record(role)?.identity.pid, role))).collect();
        return Ok(Statement::of_processes(config, &pids, now()));
    };
    match Client::new(&context.layout).egress(customer.slug()).await {
        Ok(egress) => Ok(Statement::of_containers(config, &containers.project, egress.ledger.as_ref(), now())),
        // What it wrote down holds, up to where it looked last.
        Err(CallError::Connect { .. }) => {
            let ledger = last_ledger(customer)?;
            let mut statement = Statement::of_containers(config, &containers.project, ledger.as_ref(), now());
            statement.remarks.push("the agent does not run, and nobody has looked since".to_owned());
            Ok(statement)
        }
        Err(error) => Err(error.into()),
    }
}

fn show(context: &Context, statement: &Statement, key: &PublicKey, report: Option<&Path>) -> Outcome {
    let printer = context.printer;
    if printer.json {
        let key = json!({"id": key.id(), "public_key": key.hex()});
        return printer.value(&json!({"format": 1, "statement": statement, "key": key, "report": report}));
    }
    let word = match statement.verdict {
        Verdict::None => printer.good("nothing tried to leave"),
        Verdict::Attempts => printer.warn("something tried to leave"),
        Verdict::Unknown => printer.warn("unknown"),
    };
    printer.line(format!("{}  {word}", printer.bold(&shown(&statement.customer.name))));
    if let Some(Counted { since, until }) = statement.counted {
        let seconds = u64::try_from((until.millis() - since.millis()) / 1000).unwrap_or(0);
        printer.line(format!("counted    {since} to {until} ({})", duration(seconds)));
    }
    for (network, found) in &statement.networks {
        let attempts = &found.attempts;
        let counts = format!(
            "connections {}, datagrams {}, pings {}, others {}",
            attempts.connections, attempts.datagrams, attempts.pings, attempts.others
        );
        printer.line(format!("{:<10} {counts}  {}", network.name(), printer.dim(&format!("({})", found.bridge))));
    }
    for (role, found) in &statement.roles {
        printer.line(format!("{role:<10} without a route {}, names outside {}", found.without_route, found.names));
    }
    for found in &statement.connections {
        let connection = &found.connection;
        printer
            .line(format!("{:<10} {} {} to {}", found.role, connection.protocol, connection.local, connection.remote));
    }
    if statement.runtime == Runtime::Native && statement.connections.is_empty() {
        printer.line("now        no service is connected to another machine");
    }
    for gap in &statement.gaps {
        printer.line(format!("{} {} to {}", printer.warn("not counted"), gap.from, gap.until));
    }
    if statement.further_gaps > 0 {
        printer.line(format!("{} {} times more", printer.warn("not counted"), statement.further_gaps));
    }
    for remark in &statement.remarks {
        printer.line(format!("{}       {}", printer.warn("note"), shown(remark)));
    }
    printer.line(format!("key        {} ({})", key.hex(), key.id()));
    if let Some(path) = report {
        printer.note(format!("signed: {}", path.display()));
    }
    Ok(())
}

/// A script goes by the exit code; what was seen is printed already.
fn verdict(context: &Context, statement: &Statement) -> Outcome {
    let exit = match statement.verdict {
        Verdict::None => return Ok(()),
        Verdict::Attempts => Exit::Egress,
        Verdict::Unknown => Exit::Unknown,
    };
    // One document and no other.
    if context.printer.json {
        return Err(Failure::told(exit));
    }
    let (text, remedy) = match (statement.verdict, statement.runtime) {
        (Verdict::Unknown, Runtime::Docker) => (
            "whether something tried to leave is not known",
            "see the note above; the agent must run as root on a machine with `nft` (package `nftables`)",
        ),
        (Verdict::Unknown, Runtime::Native) => (
            "whether something tried to leave cannot be told without containers",
            "install with containers, or prove it in a network without a way out: `ip netns add quiet`, then `ip netns exec quiet 0711 start`",
        ),
        _ => (
            "something tried to leave the services' networks",
            "see above which network or service it was, and `0711 logs ROLE`",
        ),
    };
    Err(Failure::new(exit, text).remedy(remedy))
}
