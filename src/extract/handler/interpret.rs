//! One run of a handler in the interpreter, in this process. The process is the worker's: see [`super::child`].

use std::borrow::Cow;
use std::time::{Duration, Instant};

use monty::{MontyRun, RunProgress};
use monty_types::{
    CompileOptions, ExcType, ExtFunctionResult, MontyException, MontyObject, NameLookupResult, PrintWriter,
    PrintWriterCallback, ResourceLimits, ResourceTracker,
};

use super::host::{Answer, FUNCTIONS, Host};
use super::limits::HandlerLimits;
use super::refusal::Refusal;
use super::run::Run;

/// Deep recursion ends at the interpreter's own limit, with room to spare on this stack.
const STACK_BYTES: usize = 64 << 20;
/// What a handler prints is for whoever writes it.
const MAX_PRINTED_BYTES: usize = 16 << 10;
const MAX_MESSAGE_CHARACTERS: usize = 500;
/// The file names of no handler look like these, so they cannot be overwritten by accident.
const NAME: &str = "_name_0711";
const SIZE: &str = "_size_0711";

/// Runs `handle(name, size)` of a source over the bytes of a file.
pub(super) fn run(code: &str, file: &[u8], name: &str, limits: &HandlerLimits) -> Run {
    if code.len() as u64 > limits.max_code_bytes {
        let what = "the source".to_owned();
        return Run::refused(Refusal::TooLarge { what, limit_bytes: limits.max_code_bytes });
    }
    // A thread of its own gives a known stack, and a wall for a panic of the interpreter.
    let ended = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("handler".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || on_this_stack(code, file, name, limits));
        match thread {
            Ok(thread) => thread.join().map_err(|panic| {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
            }),
            Err(error) => Ok(Run::refused(Refusal::NoWorker { reason: error.to_string() })),
        }
    });
    ended.unwrap_or_else(|reason| Run::refused(Refusal::Interpreter { reason: shortened(&reason) }))
}

fn on_this_stack(code: &str, file: &[u8], name: &str, limits: &HandlerLimits) -> Run {
    let started = Instant::now();
    let mut host = Host::new(file, limits);
    let mut printed = Printed::default();
    let refusal = carry_out(code, name, file.len(), limits, &mut host, &mut printed, started).err();
    host.finish(refusal, printed.0, u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
}

fn carry_out(
    code: &str,
    name: &str,
    size: usize,
    limits: &HandlerLimits,
    host: &mut Host<'_>,
    printed: &mut Printed,
    started: Instant,
) -> Result<(), Refusal> {
    // The call stands on a line of its own after the handler's, so that the handler's line numbers are those of its file.
    let source = format!("{code}\n\nhandle({NAME}, {SIZE})\n");
    let mut names: Vec<String> = FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.extend([NAME, SIZE].map(str::to_owned));
    let function = |name: &str| MontyObject::Function { name: name.to_owned(), docstring: None };
    let mut values: Vec<MontyObject> = FUNCTIONS.iter().map(|(name, _)| function(name)).collect();
    values.push(MontyObject::String(name.to_owned()));
    values.push(MontyObject::Int(i64::try_from(size).unwrap_or(i64::MAX)));

    let refused = |error: MontyException| refusal_of(&error, limits);
    let program = MontyRun::new(source, "handler.py", names, CompileOptions::default()).map_err(refused)?;
    let mut progress = program.start(values, tracker(limits), printed.writer()).map_err(refused)?;
    let limit = Duration::from_millis(limits.time_ms);
    loop {
        // The interpreter's clock stands still while the host works; this one does not.
        let late = (started.elapsed() > limit).then_some(Refusal::Time { limit_ms: limits.time_ms });
        progress = match progress {
            RunProgress::Complete(_) => return Ok(()),
            RunProgress::FunctionCall(mut call) => {
                let (positional, named) = (std::mem::take(&mut call.args), std::mem::take(&mut call.kwargs));
                let answer = match (late, call.object_id) {
                    (Some(late), _) => Answer::Refuse(late),
                    (None, None) if call.function_name == "handle" => Answer::Refuse(Refusal::NoHandle),
                    (None, Some(_)) => Answer::Refuse(Refusal::Forbidden { what: call.function_name.clone() }),
                    (None, None) => host.call(&call.function_name, positional, named),
                };
                let result = match answer {
                    Answer::Value(value) => ExtFunctionResult::Return(value),
                    Answer::Raise(exception) => ExtFunctionResult::Error(exception),
                    Answer::Refuse(refusal) => {
                        // Nothing the handler wrote runs after this: no `except` sees it.
                        drop(call.abort(ended(), printed.writer()));
                        return Err(refusal);
                    }
                };
                call.resume(result, printed.writer()).map_err(refused)?
            }
            RunProgress::NameLookup(lookup) => {
                if lookup.name == "handle" || lookup.object_id().is_some() || late.is_some() {
                    let what = lookup.name.clone();
                    drop(lookup.abort(ended(), printed.writer()));
                    return Err(late.unwrap_or(match what.as_str() {
                        "handle" => Refusal::NoHandle,
                        _ => Refusal::Forbidden { what },
                    }));
                }
                lookup.resume(NameLookupResult::Undefined, printed.writer()).map_err(refused)?
            }
            RunProgress::OsCall(call) => {
                let what = call.function_call.name().to_owned();
                drop(call.abort(ended(), printed.writer()));
                return Err(Refusal::Forbidden { what });
            }
            RunProgress::ResolveFutures(_) => return Err(Refusal::Forbidden { what: "await".to_owned() }),
        };
    }
}

fn tracker(limits: &HandlerLimits) -> ResourceTracker {
    ResourceTracker::new(
        ResourceLimits::default()
            .max_duration(Duration::from_millis(limits.time_ms))
            .max_memory(usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX))
            .max_recursion_depth(limits.max_recursion as usize),
    )
}

fn ended() -> MontyException {
    MontyException::new(ExcType::RuntimeError, Some("the run was ended".to_owned()))
}

/// Names what ended a run, from the exception that left it.
fn refusal_of(error: &MontyException, limits: &HandlerLimits) -> Refusal {
    let message = shortened(error.message().unwrap_or_default());
    let line =
        error.traceback().iter().rev().find(|frame| frame.filename == "handler.py").map_or(0, |frame| frame.start.line);
    match error.exc_type() {
        ExcType::MemoryError if message.starts_with("memory limit exceeded") => {
            Refusal::Memory { limit_bytes: limits.memory_bytes }
        }
        ExcType::TimeoutError if message.starts_with("time limit exceeded") => {
            Refusal::Time { limit_ms: limits.time_ms }
        }
        ExcType::RecursionError => Refusal::Recursion { limit: limits.max_recursion },
        ExcType::SyntaxError => Refusal::Syntax { message, line },
        other => Refusal::Raised { exception: other.to_string(), message, line },
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').take(MAX_MESSAGE_CHARACTERS).collect()
}

/// Keeps the first of what is printed, and drops the rest without a word to the handler.
#[derive(Default)]
struct Printed(String);

impl Printed {
    fn writer(&mut self) -> PrintWriter<'_> {
        PrintWriter::Callback(self)
    }

    fn push(&mut self, text: &str) {
        let room = MAX_PRINTED_BYTES.saturating_sub(self.0.len());
        let end = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.0.push_str(&text[..end]);
    }
}

impl PrintWriterCallback for Printed {
    fn stdout_write(&mut self, output: Cow<'_, str>) -> Result<(), MontyException> {
        self.push(&output);
        Ok(())
    }

    fn stdout_push(&mut self, end: char) -> Result<(), MontyException> {
        self.push(end.encode_utf8(&mut [0; 4]));
        Ok(())
    }
}
