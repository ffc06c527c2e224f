use std::time::Duration;

use base::{Clock, Exit, Timestamp};
use install::control::{AgentEvent, Client, EventKind, past_events};
use stack::http::CallError;
use tokio_util::sync::CancellationToken;

use crate::{
    args::EventsArgs,
    context::Context,
    failure::{Failure, Outcome},
    printer::shown,
};

const POLL: Duration = Duration::from_secs(1);

/// Shows what happened, from the file the agent keeps, and with `--follow` what comes.
pub async fn run(context: &Context, args: &EventsArgs, interrupt: CancellationToken) -> Outcome {
    let since = args.since.as_deref().map(|text| when(text, Clock::system().now())).transpose()?;
    let only = context.slug();
    let is_wanted = |event: &AgentEvent| only.is_none() || event.customer.is_none() || event.customer.as_ref() == only;
    let mut events: Vec<_> = past_events(&context.layout).into_iter().filter(|event| is_wanted(event)).collect();
    let mut last = events.last().map_or(0, |event| event.seq);
    match since {
        Some(since) => events.retain(|event| event.at >= since),
        None => drop(events.drain(..events.len().saturating_sub(args.lines))),
    }
    for event in &events {
        print(context, event)?;
    }
    if events.is_empty() && !args.follow && !context.printer.json {
        context.printer.note("nothing happened, as far as is remembered");
    }
    if !args.follow {
        return Ok(());
    }
    let client = Client::new(&context.layout);
    loop {
        tokio::select! {
            // Nothing is asked before the wait is over.
            () = interrupt.cancelled() => return Ok(()),
            () = tokio::time::sleep(POLL) => {}
        }
        match client.events(last).await {
            Ok(new) => {
                for event in new.iter().filter(|event| is_wanted(event)) {
                    print(context, event)?;
                }
                last = new.last().map_or(last, |event| event.seq);
            }
            // It is being replaced, or will be started again.
            Err(CallError::Connect { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn print(context: &Context, event: &AgentEvent) -> Outcome {
    let printer = context.printer;
    if printer.json {
        return printer.value(event);
    }
    let who = event.role.map_or_else(|| event.kind.name(), base::Role::name);
    let message = shown(&event.message);
    let is_bad = matches!(event.kind, EventKind::Work | EventKind::Drift | EventKind::Engine | EventKind::Disk)
        || message.contains("ended")
        || message.contains("cannot");
    let message = if is_bad { printer.warn(&message) } else { message };
    printer.line(format!("{}  {who:<8} {message}", printer.dim(&event.at.to_string())));
    Ok(())
}

/// Parses a moment, or how long ago it was.
fn when(text: &str, now: Timestamp) -> Outcome<Timestamp> {
    let wrong = || {
        let failure = Failure::new(Exit::Usage, format!("`{text}` is no time"));
        failure.remedy("give a time like 2026-11-25T08:00:00Z, or how long ago it was, like 30m, 2h or 7d")
    };
    if let Ok(at) = Timestamp::parse(text) {
        return Ok(at);
    }
    let seconds_of_unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let ago_ms = count.checked_mul(seconds_of_unit * 1000).filter(|ago| *ago >= 0).ok_or_else(wrong)?;
    Ok(Timestamp::from_millis(now.millis().saturating_sub(ago_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_how_long_ago() {
        let now = Timestamp::parse("2026-11-25T08:00:00Z").unwrap();
        for (text, expect) in [
            ("30m", "2026-11-25T07:30:00Z"),
            ("2h", "2026-11-25T06:00:00Z"),
            ("7d", "2026-11-18T08:00:00Z"),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ] {
            assert_eq!(when(text, now).ok().map(|at| at.to_string()).as_deref(), Some(expect), "{text}");
        }
        for text in ["", "h", "-2h", "2w", "yesterday", "99999999999999999d", "2ü"] {
            assert!(when(text, now).is_err(), "{text}");
        }
    }
}
