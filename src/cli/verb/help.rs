use base::Exit;
use clap::CommandFactory;
use serde_json::json;

use crate::{
    args::{Cli, CompletionsArgs, HelpArgs},
    context::Context,
    failure::{Failure, Outcome},
};

/// Explains a verb, or the exit codes.
pub fn run(context: &Context, args: &HelpArgs) -> Outcome {
    if args.topic == ["exit-codes"] {
        return exit_codes(context);
    }
    let mut command = Cli::command();
    command.build();
    let mut wanted = &mut command;
    for word in &args.topic {
        wanted = wanted.find_subcommand_mut(word).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("there is no verb `{word}`")).remedy("run `0711 help` for the list")
        })?;
    }
    let text = wanted.render_long_help();
    context.printer.line(text.to_string().trim_end());
    Ok(())
}

fn exit_codes(context: &Context) -> Outcome {
    if context.printer.json {
        let codes: Vec<_> =
            Exit::ALL.iter().map(|exit| json!({"code": exit.code(), "means": exit.describe()})).collect();
        return context.printer.value(&json!({"exit_codes": codes}));
    }
    for exit in Exit::ALL {
        context.printer.line(format!("{:>4}  {}", exit.code(), exit.describe()));
    }
    Ok(())
}

/// Prints shell completions.
pub fn completions(context: &Context, args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "0711", &mut script);
    context.printer.line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
