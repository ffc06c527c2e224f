//! What the lake holds that can be learnt from: passages, and exchanges that people vouched for.

use std::collections::{BTreeMap, HashMap};

use base::{Digest, Rights};
use lake::{Access, Verdict};

use crate::{Error, random::Random};

/// Passages asked of the lake at once.
const PAGE: usize = 500;

/// One chunk with what its document is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Passage {
    pub(crate) id: String,
    pub(crate) document_id: String,
    pub(crate) document: String,
    pub(crate) heading_path: Vec<String>,
    pub(crate) german: bool,
    pub(crate) text: String,
}

/// A question with the answer a person confirmed or wrote.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exchange {
    pub(crate) id: String,
    pub(crate) question: String,
    pub(crate) answer: String,
    /// Quotes the answer stood on.
    pub(crate) quotes: Vec<String>,
    /// The citations as recorded, to see which documents they name.
    pub(crate) citations: String,
}

/// Everything one run may learn from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Corpus {
    pub(crate) passages: Vec<Passage>,
    pub(crate) exchanges: Vec<Exchange>,
}

/// Reads at most `most` passages, and all vouched-for exchanges, of what these rights may read: an adapter answers everybody.
///
/// Chunk ids are digests, so a range of them is a random sample of a large lake; where it begins
/// depends on the seed, so that nights with different seeds see different parts.
pub(crate) async fn gather(lake: &Access, rights: &Rights, most: usize, seed: u64) -> Result<Corpus, Error> {
    let rows = lake.documents().await?.into_iter().filter(|row| rights.may_read(&row.readers));
    let documents: HashMap<String, String> = rows.map(|row| (row.id, row.title.unwrap_or(row.name))).collect();
    let total = usize::try_from(lake.stats().await?.chunks).unwrap_or(usize::MAX);
    let mut after = (total > most).then(|| format!("{:016x}", Random::new(seed).next()));
    let mut wrapped = after.is_none();
    let mut passages = BTreeMap::new();
    while passages.len() < most {
        let page = lake.all_chunks(after.as_deref(), PAGE.min(most - passages.len())).await?;
        let Some(last) = page.last() else {
            if wrapped {
                break;
            }
            wrapped = true;
            after = None;
            continue;
        };
        after = Some(last.id.clone());
        for row in page {
            let Some(document) = documents.get(&row.document_id) else { continue };
            let passage = Passage {
                document: document.clone(),
                document_id: row.document_id,
                heading_path: row.heading_path,
                german: row.language.is_some_and(|code| code.starts_with("de")),
                text: row.text,
                id: row.id.clone(),
            };
            passages.insert(row.id, passage);
        }
    }
    Ok(Corpus { passages: passages.into_values().collect(), exchanges: exchanges(lake, rights, &documents).await? })
}

/// Exchanges whose newest feedback is a correction, or an approval of an answer that was given. Where rights have limits, only those that
/// stand on documents they may read.
async fn exchanges(
    lake: &Access,
    rights: &Rights,
    documents: &HashMap<String, String>,
) -> Result<Vec<Exchange>, Error> {
    let mut verdicts = HashMap::new();
    let mut feedback = lake.feedback_since(0).await?;
    feedback.sort_by_key(|word| word.at_ms);
    for word in feedback {
        verdicts.insert(word.interaction_id.clone(), word);
    }
    let mut vouched = Vec::new();
    for exchange in lake.interactions(0).await? {
        let Some(word) = verdicts.get(&exchange.id) else { continue };
        let correction = word.correction.as_ref().filter(|text| !text.trim().is_empty());
        let answer = match (correction, word.verdict) {
            (Some(correction), _) => correction.clone(),
            (None, Verdict::Up) if !exchange.abstained => exchange.answer,
            _ => continue,
        };
        let is_open = |citation: &serde_json::Value| {
            citation.get("document_id").and_then(|id| id.as_str()).is_some_and(|id| documents.contains_key(id))
        };
        let cited = exchange.citations.as_array().map(Vec::as_slice).unwrap_or_default();
        if !rights.is_all() && (cited.is_empty() || !cited.iter().all(is_open)) {
            continue;
        }
        let quote = |citation: &serde_json::Value| Some(citation.get("quote")?.as_str()?.to_owned());
        let quotes = exchange.citations.as_array().map(|all| all.iter().filter_map(quote).collect());
        vouched.push(Exchange {
            id: exchange.id,
            question: exchange.question,
            answer,
            quotes: quotes.unwrap_or_default(),
            citations: exchange.citations.to_string(),
        });
    }
    vouched.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(vouched)
}

/// A text's identity up to case, spaces and punctuation: near-duplicates share it.
pub(crate) fn fingerprint(text: &str) -> Digest {
    let plain: String = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Digest::of(plain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_case_and_punctuation_do_not_make_a_text_new() {
        let one = fingerprint("Die Anlage wird gewartet.\nJährlich!");
        assert_eq!(one, fingerprint("die  anlage wird gewartet – JÄHRLICH"));
        assert_ne!(one, fingerprint("Die Anlage wird gewartet. Monatlich!"));
    }
}
