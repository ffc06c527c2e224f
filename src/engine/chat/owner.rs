//! The thread that owns a model: it alone touches weights, adapters and context.
//!
//! llama.cpp changes the model when an adapter is loaded, so no context may be open then: the loop closes it, changes the adapters and
//! opens the next. That costs some ten milliseconds and the cache, a few times a night.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc as queue},
};

use base::Pulse;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use tokio::sync::{mpsc, oneshot};

use super::{
    ChatOptions, Piece,
    backend::{forget_errors, last_error},
    session::{Session, Work},
    tokenizer::check_gguf,
};
use crate::{Error, error::in_one_line};

/// The file of an adapter's folder that llama.cpp reads; the others are PEFT's.
const TWIN: &str = "adapter.gguf";

/// What the owner is asked to do.
pub(super) enum Command {
    Generate(Work, mpsc::Sender<Result<Piece, Error>>),
    Evaluate { tokens: Vec<u32>, adapter: Option<String>, reply: oneshot::Sender<Result<Vec<Vec<f32>>, Error>> },
    Change(Change, oneshot::Sender<Result<(), Error>>),
}

/// A change of the loaded adapters.
pub(super) enum Change {
    Load { name: String, path: PathBuf },
    Unload { name: String },
}

/// The names of the loaded adapters, as the owner last left them.
pub(super) type Names = Arc<Mutex<Vec<String>>>;

/// The adapters in memory.
#[derive(Default)]
pub(super) struct Adapters(BTreeMap<String, LlamaLoraAdapter>);

impl Adapters {
    pub fn find(&mut self, name: &str) -> Option<&mut LlamaLoraAdapter> {
        self.0.get_mut(name)
    }

    /// Loads, replaces or removes an adapter. No context of the model may be open.
    fn change(&mut self, change: Change, model: &mut LlamaModel) -> Result<(), Error> {
        match change {
            Change::Load { name, path } => {
                let loaded = load(model, &name, &path)?;
                if let Some(replaced) = self.0.insert(name, loaded) {
                    free(replaced);
                }
            }
            Change::Unload { name } => {
                let removed = self.0.remove(&name).ok_or(Error::UnknownAdapter { name })?;
                free(removed);
            }
        }
        Ok(())
    }
}

/// What became of a change to the adapters, and who waits to hear it.
type Answer = (oneshot::Sender<Result<(), Error>>, Result<(), Error>);

/// Serves commands until every sender is gone. Tells `ready` when the first context is open, or why it is not.
pub(super) fn run(
    mut model: LlamaModel,
    options: ChatOptions,
    commands: queue::Receiver<Command>,
    (names, pulse): (Names, Pulse),
    ready: queue::SyncSender<Result<(), Error>>,
) {
    let mut adapters = Adapters::default();
    let mut ready = Some(ready);
    let mut pending: Option<Answer> = None;
    loop {
        // The context borrows the model, and ends with this block: only then may the model change.
        let asked = {
            let mut session = match Session::open(&model, options, pulse.clone()) {
                Ok(session) => session,
                Err(error) => {
                    tracing::error!(
                        error = in_one_line(&error),
                        "the chat model's thread ends: it has no context to work in"
                    );
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Err(error));
                    }
                    return;
                }
            };
            if let Some(ready) = ready.take() {
                let _ = ready.send(Ok(()));
            }
            if let Some((reply, outcome)) = pending.take() {
                let _ = reply.send(outcome);
            }
            serve(&mut session, &mut adapters, &commands)
        };
        let Some((change, reply)) = asked else { return };
        let outcome = adapters.change(change, &mut model);
        *names.lock().unwrap_or_else(PoisonError::into_inner) = adapters.0.keys().cloned().collect();
        pending = Some((reply, outcome));
    }
}

/// Works in one context until the adapters are to change, or nobody can ask any more.
fn serve(
    session: &mut Session<'_>,
    adapters: &mut Adapters,
    commands: &queue::Receiver<Command>,
) -> Option<(Change, oneshot::Sender<Result<(), Error>>)> {
    loop {
        match commands.recv().ok()? {
            Command::Generate(work, answer) => session.generate(work, adapters, &answer),
            Command::Evaluate { tokens, adapter, reply } => {
                let _ = reply.send(session.evaluate(&tokens, adapter.as_deref(), adapters));
            }
            Command::Change(change, reply) => return Some((change, reply)),
        }
    }
}

fn load(model: &mut LlamaModel, name: &str, path: &Path) -> Result<LlamaLoraAdapter, Error> {
    let file = if path.is_dir() { path.join(TWIN) } else { path.to_owned() };
    let refused = |reason: String| Error::LoadAdapter { name: name.to_owned(), path: file.clone(), reason };
    check_gguf(&file).map_err(|error| refused(in_one_line(&error)))?;
    forget_errors();
    model.lora_adapter_init(&file).map_err(|error| refused(last_error(&error.to_string())))
}

/// Gives an adapter's memory back; the wrapper would keep it until the model goes, and a new one comes every night.
fn free(adapter: LlamaLoraAdapter) {
    // SAFETY: `LlamaLoraAdapter` is a transparent wrapper of a non-null `llama_adapter_lora` pointer and has no destructor, so its bits are
    // that pointer. The adapter left the map, its model is alive, and no context that could wear it is open.
    unsafe {
        let pointer: *mut llama_cpp_sys_2::llama_adapter_lora = std::mem::transmute(adapter);
        llama_cpp_sys_2::llama_adapter_lora_free(pointer);
    }
}
