use ::access::{Asker, People};
use audit::{Act, Entry, Log, Who};
use base::{Exit, Secret};
use serde_json::json;

use crate::{
    args::{AccessArgs, AccessVerb},
    context::Context,
    failure::{During, Failure, Outcome},
    printer::shown,
};

/// Shows or changes who may ask beside the administrator.
pub fn run(context: &Context, args: &AccessArgs) -> Outcome {
    let (customer, config) = context.installed()?;
    let path = customer.people();
    let mut people = People::read(&path)?;
    let (name, made) = match &args.verb {
        AccessVerb::List => {
            if config.permissions.is_off() && !context.printer.json {
                context.printer.note("permissions are off: whoever may ask may read everything");
            }
            return list(context, &people);
        }
        AccessVerb::Person { name, groups } => (name, people.put_person(name, groups)?),
        AccessVerb::Program { name, groups } => (name, people.put_program(name, groups)?),
        AccessVerb::Remove { name } => {
            if !people.remove(name) {
                let failure = Failure::new(Exit::Usage, format!("nobody is called `{}`", shown(name)));
                return Err(failure.remedy("`0711 access list` shows everybody"));
            }
            (name, None)
        }
    };
    base::file::private_dir(&customer.console_state()).during("cannot use the console's folder")?;
    people.write(&path)?;
    let (what, groups) = match &args.verb {
        AccessVerb::Person { groups, .. } => ("person", groups.join(", ")),
        AccessVerb::Program { groups, .. } => ("program", groups.join(", ")),
        _ => ("removed", String::new()),
    };
    let entry = Entry::new(Who::this_process(), Act::ConfigChange).object(format!("access of {name}"));
    context.record(Log::customer(&customer), entry.detail(format!("{what} {groups}").trim()));
    told(context, name, what, made.as_ref())
}

fn told(context: &Context, name: &str, what: &str, made: Option<&Secret>) -> Outcome {
    let printer = context.printer;
    if printer.json {
        return printer.value(&json!({"name": name, "what": what, "secret": made.map(Secret::expose)}));
    }
    match (what, made) {
        ("person", Some(password)) => printer.line(format!(
            "{} logs in with the password {}   (shown once)",
            shown(name),
            printer.bold(password.expose())
        )),
        (_, Some(token)) => {
            printer.line(format!("{} shows the token {}   (shown once)", shown(name), printer.bold(token.expose())));
        }
        ("removed", None) => printer.line(format!("{} may not ask any more", shown(name))),
        (_, None) => printer.line(format!("the groups of {} are changed", shown(name))),
    }
    Ok(())
}

fn list(context: &Context, people: &People) -> Outcome {
    let word = |asker: Asker| match asker {
        Asker::Person => "person",
        Asker::Program => "program",
    };
    let all = people.list();
    if context.printer.json {
        let all: Vec<_> = all
            .iter()
            .map(|(name, asker, groups)| json!({"name": name, "what": word(*asker), "groups": groups}))
            .collect();
        return context.printer.value(&json!({"format": 1, "access": all}));
    }
    if all.is_empty() {
        context.printer.note("nobody but the administrator may ask");
    }
    for (name, asker, groups) in all {
        context.printer.line(format!("{:8} {:24} {}", word(asker), shown(name), shown(&groups.join(", "))));
    }
    Ok(())
}
