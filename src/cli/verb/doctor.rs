use agent::{Diagnosis, Finding, Severity};
use base::Exit;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    printer::shown,
    progress::Progress,
};

/// Looks for what is wrong. Exit code 15 says that something is.
pub async fn run(context: &Context) -> Outcome {
    let progress = Progress::start(context.printer, "looking");
    let diagnosis = agent::doctor(&context.layout, context.slug()).await;
    progress.finish(&format!("{} things looked at", diagnosis.looked_at.len()));
    if context.printer.json {
        context.printer.value(&diagnosis)?;
    } else {
        print(context, &diagnosis);
    }
    match diagnosis.is_ill() {
        // What is wrong was said already, with what mends it.
        true => Err(Failure::told(Exit::Ill)),
        false => Ok(()),
    }
}

fn print(context: &Context, diagnosis: &Diagnosis) {
    let printer = context.printer;
    let several = diagnosis.findings.iter().filter_map(|finding| finding.customer.as_ref());
    let is_several = several.collect::<std::collections::BTreeSet<_>>().len() > 1;
    for Finding { severity, customer, role, what, seen, remedy } in &diagnosis.findings {
        let mark = match severity {
            Severity::Broken => printer.bad("✗"),
            Severity::Warning => printer.warn("!"),
            Severity::Note => printer.dim("·"),
        };
        let customer = customer.as_ref().filter(|_| is_several).map(|slug| format!("{slug}: ")).unwrap_or_default();
        let role = role.map(|role| format!("{role}: ")).unwrap_or_default();
        printer.line(format!("{mark} {}", printer.bold(&format!("{customer}{role}{}", shown(what)))));
        if !seen.is_empty() {
            printer.line(format!("    seen: {}", shown(seen)));
        }
        printer.line(format!("    mend: {}", shown(remedy)));
    }
    if diagnosis.findings.is_empty() {
        printer.line(printer.good("nothing is wrong"));
    }
}
