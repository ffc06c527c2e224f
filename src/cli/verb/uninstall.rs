use std::io::IsTerminal;

use base::Exit;

use crate::{
    args::UninstallArgs,
    context::Context,
    failure::{Failure, Outcome},
    printer::shown,
    progress::Progress,
    wizard,
};

/// Removes what was made, and lists what it leaves.
pub async fn run(context: &Context, args: &UninstallArgs) -> Outcome {
    let customer = context.customer()?;
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(Exit::Usage, "nobody can be asked here").remedy("add `--yes`"));
        }
        let kept = if args.purge { "with its tables, adapters and license" } else { "and keep its data" };
        if !wizard::confirm(&format!("Remove the installation of `{}` {kept}?", customer.slug()))? {
            context.printer.note("nothing was changed");
            return Ok(());
        }
    }
    let progress = Progress::start(context.printer, "removing");
    let done = install::uninstall(&context.layout, customer.slug(), args.purge).await?;
    if context.printer.json {
        progress.abandon();
        return context.printer.value(&done);
    }
    let of_engine = match done.removed_from_engine.len() + done.removed_tables.len() {
        0 => String::new(),
        count => format!(", {count} containers, networks, images and tables of counters"),
    };
    progress.finish(&format!("{} files and folders{of_engine}", done.removed.len()));
    for left in &done.left_on_engine {
        context.printer.line(format!("image `{}` stays on the engine: {}", shown(&left.image), left.why));
    }
    if done.left.is_empty() {
        context.printer.line("nothing is left");
    } else {
        context.printer.line("left, because it is yours:");
        for path in &done.left {
            context.printer.line(format!("  {}", path.display()));
        }
    }
    Ok(())
}
