//! What each session asked so far: for follow-ups, for the page after a reload, and to know which exchanges a session may judge.
//!
//! Kept in memory only, like the sessions themselves; the exchanges are in the lake.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use answer::{Answer, Sentence, Turn};
use lake::Verdict;
use serde::Serialize;

/// Exchanges kept per session.
const EXCHANGES: usize = 50;
/// Sessions kept; the one that asked longest ago goes first.
const SESSIONS: usize = 500;
/// Turns of history that can matter to a follow-up.
const HISTORY: usize = 4;

/// One question of a session with its answer.
#[derive(Clone, Serialize)]
pub(crate) struct Exchange {
    pub(crate) question: String,
    pub(crate) answer: Answer,
    pub(crate) verdict: Option<Verdict>,
}

impl Exchange {
    /// Takes out what the answer says and rests on, and says so instead.
    pub(crate) fn withhold(&mut self, said: &str) {
        let answer = &mut self.answer;
        answer.text = said.to_owned();
        answer.sentences = vec![Sentence { text: said.to_owned(), citation: None }];
        answer.citations.clear();
        answer.notes.clear();
        answer.abstained = true;
    }
}

/// The exchanges of all sessions.
#[derive(Default)]
pub(crate) struct Conversations(Mutex<State>);

#[derive(Default)]
struct State {
    sessions: HashMap<String, (u64, VecDeque<Exchange>)>,
    clock: u64,
}

impl Conversations {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an exchange to a session.
    pub(crate) fn add(&self, session: &str, question: String, answer: Answer) {
        let mut state = self.state();
        state.clock += 1;
        let clock = state.clock;
        if !state.sessions.contains_key(session) && state.sessions.len() >= SESSIONS {
            let oldest = state.sessions.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                state.sessions.remove(&oldest);
            }
        }
        let (at, exchanges) = state.sessions.entry(session.to_owned()).or_default();
        *at = clock;
        exchanges.push_back(Exchange { question, answer, verdict: None });
        if exchanges.len() > EXCHANGES {
            exchanges.pop_front();
        }
    }

    /// Forgets a session.
    pub(crate) fn forget(&self, session: &str) {
        self.state().sessions.remove(session);
    }

    /// Everything a session asked, oldest first.
    pub(crate) fn all(&self, session: &str) -> Vec<Exchange> {
        let state = self.state();
        let found = state.sessions.get(session);
        found.map_or_else(Vec::new, |(_, list)| list.iter().cloned().collect())
    }

    /// The latest turns, for a follow-up.
    pub(crate) fn turns(&self, session: &str) -> Vec<Turn> {
        let all = self.all(session);
        let skip = all.len().saturating_sub(HISTORY);
        let turn = |e: Exchange| Turn { question: e.question, answer: e.answer.text };
        all.into_iter().skip(skip).map(turn).collect()
    }

    /// Notes a verdict; `false` when the session has no such exchange.
    pub(crate) fn judge(&self, session: &str, interaction: &str, verdict: Verdict) -> bool {
        let mut state = self.state();
        let exchange = state
            .sessions
            .get_mut(session)
            .and_then(|(_, list)| list.iter_mut().find(|e| e.answer.interaction_id.as_deref() == Some(interaction)));
        if let Some(exchange) = exchange {
            exchange.verdict = Some(verdict);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: &str) -> Answer {
        serde_json::from_value(serde_json::json!({
            "text": "t", "abstained": false, "language": "de", "sentences": [], "citations": [], "version": "base", "quoted": true, "support": 0.6,
            "timings": {"embed_ms": 0, "search_ms": 0, "prefill_ms": 0, "generate_ms": 0, "total_ms": 0},
            "usage": {"prompt_tokens": 0, "completion_tokens": 0}, "interaction_id": id, "notes": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_session_judges_only_its_own_exchanges() {
        let all = Conversations::default();
        all.add("a", "q".into(), answer("1"));
        assert!(!all.judge("b", "1", Verdict::Up));
        assert!(!all.judge("a", "2", Verdict::Up));
        assert!(all.judge("a", "1", Verdict::Down));
        assert_eq!(all.all("a")[0].verdict, Some(Verdict::Down));
        all.forget("a");
        assert!(all.all("a").is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let all = Conversations::default();
        for i in 0..SESSIONS + 10 {
            all.add(&i.to_string(), "q".into(), answer("1"));
        }
        assert!(all.all("0").is_empty() && !all.all(&(SESSIONS + 9).to_string()).is_empty());
        for i in 0..EXCHANGES + 5 {
            all.add("x", i.to_string(), answer("1"));
        }
        let kept = all.all("x");
        assert_eq!((kept.len(), kept[0].question.as_str()), (EXCHANGES, "5"));
        assert_eq!(all.turns("x").len(), HISTORY);
    }
}
