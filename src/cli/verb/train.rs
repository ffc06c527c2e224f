use std::sync::{Arc, Mutex, PoisonError};

use ::train::{Decision, Outcome as Trained, TrainJob};
use audit::{Act, Entry, Log, Who};
use base::{Clock, Exit, Role};
use license::Seen;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    args::TrainArgs,
    context::{Context, entitlement, read_token},
    failure::{During, Failure, Outcome},
    local::{Parts, present},
    progress::Progress,
};

/// Trains an adapter: in the service where it runs, in this process otherwise.
pub async fn run(context: &Context, args: &TrainArgs, interrupt: CancellationToken) -> Outcome {
    let parts = Parts::existing(context)?;
    let allowed = entitlement(&context.layout, &parts.customer, args.license.as_deref())?;
    let standing = allowed.standing(Clock::system().now(), &Seen::load(&parts.customer.seen())?);
    if !standing.allows_change() {
        return Err(Failure::new(Exit::License, format!("the license does not allow training: {standing}"))
            .remedy("ask the vendor for a new license; answering goes on"));
    }
    let mut progress = Progress::start(context.printer, "training");
    let is_ready = parts.is_ready(Role::Trainer).await;
    parts.or_stopped(Role::Trainer, is_ready)?;
    let trained = match &parts.config {
        Some(_) if is_ready => {
            let params = json!({"minutes": args.minutes, "seed": args.seed});
            let token = read_token(&parts.customer)?;
            let endpoint = parts.endpoint(Role::Trainer).await?;
            let result = crate::job::run(&endpoint, &token, params, &mut progress, interrupt).await;
            progress.abandon();
            serde_json::from_value(result?).during("the trainer's answer cannot be read")?
        }
        _ => {
            let job = TrainJob {
                base: base::config::ModelRef { path: present(&parts.models().chat)?, ..parts.models().chat.clone() },
                lake: parts.lake().await?,
                rights: parts.permissions().of_anybody(),
                loras_dir: parts.customer.loras(),
                work_dir: parts.customer.train_dir(),
                minutes: args.minutes,
                seed: args.seed,
                threads: std::thread::available_parallelism().map_or(2, usize::from),
                steps: None,
                clock: Clock::system(),
            };
            let shown = Arc::new(Mutex::new(Some(progress)));
            let report = {
                let shown = shown.clone();
                Arc::new(move |at: base::job::Progress| {
                    if let Some(progress) = shown.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                        progress.update(&at);
                    }
                })
            };
            let trained = ::train::run(job, report, interrupt).await;
            if let Some(progress) = shown.lock().unwrap_or_else(PoisonError::into_inner).take() {
                progress.abandon();
            }
            trained?
        }
    };
    if trained.decision == Decision::Promoted.as_str() {
        let entry =
            Entry::new(Who::this_process(), Act::Promote).object(trained.version.as_deref().unwrap_or_default());
        context.record(
            Log::customer(&parts.customer),
            entry.detail(format!("by the gate, after training: {}", trained.reason)),
        );
    }
    show(context, &trained)
}

fn show(context: &Context, trained: &Trained) -> Outcome {
    if context.printer.json {
        return context.printer.value(trained);
    }
    let name = trained.version.as_deref().unwrap_or("no version");
    context.printer.line(format!("{} {}: {}", context.printer.bold(name), trained.decision, trained.reason));
    if let (Some(before), Some(after)) = (trained.perplexity_before, trained.perplexity_after) {
        context.printer.line(format!("held-out perplexity {before:.2} before, {after:.2} after"));
    }
    let (steps, tokens, rate) = (trained.steps, trained.tokens, trained.tokens_per_second);
    context.printer.line(format!("{steps} steps, {tokens} tokens, {rate:.0} tokens/s, {:.0} s", trained.seconds));
    Ok(())
}
