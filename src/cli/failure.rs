use std::{error::Error, fmt};

use base::{Exit, Explain, Remedy};

/// An error on its way to the user: the chain, the cure and the exit code.
#[derive(Debug)]
pub struct Failure {
    chain: Vec<String>,
    pub remedy: Option<Remedy>,
    pub exit: Exit,
}

/// What a verb returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// An error that arose here, in the command line itself.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { chain: vec![text.into()], remedy: None, exit }
    }

    /// An end other than success whose reason was printed already: nothing more is said.
    pub fn told(exit: Exit) -> Self {
        Self { chain: Vec::new(), remedy: None, exit }
    }

    /// Adds the command that mends it.
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(Remedy::new(text));
        self
    }

    /// Puts the act that failed before its cause.
    pub fn during(mut self, act: impl Into<String>) -> Self {
        self.chain.insert(0, act.into());
        self
    }

    /// A failure whose cause is an error of the system, without a cure of its own.
    pub fn from_error(act: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        let mut chain = vec![act.into()];
        chain.extend(texts(error));
        Self { chain, remedy: None, exit: Exit::Failed }
    }

    /// The texts from the act that failed down to the first cause.
    pub fn chain(&self) -> &[String] {
        &self.chain
    }
}

fn texts(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // A transparent wrapper repeats its cause's text: once is enough.
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts
}

impl<E: Explain + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { chain: texts(&error), remedy: error.remedy(), exit: error.exit() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

/// Gives a system error the act that failed.
pub trait During<T> {
    /// Turns the error into a [`Failure`] of `act`.
    fn during(self, act: impl Into<String>) -> Outcome<T>;
}

impl<T, E: Error + 'static> During<T> for Result<T, E> {
    fn during(self, act: impl Into<String>) -> Outcome<T> {
        self.map_err(|error| Failure::from_error(act, &error))
    }
}
