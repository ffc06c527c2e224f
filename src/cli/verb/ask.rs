use answer::{AskEvent, Brain, Question, promoted};
use base::{Clock, Exit};
use futures::StreamExt;

use crate::{
    args::AskArgs,
    context::Context,
    failure::{Failure, Outcome},
    local::Parts,
    printer::shown,
};

/// Who asks, as the lake records it.
const ASKER: &str = "cli";

/// Answers one question, sentence by sentence, then names the sources.
pub async fn run(context: &Context, args: &AskArgs) -> Outcome {
    let parts = Parts::existing(context)?;
    let brain = open(&parts).await?;
    let mut events = std::pin::pin!(brain.ask(Question::new(&args.question, ASKER)));
    let printer = context.printer;
    let mut first = true;
    while let Some(event) = events.next().await {
        match event? {
            AskEvent::Sentence(sentence) if !printer.json => {
                let mark = sentence.citation.map(|n| format!(" [{n}]")).unwrap_or_default();
                let lead = if first { "\n" } else { "" };
                first = false;
                printer.line(format!("{lead}{}{}", shown(&sentence.text), printer.good(&mark)));
            }
            AskEvent::Done(answer) if printer.json => return printer.value(&answer),
            AskEvent::Done(answer) => {
                show_sources(context, &answer);
                return Ok(());
            }
            AskEvent::Retrieved { .. } | AskEvent::Citation(_) | AskEvent::Sentence(_) => {}
        }
    }
    Err(Failure::new(Exit::Failed, "the answer broke off"))
}

/// Wires a brain from what is here: services or libraries.
pub async fn open(parts: &Parts) -> Outcome<Brain> {
    let lake = parts.lake().await?;
    let embedding = parts.embedding().await?;
    let chat = parts.chat().await?;
    Ok(Brain::new(lake, embedding, chat, promoted(parts.customer.loras(), parts.permissions()), Clock::system()))
}

fn show_sources(context: &Context, answer: &answer::Answer) {
    let printer = context.printer;
    if !answer.citations.is_empty() {
        printer.line("");
    }
    for citation in &answer.citations {
        let place = if citation.place.is_empty() { String::new() } else { format!(", {}", shown(&citation.place)) };
        printer.line(format!(
            "{} {}{place}",
            printer.good(&format!("[{}]", citation.n)),
            printer.bold(&shown(&citation.document))
        ));
        printer.line(format!(
            "    {}",
            printer.dim(&format!("“{}”", shown(&citation.quote.split_whitespace().collect::<Vec<_>>().join(" "))))
        ));
    }
    for note in &answer.notes {
        printer.note(format!("note: {note}"));
    }
    let seconds = answer.timings.total_ms as f64 / 1000.0;
    printer.note(printer.dim(&format!("\nadapter {}, {seconds:.1} s", answer.version)));
}
