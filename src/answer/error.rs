use base::{Exit, Explain, Remedy};

/// Why a question could not be answered at all. A model that does not answer is no error: the passages are quoted then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the question is empty")]
    EmptyQuestion,
    #[error("the question has {length} characters; at most {limit} are read")]
    LongQuestion { length: usize, limit: usize },
    #[error("cannot embed the question")]
    Embed(#[source] engine::Error),
    #[error("cannot search the lake")]
    Search(#[source] lake::Error),
    #[error("the answer ended before it was complete")]
    Interrupted,
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::EmptyQuestion => Some(Remedy("ask with words: `0711 ask \"…\"`".into())),
            Self::LongQuestion { .. } => Some(Remedy("ask a shorter question".into())),
            Self::Embed(source) => source.remedy(),
            Self::Search(source) => source.remedy(),
            Self::Interrupted => Some(Remedy("see `0711 status`, then ask again".into())),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::EmptyQuestion | Self::LongQuestion { .. } => Exit::Usage,
            Self::Embed(source) => source.exit(),
            Self::Search(source) => source.exit(),
            Self::Interrupted => Exit::Unavailable,
        }
    }
}
