//! The prompt: a few windows around the best units, and one short instruction.
//!
//! Prefill on a CPU costs more than the answer itself (some 400 tokens a second), so the windows are small; the trainer builds its examples with the same function, so the adapter
//! sees at work what it saw in training.

use engine::ChatMessage;

use crate::{
    candidates::{Candidate, Scored},
    language::Language,
};

/// Characters of passages in a prompt: about 350 tokens of German in SmolLM2's vocabulary (2.6 characters a token), 230 of English.
const PASSAGE_CHARS: usize = 900;
/// Characters of one window.
const WINDOW_CHARS: usize = 500;
const PASSAGES: usize = 3;

/// Returns the messages that ask the model to answer a question from passages.
pub fn messages(language: Language, question: &str, passages: &[String]) -> Vec<ChatMessage> {
    let (system, notes, ask) = match language {
        Language::German => (
            "Du beantwortest Fragen in einem kurzen Satz auf Deutsch. Verwende nur die Angaben aus den Notizen, mit denselben Wörtern und Zahlen.",
            "Notizen",
            "Frage",
        ),
        Language::English => (
            "You answer questions in one short sentence. Use only what the notes say, with the same words and numbers.",
            "Notes",
            "Question",
        ),
    };
    let body = passages.join("\n\n");
    vec![
        ChatMessage { role: "system".into(), content: system.into() },
        ChatMessage { role: "user".into(), content: format!("{notes}:\n{body}\n\n{ask}: {question}") },
    ]
}

/// Cuts windows around the best units: at most [`PASSAGES`], one per passage, best first.
pub(crate) fn windows(candidates: &[Candidate], scored: &[Scored]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut used = Vec::new();
    let mut left = PASSAGE_CHARS;
    for best in scored {
        if used.contains(&best.candidate) {
            continue;
        }
        used.push(best.candidate);
        let window = window(&candidates[best.candidate], best.unit, left.min(WINDOW_CHARS));
        left = left.saturating_sub(window.chars().count());
        out.push(window);
        if out.len() == PASSAGES || left < WINDOW_CHARS / 3 {
            break;
        }
    }
    out
}

/// Grows from the unit to both sides while the neighbours fit.
fn window(candidate: &Candidate, unit: usize, limit: usize) -> String {
    let (mut first, mut last) = (unit, unit + 1);
    let length = |i: usize| candidate.units[i].shown.chars().count() + 1;
    let mut total = length(unit);
    loop {
        let before = first.checked_sub(1).filter(|&i| total + length(i) <= limit);
        if let Some(i) = before {
            first = i;
            total += length(i);
        }
        let after = (last < candidate.units.len() && total + length(last) <= limit).then_some(last);
        if let Some(i) = after {
            last = i + 1;
            total += length(i);
        }
        if before.is_none() && after.is_none() {
            break;
        }
    }
    let body = candidate.units[first..last].iter().map(|u| u.shown.as_str()).collect::<Vec<_>>().join("\n");
    let text: String = body.chars().take(limit).collect();
    match candidate.hit.heading_path.last() {
        Some(heading) if !text.contains(heading.as_str()) => format!("{heading}\n{text}"),
        _ => text,
    }
}
