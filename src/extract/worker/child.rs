use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::wire::{Batch, FORMAT, Hello, MAX_MESSAGE_BYTES, Request, Response, Setup, Want, encode};
use crate::catalog::{CatalogItem, CatalogReader, sniff_stream};
use crate::error::Error;
use crate::read::{read, read_large};
use crate::sandbox::{self, Policy};

/// The body of the hidden verb `worker extract`: serves its parent until that closes the pipe, then ends the process.
///
/// Call it first thing in `main`, before any thread: the sandbox binds only threads that start after it.
pub fn main() -> ! {
    let code = match serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("worker: {error}");
            1
        }
    };
    std::process::exit(code)
}

/// About so many products and features go in one message.
const BATCH_WEIGHT: usize = 500;

/// Set by the panic hook, which sees panics that extractors catch themselves.
static PANICKED: AtomicBool = AtomicBool::new(false);

fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let Some(setup) = message::<Setup>(&mut input)? else {
        return Ok(());
    };
    if setup.format != FORMAT {
        return Err(io::Error::other("the parent speaks another format"));
    }
    let limits = setup.limits;
    let seconds = limits.timeout_ms.div_ceil(1000).saturating_mul(u64::from(setup.files)).saturating_add(10);
    let applied = sandbox::apply(&Policy::worker(limits.memory_bytes, seconds));
    end_with_parent()?;
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::Relaxed);
        report(panic);
    }));
    send(&mut output, &Hello { format: FORMAT, sandbox: applied })?;
    while let Some(request) = message::<Request>(&mut input)? {
        if request.want == Want::Catalog {
            let end = stream(input.by_ref().take(request.size), &mut output)?;
            send(&mut output, &Batch { items: Vec::new(), end: Some(end) })?;
            // What is left of the file is of no interest, and neither is another one.
            return Ok(());
        }
        if request.size > limits.max_file_bytes {
            let mut file = input.by_ref().take(request.size);
            let result = read_large(&mut file, request.size, &limits);
            let worn = file.limit() > 0 || PANICKED.load(Ordering::Relaxed);
            send(&mut output, &Response { result, worn })?;
            if worn {
                return Ok(());
            }
            continue;
        }
        let size = usize::try_from(request.size).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(io::Error::other)?;
        input.by_ref().take(request.size).read_to_end(&mut bytes)?;
        if bytes.len() != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let result = read(&bytes, &request.name, &limits);
        drop(bytes);
        let worn = PANICKED.load(Ordering::Relaxed);
        send(&mut output, &Response { result, worn })?;
    }
    Ok(())
}

/// Sends a catalogue's items as they are read; returns how it ended.
fn stream(source: impl Read, output: &mut impl Write) -> io::Result<Result<(), Error>> {
    let (format, source) = match sniff_stream(source) {
        Ok(sniffed) => sniffed,
        Err(error) => return Ok(Err(error)),
    };
    let Some(format) = format else {
        return Ok(Err(Error::unsupported("not a catalogue")));
    };
    let reader = match CatalogReader::new(source, format) {
        Ok(reader) => reader,
        Err(error) => return Ok(Err(error)),
    };
    let (mut items, mut weight) = (Vec::new(), 0);
    for item in reader {
        let item = match item {
            Ok(item) => item,
            Err(error) => {
                send(output, &Batch { items, end: None })?;
                return Ok(Err(error));
            }
        };
        weight += match &item {
            CatalogItem::Product(product) => 1 + product.features().count() + product.prices.len(),
            _ => 1,
        };
        items.push(item);
        if weight >= BATCH_WEIGHT {
            send(output, &Batch { items: std::mem::take(&mut items), end: None })?;
            weight = 0;
        }
    }
    send(output, &Batch { items, end: None })?;
    Ok(Ok(()))
}

/// Ends this process when its parent is gone. The kernel's own signal for it (`PR_SET_PDEATHSIG`) is tied to the thread
/// that started the worker, and an asynchronous parent's threads come and go.
pub(crate) fn end_with_parent() -> io::Result<()> {
    let parent = rustix::process::getppid();
    std::thread::Builder::new().name("parent-watch".to_owned()).stack_size(64 << 10).spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            if rustix::process::getppid() != parent {
                std::process::exit(0);
            }
        }
    })?;
    Ok(())
}

/// The next message; `None` when the parent closed the pipe between two.
pub(crate) fn message<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 8];
    match input.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => input.read_exact(&mut length[1..])?,
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::other("a message is too long"));
    }
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

pub(crate) fn send(output: &mut impl Write, message: &impl serde::Serialize) -> io::Result<()> {
    output.write_all(&encode(message)?)?;
    output.flush()
}
