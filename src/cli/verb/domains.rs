use ::ingest::{Corrected, Domain, correct, domain_of};
use base::{Clock, Exit, Role};
use serde_json::json;
use stack::http::Ask;

use crate::{
    args::{DomainArg, DomainsArgs, DomainsVerb},
    context::{Context, read_token},
    failure::{Failure, Outcome},
    local::Parts,
    printer::shown,
};

/// Shows where documents belong, or puts one right.
pub async fn run(context: &Context, args: &DomainsArgs) -> Outcome {
    let parts = Parts::existing(context)?;
    match &args.verb {
        None => list(context, &parts, args.domain).await,
        Some(DomainsVerb::Set { document, domain }) => set(context, &parts, document, (*domain).into()).await,
    }
}

async fn list(context: &Context, parts: &Parts, only: Option<DomainArg>) -> Outcome {
    let mut rows = parts.lake().await?.documents().await?;
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    let only = only.map(Domain::from);
    let known = rows.iter().filter_map(|row| Some((row, domain_of(row)?)));
    let known: Vec<_> = known.filter(|(_, domain)| only.is_none_or(|only| only == *domain)).collect();
    let of = |row: &lake::DocumentRow, key: &str| row.metadata.get(key).cloned().unwrap_or_default();
    if context.printer.json {
        let documents: Vec<_> = known
            .iter()
            .map(|(row, domain)| {
                json!({
                    "id": row.id,
                    "document": row.path,
                    "source": row.source,
                    "domain": domain,
                    "confidence": of(row, "domain_confidence").parse::<f32>().ok(),
                    "by": of(row, "domain_by"),
                })
            })
            .collect();
        return context.printer.value(&json!({"format": 1, "documents": documents}));
    }
    if known.is_empty() {
        context.printer.note("no document has a domain yet; `0711 ingest` gives each one");
    }
    for (row, domain) in known {
        let (sure, by) = (of(row, "domain_confidence"), of(row, "domain_by"));
        context.printer.line(format!("{:8} {sure:>4}  {by:8} {}", domain.name(), shown(&row.path)));
    }
    Ok(())
}

async fn set(context: &Context, parts: &Parts, document: &str, domain: Domain) -> Outcome {
    let is_ready = parts.is_ready(Role::Ingest).await;
    parts.or_stopped(Role::Ingest, is_ready)?;
    let corrected = if is_ready {
        let token = read_token(&parts.customer)?;
        let body = Some(json!({"document": document, "domain": domain}));
        let deadline = std::time::Duration::from_secs(600);
        let ask = Ask { token: Some(&token), body, deadline, ..Ask::new("PUT", "/v1/domains") };
        let reply = stack::http::call(&parts.endpoint(Role::Ingest).await?, ask).await?;
        match reply.status {
            200 => serde_json::from_slice::<Corrected>(&reply.body)
                .map_err(|error| Failure::from_error("cannot understand the service `ingest`", &error))?,
            404 => {
                let failure = Failure::new(Exit::Usage, reply.message());
                return Err(failure.remedy("`0711 domains` lists them; give the path as it stands there"));
            }
            _ => return Err(Failure::new(Exit::Failed, format!("the service `ingest` refused: {}", reply.message()))),
        }
    } else {
        let (lake, embedding) = (parts.lake().await?, parts.embedding().await?);
        correct(&lake, &embedding, &parts.customer.ingest_state(), document, domain, Clock::system()).await?
    };
    if context.printer.json {
        return context.printer.value(&corrected);
    }
    let before = corrected.before.map_or("nothing", Domain::name);
    context.printer.line(format!(
        "{} belongs to {} from the next `0711 ingest` on (before: {before}), and documents like it follow when they are read",
        shown(&corrected.document),
        corrected.domain.name()
    ));
    Ok(())
}
