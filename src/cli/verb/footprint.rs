use install::Goes;
use plan::bytes_for_people;

use crate::{context::Context, failure::Outcome, printer::shown};

/// Lists everything the installation has on this machine.
pub async fn run(context: &Context) -> Outcome {
    let customer = context.customer()?;
    let found = install::footprint(&context.layout, customer.slug()).await?;
    let printer = context.printer;
    if printer.json {
        return printer.value(&found);
    }
    let groups = [
        (Goes::WithUninstall, "removed by `0711 uninstall`"),
        (Goes::WithLastCustomer, "shared, removed with the last customer"),
        (Goes::WithPurge, "yours, removed only by `0711 uninstall --purge`"),
    ];
    for (goes, title) in groups {
        let mut traces = found.files.iter().filter(|trace| trace.goes == goes).peekable();
        if traces.peek().is_some() {
            printer.line(format!("{title}:"));
        }
        for trace in traces {
            let path = trace.path.display().to_string();
            printer.line(format!("  {:>8}  {}", bytes_for_people(trace.bytes), shown(&path)));
        }
    }
    if let Some(engine) = &found.engine {
        printer.line("on the Docker engine and in the packet filter, removed by `0711 uninstall`:");
        let of = |kind: &str, names: &[String]| {
            names.iter().for_each(|name| printer.line(format!("  {kind:<9}  {}", shown(name))));
        };
        of("container", &engine.made.containers);
        of("network", &engine.made.networks);
        of("image", &engine.images);
        of("table", &engine.tables);
    }
    Ok(())
}
