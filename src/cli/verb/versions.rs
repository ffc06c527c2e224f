use ::train::Registry;
use audit::{Act, Entry, Log, Outcome as Ending, Who};
use base::{Clock, Role};
use serde_json::{Value, json};
use stack::http::{Ask, call_json};

use crate::{
    args::{VersionsArgs, VersionsVerb},
    context::{Context, read_token},
    failure::Outcome,
    local::Parts,
};

/// Lists adapters, promotes one, or goes back. Where the trainer runs it is asked, because it tells the language model.
pub async fn run(context: &Context, args: &VersionsArgs) -> Outcome {
    let parts = Parts::existing(context)?;
    let (act, object) = match &args.verb {
        VersionsVerb::List => return list(context, &parts),
        VersionsVerb::Promote { name } => (Act::Promote, name.as_str()),
        VersionsVerb::Rollback => (Act::Rollback, "to what was served before"),
    };
    let rights = parts.permissions().of_anybody();
    let before = Registry::open(&parts.customer.loras())?.served(&rights).map(str::to_owned);
    let outcome = change(&parts, args).await.map(|registry| (registry.served(&rights).map(str::to_owned), registry));
    let entry = Entry::new(Who::this_process(), act).object(object);
    let name = |version: &Option<String>| version.clone().unwrap_or_else(|| "the base model".to_owned());
    let entry = match &outcome {
        Ok((now, _)) => entry.detail(format!("{} answers instead of {}", name(now), name(&before))),
        Err(failure) => entry.outcome(Ending::Failed).detail(failure.to_string()),
    };
    context.record(Log::customer(&parts.customer), entry);
    let (now, registry) = outcome?;
    served(context, &registry, now.as_deref())
}

/// Returns the registry as it is then.
async fn change(parts: &Parts, args: &VersionsArgs) -> Outcome<Registry> {
    let path = match &args.verb {
        VersionsVerb::List => return Ok(Registry::open(&parts.customer.loras())?),
        VersionsVerb::Promote { name } => {
            // An unknown name is refused here, before anybody is asked.
            let registry = Registry::open(&parts.customer.loras())?;
            let is_ready = parts.is_ready(Role::Trainer).await;
            parts.or_stopped(Role::Trainer, is_ready)?;
            if !is_ready {
                let mut registry = registry;
                registry.promote(name, Clock::system().now())?;
                return Ok(registry);
            }
            format!("/v1/versions/{name}/promote")
        }
        VersionsVerb::Rollback => {
            let is_ready = parts.is_ready(Role::Trainer).await;
            parts.or_stopped(Role::Trainer, is_ready)?;
            if !is_ready {
                let mut registry = Registry::open(&parts.customer.loras())?;
                registry.rollback(Clock::system().now())?;
                return Ok(registry);
            }
            "/v1/versions/rollback".to_owned()
        }
    };
    let token = read_token(&parts.customer)?;
    let ask = Ask { token: Some(&token), body: Some(json!({})), ..Ask::new("POST", &path) };
    let _: Value = call_json(&parts.endpoint(Role::Trainer).await?, ask).await?;
    Ok(Registry::open(&parts.customer.loras())?)
}

fn served(context: &Context, registry: &Registry, now: Option<&str>) -> Outcome {
    if context.printer.json {
        return context.printer.value(&json!({"promoted": registry.promoted(), "served": now}));
    }
    context.printer.line(format!("{} answers now", now.unwrap_or("the base model")));
    withheld(context, registry, now);
    Ok(())
}

/// Says why the promoted version does not answer.
fn withheld(context: &Context, registry: &Registry, now: Option<&str>) {
    if let Some(name) = registry.promoted().filter(|name| Some(*name) != now) {
        context.printer.note(format!(
            "{name} learnt from what not everybody may read: with permissions on the base model answers; run `0711 train`"
        ));
    }
}

fn list(context: &Context, parts: &Parts) -> Outcome {
    let registry = Registry::open(&parts.customer.loras())?;
    let served = registry.served(&parts.permissions().of_anybody());
    if context.printer.json {
        let value = json!({"format": 1, "promoted": registry.promoted(), "served": served, "versions": registry.versions(), "history": registry.history()});
        return context.printer.value(&value);
    }
    if registry.versions().is_empty() {
        context.printer.note("no adapter was trained yet; run `0711 train`");
    }
    for version in registry.versions() {
        let is_served = served == Some(version.name.as_str());
        let mark = if is_served { context.printer.good("serves  ") } else { "        ".to_owned() };
        let scores = format!("perplexity {:.2} → {:.2}", version.perplexity_before, version.perplexity_after);
        let decision = version.decision.as_str();
        context
            .printer
            .line(format!("{mark}{:<5} {}  {scores}  {decision}: {}", version.name, version.created, version.reason));
    }
    withheld(context, &registry, served);
    Ok(())
}
