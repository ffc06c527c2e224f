use ::train::Registry;
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
    let path = match &args.verb {
        VersionsVerb::List => return list(context, &parts),
        VersionsVerb::Promote { name } => {
            // An unknown name is refused here, before anybody is asked.
            let registry = Registry::open(&parts.customer.loras())?;
            let is_ready = parts.is_ready(Role::Trainer).await;
            parts.or_stopped(Role::Trainer, is_ready)?;
            if !is_ready {
                let mut registry = registry;
                registry.promote(name, Clock::system().now())?;
                return served(context, registry.promoted());
            }
            format!("/v1/versions/{name}/promote")
        }
        VersionsVerb::Rollback => {
            let is_ready = parts.is_ready(Role::Trainer).await;
            parts.or_stopped(Role::Trainer, is_ready)?;
            if !is_ready {
                let mut registry = Registry::open(&parts.customer.loras())?;
                registry.rollback(Clock::system().now())?;
                return served(context, registry.promoted());
            }
            "/v1/versions/rollback".to_owned()
        }
    };
    let token = read_token(&parts.customer)?;
    let ask = Ask { token: Some(&token), body: Some(json!({})), ..Ask::new("POST", &path) };
    let _: Value = call_json(&parts.endpoint(Role::Trainer).await?, ask).await?;
    served(context, Registry::open(&parts.customer.loras())?.promoted())
}

fn served(context: &Context, promoted: Option<&str>) -> Outcome {
    if context.printer.json {
        return context.printer.value(&json!({"promoted": promoted}));
    }
    context.printer.line(format!("{} answers now", promoted.unwrap_or("the base model")));
    Ok(())
}

fn list(context: &Context, parts: &Parts) -> Outcome {
    let registry = Registry::open(&parts.customer.loras())?;
    if context.printer.json {
        let value = json!({"format": 1, "promoted": registry.promoted(), "versions": registry.versions(), "history": registry.history()});
        return context.printer.value(&value);
    }
    if registry.versions().is_empty() {
        context.printer.note("no adapter was trained yet; run `0711 train`");
    }
    for version in registry.versions() {
        let is_served = registry.promoted() == Some(version.name.as_str());
        let mark = if is_served { context.printer.good("serves  ") } else { "        ".to_owned() };
        let scores = format!("perplexity {:.2} → {:.2}", version.perplexity_before, version.perplexity_after);
        let decision = version.decision.as_str();
        context
            .printer
            .line(format!("{mark}{:<5} {}  {scores}  {decision}: {}", version.name, version.created, version.reason));
    }
    Ok(())
}
