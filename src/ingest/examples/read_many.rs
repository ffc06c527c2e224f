//! Reads a folder into a lake of its own, without a license to ask: for measuring beyond the documents the demo license allows.
//!
//! `read_many PROGRAM MODEL FOLDER ROOT`: PROGRAM is the binary `0711`, whose workers parse the files, MODEL the embedding model's file. Prints the
//! report as one line of JSON, as `0711 ingest --json` does. `scripts/bench-ingest.sh --flat` calls it.

use std::{env, error::Error, path::PathBuf, thread};

use base::{Clock, Layout, Slug};
use engine::{Embedder, Embedding};
use extract::worker::Pool;
use ingest::{Job, Options, Report, limits, run};
use lake::{Access, EmbedSpec, Lake};
use tokio_util::sync::CancellationToken;

/// As the program itself gives its threads: the query planner recurses deeply.
const STACK_BYTES: usize = 16 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [program, model, folder, root] = arguments.as_slice() else {
        return Err("usage: read_many PROGRAM MODEL FOLDER ROOT".into());
    };
    let [program, model, folder, root] = [program, model, folder, root].map(PathBuf::clone);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    // On a thread of the runtime, for its stack.
    let read = runtime.block_on(runtime.spawn(async move {
        // The cause would not cross the thread as it is.
        read(program, model, folder, root).await.map_err(|error| error.to_string())
    }))?;
    println!("{}", serde_json::to_string(&read?)?);
    Ok(())
}

async fn read(program: PathBuf, model: PathBuf, folder: PathBuf, root: PathBuf) -> Result<Report, Box<dyn Error>> {
    let customer = Layout::rooted(root).customer(&Slug::parse("bench")?);
    let embedder = Embedder::open(&model)?;
    let spec = EmbedSpec { dimension: embedder.dimension(), model: embedder.digest() };
    let readers = thread::available_parallelism().map_or(2, usize::from);
    let job = Job {
        folders: vec![folder.canonicalize()?],
        lake: Access::Local(Lake::open(&customer, spec).await?),
        embedding: Embedding::Local(embedder),
        pool: Pool::new(program, readers, limits()),
        readers,
        max_file_bytes: limits().max_file_bytes,
        max_documents: u64::MAX,
        state_dir: customer.ingest_state(),
        options: Options::default(),
        handlers: None,
        clock: Clock::system(),
    };
    Ok(run(job, &|_| (), CancellationToken::new()).await?)
}
