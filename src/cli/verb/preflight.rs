use std::{env, path::PathBuf};

use ::plan::{Draft, Runtime, SlotTable, draft};
use base::{API_OFFSET, CustomerLayout, Exit, Layout, Role, Timestamp, config::Containers};
use bundle::{Catalogue, Source};
use host::{Check, Engine, Memory, Need, Online, Place, PlaceKind, PortUse, Readers, Report, Verdict, Wanted};
use serde_json::json;

use crate::{
    args::{AnswerArgs, PreflightArgs},
    context::{Context, own_binary, read_config},
    failure::{During, Failure, Outcome},
    verb::plan::{Examined, examine, gather, layout, proven},
};

/// Shows whether this machine will do.
pub async fn run(context: &Context, args: &PreflightArgs) -> Outcome {
    let layout = layout(context, &args.answers);
    let examined = match is_planned(context, &layout, &args.answers) {
        true => match gather(context, &layout, &args.answers, false)? {
            Some((answers, _)) => {
                let release = proven(context, &layout, &args.answers).await?;
                Some(examine(&layout, answers, release).await?)
            }
            None => None,
        },
        false => None,
    };
    let mut wanted = match &examined {
        Some(examined) => by_plan(examined, &draft(&examined.inputs())?),
        None => by_minimum(&layout, args.answers.port_base)?,
    };
    if args.docker && wanted.docker.is_none() {
        wanted.docker = Some(Engine::from_docker_host(env::var("DOCKER_HOST").ok().as_deref()));
        wanted.readers = examined.as_ref().map(readers);
    }
    wanted.gpu |= args.gpu;
    wanted.online = if args.online { Some(online()?) } else { None };
    let report = host::preflight(&wanted);
    if context.printer.json {
        let judged_by = if examined.is_some() { "plan" } else { "minimum" };
        let (format, verdict, checks) = (report.format, report.verdict, &report.checks);
        context
            .printer
            .value(&json!({"format": format, "verdict": verdict, "judged_by": judged_by, "checks": checks}))?;
    } else {
        print(context, args, examined.as_ref(), &report);
    }
    verdict(&report, "mend what is marked `failed`, then run the same command again")
}

/// The first step of `install`: the same checks, by the plan that is about to be made.
///
/// Answers that allow no plan are left to the planner, which tells all their faults together with the machine's.
pub fn before_install(context: &Context, examined: &Examined) -> Outcome {
    let Ok(needed) = draft(&examined.inputs()) else { return Ok(()) };
    let report = host::preflight(&by_plan(examined, &needed));
    let printer = context.printer;
    if printer.json {
        printer.value(&json!({"event": "preflight", "verdict": report.verdict, "checks": report.checks}))?;
    } else {
        let warnings: Vec<_> = report.with(Verdict::Warning).map(|check| check.id.as_str()).collect();
        let warned = match warnings.len() {
            0 => "no warnings".to_owned(),
            _ => format!("warnings about {}; `0711 preflight` explains", warnings.join(", ")),
        };
        printer.note(format!("preflight: {} checks ok, {warned}", report.with(Verdict::Ok).count()));
    }
    let remedies: Vec<_> = report.with(Verdict::Failed).filter_map(|check| check.remedy.as_deref()).collect();
    verdict(&report, &remedies.join("; "))
}

fn verdict(report: &Report, remedy: &str) -> Outcome {
    let failed: Vec<_> = report.with(Verdict::Failed).collect();
    let text = match failed.as_slice() {
        [] => return Ok(()),
        [check] => format!("this machine will not do: {}: {}", check.id, check.seen),
        failed => {
            let lines: String = failed.iter().map(|check| format!("\n- {}: {}", check.id, check.seen)).collect();
            format!("this machine will not do, for {} reasons{lines}", failed.len())
        }
    };
    Err(Failure::new(Exit::Preflight, text).remedy(remedy))
}

/// Whether there are answers to judge by: given ones, or those of the installation that is here.
fn is_planned(context: &Context, layout: &Layout, args: &AnswerArgs) -> bool {
    let is_given = args.demo
        || args.answers.is_some()
        || args.license.is_some()
        || args.customer.is_some()
        || !args.folders.is_empty();
    is_given || context.with_layout(layout.clone()).installed().is_ok()
}

fn by_plan(examined: &Examined, Draft { plan, forecast }: &Draft) -> Wanted {
    let Examined { layout, own_ports, present, binary, models, .. } = examined;
    let missing: u64 =
        models.iter().filter(|model| !present.contains(&model.digest)).map(|model| model.size_bytes).sum();
    let binary_bytes = if present.contains(&binary.digest) { 0 } else { binary.size_bytes };
    let peak_bytes = forecast.disk_needed_bytes.saturating_sub(binary_bytes);
    let passing_bytes = forecast.disk_peak_bytes.saturating_sub(forecast.disk_bytes);
    let data = Need { peak_bytes, final_bytes: peak_bytes.saturating_sub(passing_bytes) };
    let temporary = if missing > 0 { Need::TEMPORARY } else { Need::default() };
    let latest = examined.seen.at_least(Timestamp::from_millis(0));
    Wanted {
        places: places(layout, data, binary_bytes, temporary, missing),
        memory: Memory {
            rest_bytes: forecast.memory_bytes,
            peak_bytes: forecast.memory_peak_bytes,
            held_bytes: if own_ports.is_empty() { 0 } else { forecast.memory_bytes },
        },
        ports: plan
            .ports()
            .iter()
            .map(|port| PortUse {
                port: port.port,
                purpose: port.purpose.clone(),
                is_ours: own_ports.contains(&port.port),
            })
            .collect(),
        latest_seen: (latest.millis() > 0).then_some(latest),
        // The engine the containers will run on; another one has no say.
        docker: (examined.answers.runtime == Runtime::Docker).then(|| Engine::from_docker_host(None)),
        readers: (examined.answers.runtime == Runtime::Docker).then(|| readers(examined)),
        gpu: examined.answers.is_gpu(),
        online: None,
    }
}

fn by_minimum(layout: &Layout, port_base: Option<u16>) -> Outcome<Wanted> {
    let binary_bytes = std::fs::metadata(own_binary()?).during("cannot read the program's own file")?.len();
    let models: u64 = Catalogue::embedded()?.models().iter().map(bundle::Model::size_bytes).sum();
    // Further customers get a block that is free; the first one's is fixed.
    let is_first = ::install::read_slots(layout)?.slots.is_empty();
    let base = port_base.or_else(|| is_first.then_some(SlotTable::FIRST_PORT));
    let port = |base: u16, offset: u16, purpose: String| {
        Some(PortUse { port: base.checked_add(offset)?, purpose, is_ours: false })
    };
    let mut ports: Vec<_> = base
        .into_iter()
        .flat_map(|base| {
            let roles = Role::ALL.map(|role| port(base, role.port_offset(), format!("service `{role}`")));
            roles.into_iter().chain([port(base, API_OFFSET, "API".to_owned())]).flatten()
        })
        .collect();
    ports.sort_by_key(|port| port.port);
    Ok(Wanted {
        places: places(layout, Need::DATA, binary_bytes, Need::TEMPORARY, models),
        memory: Memory::MINIMUM,
        ports,
        latest_seen: None,
        docker: None,
        readers: None,
        gpu: false,
        online: None,
    })
}

/// Whom the planner would run containers as.
fn readers(examined: &Examined) -> Readers {
    let (user, group) = Containers::user_for(examined.host.user);
    Readers { user, group, folders: examined.answers.folders.clone() }
}

/// What the machine of an installation is judged by, for somebody who looks at it from elsewhere.
pub fn for_support(layout: &Layout, customer: &CustomerLayout) -> Outcome<Wanted> {
    let config = read_config(customer)?;
    let own_ports = stack::own_ports(layout, customer.slug());
    let mut wanted = by_minimum(layout, config.as_ref().map(|config| config.port_base))?;
    for port in &mut wanted.ports {
        port.is_ours = own_ports.contains(&port.port);
    }
    wanted.latest_seen =
        license::Seen::load(&customer.seen()).ok().map(|seen| seen.at_least(Timestamp::from_millis(0)));
    wanted.docker = config.and_then(|config| config.containers).map(|_| Engine::from_docker_host(None));
    Ok(wanted)
}

fn places(layout: &Layout, data: Need, binary_bytes: u64, temporary: Need, models_bytes: u64) -> Vec<Place> {
    let both = |bytes| Need { peak_bytes: bytes, final_bytes: bytes };
    let place = |name, path: PathBuf, need, kind| Place { name, path, need, kind };
    let mut places = vec![
        place("data", layout.var(), data, PlaceKind::Data),
        place("bin", layout.bin_dir(), both(binary_bytes), PlaceKind::Programs),
        place("tmp", env::temp_dir(), temporary, PlaceKind::Passing { setting: "TMPDIR" }),
    ];
    // Models reach the installation through this user's cache; on the same file system as a link, which takes no room.
    let cache = Layout::model_cache();
    let device = |path| host::disk(path).ok().map(|disk| disk.device);
    if device(&cache) != device(&layout.var()) {
        places.push(place("cache", cache, both(models_bytes), PlaceKind::Passing { setting: "XDG_CACHE_HOME" }));
    }
    places
}

/// The hosts that models come from, and the proxy a download would take.
fn online() -> Outcome<Online> {
    let catalogue = Catalogue::embedded()?;
    let addresses = catalogue.models().iter().flat_map(|model| model.sources()).filter_map(|source| match source {
        Source::Https(address) => Some(address),
        _ => None,
    });
    let mut names: Vec<_> =
        addresses.filter_map(|address| reqwest::Url::parse(address).ok()?.host_str().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].iter().find_map(|name| env::var(name).ok());
    Ok(Online { names, proxy })
}

fn print(context: &Context, args: &PreflightArgs, examined: Option<&Examined>, report: &Report) {
    let printer = context.printer;
    printer.line(match examined {
        Some(examined) => format!("Judged by the plan for {}", printer.bold(examined.answers.customer.name.trim())),
        None => "Judged by minimums; with the answers of an install (`--folder`, `--answers`, `--demo`) by its plan"
            .to_owned(),
    });
    printer.line("");
    for check in report.checks.iter().filter(|check| !check.is_not_asked()) {
        let Check { id, verdict, seen, remedy, .. } = check;
        let word = format!("{:<8}", verdict.name());
        let word = match verdict {
            Verdict::Ok => printer.good(&word),
            Verdict::Warning => printer.warn(&word),
            Verdict::Failed => printer.bold(&word),
            Verdict::Unknown => printer.dim(&word),
        };
        printer.line(format!("{word} {id:<21} {seen}"));
        if let Some(remedy) = remedy {
            printer.line(format!("{:30} remedy: {remedy}", ""));
        }
    }
    let left_out = [(args.docker, "--docker"), (args.gpu, "--gpu"), (args.online, "--online")];
    let left_out: Vec<_> = left_out.into_iter().filter(|(asked, _)| !asked).map(|(_, flag)| flag).collect();
    if !left_out.is_empty() {
        printer.line(printer.dim(&format!("\nnot asked for, and so not looked at: {}", left_out.join(", "))));
    }
    let count = |verdict| report.with(verdict).filter(|check| !check.is_not_asked()).count();
    printer.line(format!(
        "\n{} ok, {} with a warning, {} failed, {} unknown",
        count(Verdict::Ok),
        count(Verdict::Warning),
        count(Verdict::Failed),
        count(Verdict::Unknown)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let check = |verdict: &Verdict| Check {
            id: format!("a.{}", verdict.name()),
            verdict: *verdict,
            seen: "something".into(),
            remedy: Some("mend it".into()),
            space: None,
        };
        let checks = verdicts.iter().map(check).collect();
        Report { format: 1, verdict: Verdict::Ok, checks }
    }

    #[test]
    fn only_what_failed_stops() {
        assert!(verdict(&report(&[Verdict::Ok, Verdict::Warning, Verdict::Unknown]), "x").is_ok());
        let one = verdict(&report(&[Verdict::Failed, Verdict::Unknown]), "mend it").err().unwrap();
        assert_eq!(
            (one.exit, one.to_string().as_str()),
            (Exit::Preflight, "this machine will not do: a.failed: something")
        );
        let two = verdict(&report(&[Verdict::Failed, Verdict::Failed]), "mend it").err().unwrap();
        assert_eq!(two.to_string().matches("- a.failed: something").count(), 2);
    }

    #[test]
    fn without_a_plan_the_first_block_of_ports_is_looked_at() {
        let layout = Layout::rooted(env::temp_dir().join("0711-no-such-root"));
        let ports = |base| {
            let wanted = by_minimum(&layout, base).unwrap_or_else(|failure| panic!("{failure}"));
            wanted.ports.iter().map(|port| port.port).collect::<Vec<_>>()
        };
        assert_eq!(ports(None), [5100, 5101, 5110, 5130, 5140, 5141, 5160]);
        assert_eq!(ports(Some(7000)), [7000, 7001, 7010, 7030, 7040, 7041, 7060]);
        assert_eq!(ports(Some(65_530)), [65_530, 65_531], "a block that does not fit is no reason to panic");
    }
}
