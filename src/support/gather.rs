//! Asking many at once, each for as long as it may take.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::format::{Collector, How};

/// A file on its way into the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    /// Text people and programs wrote freely, where anything may stand; not a file whose fields are known.
    pub(crate) is_free: bool,
    pub(crate) cut_bytes: u64,
}

impl Piece {
    /// A file whose fields are known.
    pub(crate) fn known(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), bytes, is_free: false, cut_bytes: 0 }
    }

    /// Free text.
    pub(crate) fn free(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { is_free: true, ..Self::known(path, bytes) }
    }

    /// A value as JSON for people.
    pub(crate) fn json(path: impl Into<String>, value: &impl serde::Serialize) -> Result<Self, String> {
        let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        Ok(Self::known(path, bytes))
    }

    /// Leaves out the beginning, so that at most `bytes_max` stay, whole lines where there are any.
    pub(crate) fn keep_end(&mut self, bytes_max: usize) {
        let Some(mut cut) = self.bytes.len().checked_sub(bytes_max).filter(|cut| *cut > 0) else { return };
        let begins_a_line = self.bytes[cut - 1] == b'\n';
        if let (false, Some(end)) = (begins_a_line, self.bytes[cut..].iter().position(|byte| *byte == b'\n')) {
            cut += end + 1;
        }
        self.bytes.drain(..cut);
        self.cut_bytes += cut as u64;
    }
}

/// What a part of the machine said, or why it said nothing.
pub(crate) type Said = Result<Vec<Piece>, String>;

type Asking = Pin<Box<dyn Future<Output = Said> + Send>>;

/// Parts to be asked.
#[derive(Default)]
pub(crate) struct Round {
    all: Vec<(&'static str, Duration, Asking)>,
}

impl Round {
    /// Adds a part that waits without holding a thread.
    pub(crate) fn ask(
        &mut self,
        name: &'static str,
        patience: Duration,
        asking: impl Future<Output = Said> + Send + 'static,
    ) {
        self.all.push((name, patience, Box::pin(asking)));
    }

    /// Adds a part that may hold its thread for ever, as a dead network share does: the thread is then left behind.
    pub(crate) fn look(
        &mut self,
        name: &'static str,
        patience: Duration,
        look: impl FnOnce() -> Said + Send + 'static,
    ) {
        self.ask(name, patience, async move {
            match tokio::task::spawn_blocking(look).await {
                Ok(said) => said,
                Err(error) => Err(format!("it broke off: {error}")),
            }
        });
    }

    /// Asks all of them at the same time. Takes as long as the most patient one.
    pub(crate) async fn run(self) -> (Vec<Collector>, Vec<Piece>) {
        let mut running = JoinSet::new();
        for (number, (name, patience, asking)) in self.all.into_iter().enumerate() {
            running.spawn(async move {
                let begun = Instant::now();
                let (how, pieces) = match tokio::time::timeout(patience, asking).await {
                    Ok(Ok(pieces)) => (How::Ok, pieces),
                    Ok(Err(reason)) => (How::Failed { reason }, Vec::new()),
                    Err(_) => (How::TimedOut { after_seconds: patience.as_secs() }, Vec::new()),
                };
                let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                (number, Collector { name: name.to_owned(), how, took_ms }, pieces)
            });
        }
        let mut all = running.join_all().await;
        all.sort_by_key(|(number, ..)| *number);
        let (collectors, pieces): (Vec<_>, Vec<_>) =
            all.into_iter().map(|(_, collector, pieces)| (collector, pieces)).unzip();
        (collectors, pieces.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_hangs_is_noted_and_not_waited_for() {
        let mut round = Round::default();
        round.ask("sleeps", Duration::from_millis(80), async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(vec![Piece::known("late", Vec::new())])
        });
        let (release, hold) = std::sync::mpsc::channel::<()>();
        round.look("holds its thread", Duration::from_millis(80), move || {
            let _ = hold.recv();
            Ok(Vec::new())
        });
        round.look("answers", Duration::from_secs(5), || Ok(vec![Piece::known("a", b"1".to_vec())]));
        round.look("fails", Duration::from_secs(5), || Err("no such thing".to_owned()));
        round.look("breaks", Duration::from_secs(5), || panic!("on purpose"));
        let begun = Instant::now();
        let (collectors, pieces) = round.run().await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        drop(release);
        let how: Vec<_> = collectors.iter().map(|collector| (collector.name.as_str(), &collector.how)).collect();
        assert_eq!(how[0], ("sleeps", &How::TimedOut { after_seconds: 0 }));
        assert_eq!(how[1], ("holds its thread", &How::TimedOut { after_seconds: 0 }));
        assert_eq!(how[2], ("answers", &How::Ok));
        assert_eq!(how[3], ("fails", &How::Failed { reason: "no such thing".into() }));
        assert!(matches!(how[4], ("breaks", How::Failed { .. })));
        assert_eq!(pieces, [Piece::known("a", b"1".to_vec())]);
    }

    #[test]
    fn the_end_is_kept_in_whole_lines() {
        let mut piece = Piece::free("log", b"one\ntwo\nthree\nfour\n".to_vec());
        piece.keep_end(12);
        assert_eq!((piece.bytes.as_slice(), piece.cut_bytes), (b"three\nfour\n".as_slice(), 8));
        piece.keep_end(5);
        assert_eq!((piece.bytes.as_slice(), piece.cut_bytes), (b"four\n".as_slice(), 14));
        let mut piece = Piece::free("log", b"one\n".to_vec());
        piece.keep_end(4);
        assert_eq!((piece.bytes.len(), piece.cut_bytes), (4, 0));
        let mut piece = Piece::free("log", vec![b'x'; 100]);
        piece.keep_end(10);
        assert_eq!((piece.bytes.len(), piece.cut_bytes), (10, 90));
    }
}
