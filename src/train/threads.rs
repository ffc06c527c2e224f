use std::sync::Arc;

use gemm::Parallelism;

use crate::Error;

/// Worker threads of the lowest priority: training must never slow an answer down.
#[derive(Clone)]
pub(crate) struct Threads {
    pool: Arc<rayon::ThreadPool>,
    count: usize,
}

/// Added to the niceness of each worker.
const NICENESS: i32 = 15;

impl Threads {
    pub(crate) fn new(count: usize) -> Result<Self, Error> {
        let count = count.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("train-{index}"))
            .start_handler(|_| {
                // On Linux this concerns the calling thread alone. Without it training still
                // works, only less politely.
                if let Err(error) = rustix::process::nice(NICENESS) {
                    tracing::warn!(%error, "cannot lower the priority of a training thread");
                }
            })
            .build()
            .map_err(|source| Error::Threads { count, source })?;
        Ok(Self { pool: Arc::new(pool), count })
    }

    /// Runs `work` on the pool; products inside it use all of its threads.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce(Parallelism) -> T + Send) -> T {
        let parallelism = match self.count {
            1 => Parallelism::None,
            count => Parallelism::Rayon(count),
        };
        self.pool.install(|| work(parallelism))
    }
}
