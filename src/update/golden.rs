//! Golden questions: what a customer must always be answered, asked of the release that runs and of the one that is to come.
//!
//! Format: `golden.jsonl` in the customer's configuration folder, one `{"question": "…", "documents": ["…"]}` a line. One of the
//! documents must be cited; with an empty list the answer must abstain. Written by the administrator.

use std::time::Instant;

use base::{CustomerLayout, Slug, file};
use serde::Deserialize;

use crate::program::Program;
use crate::{Error, Score};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    question: String,
    #[serde(default)]
    documents: Vec<String>,
}

/// The part of `0711 ask --json` that is judged.
#[derive(Debug, Deserialize)]
struct Answer {
    abstained: bool,
    #[serde(default)]
    citations: Vec<Citation>,
}

#[derive(Debug, Deserialize)]
struct Citation {
    document: String,
}

const BYTES_MAX: u64 = 1 << 20;

/// Reads a customer's golden questions; none where the file is not there.
pub(crate) fn questions(customer: &CustomerLayout) -> Result<Vec<Question>, Error> {
    let path = customer.golden_questions();
    if !path.exists() {
        return Ok(Vec::new());
    }
    let format = |reason: String| Error::Format { path: path.clone(), reason };
    let bytes = file::read_bounded(&path, BYTES_MAX).map_err(|error| format(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| format(error.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| serde_json::from_str(line).map_err(|error| format(format!("line {}: {error}", index + 1))))
        .collect()
}

/// Asks all of them. A question that gets no answer at all is answered wrong; nothing to ask gives no score.
pub(crate) async fn ask(program: &Program<'_>, slug: &Slug, questions: &[Question]) -> Option<Score> {
    if questions.is_empty() {
        return None;
    }
    let (mut right, mut total_ms) = (0, 0);
    for question in questions {
        let begun = Instant::now();
        // The question stands behind `--`: it may begin with a dash.
        let said = program.run(&["--slug", slug.as_str(), "ask", "--json", "--", &question.question]).await;
        total_ms += u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let answer = said.ok().and_then(|said| serde_json::from_str::<Answer>(&said).ok());
        right += u32::from(answer.is_some_and(|answer| is_right(question, &answer)));
    }
    let asked = u32::try_from(questions.len()).unwrap_or(u32::MAX);
    Some(Score { right, asked, mean_ms: total_ms / u64::from(asked) })
}

fn is_right(question: &Question, answer: &Answer) -> bool {
    if question.documents.is_empty() {
        return answer.abstained;
    }
    !answer.abstained && answer.citations.iter().any(|cited| question.documents.contains(&cited.document))
}

/// Says what is worse about `after`, if anything is.
pub(crate) fn worse(before: Option<Score>, after: Option<Score>) -> Option<String> {
    let (before, after) = (before?, after?);
    (after.right < before.right).then(|| {
        format!(
            "{} of {} golden questions are answered as they should be, before it were {}",
            after.right, after.asked, before.right
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_right_when_it_cites_or_abstains_as_wanted() {
        let check = |documents: &[&str], abstained: bool, cited: &[&str]| {
            let question =
                Question { question: String::new(), documents: documents.iter().map(|d| (*d).to_owned()).collect() };
            let citations = cited.iter().map(|name| Citation { document: (*name).to_owned() }).collect();
            is_right(&question, &Answer { abstained, citations })
        };
        assert!(check(&["a", "b"], false, &["b"]));
        assert!(!check(&["a"], false, &["b"]));
        assert!(!check(&["a"], true, &["a"]));
        assert!(check(&[], true, &[]));
        assert!(!check(&[], false, &["a"]));
    }

    #[test]
    fn fewer_right_answers_are_worse_and_slower_ones_are_not() {
        let score = |right, mean_ms| Some(Score { right, asked: 5, mean_ms });
        assert_eq!(worse(score(4, 10), score(4, 900)), None);
        assert_eq!(worse(None, score(0, 1)), None);
        assert!(worse(score(4, 10), score(3, 10)).unwrap().contains("3 of 5"));
    }
}
