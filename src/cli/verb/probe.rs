use std::time::Duration;

use base::Exit;
use stack::{Readiness, http::Endpoint, probe};

use crate::{
    args::ServeArgs,
    context::Context,
    failure::{Failure, Outcome},
    start::runtime,
};

/// As long as the health check of a container waits.
const PATIENCE: Duration = Duration::from_secs(8);

/// Asks the service of this container, over its own loopback, whether it is ready.
pub fn run(context: &Context, args: &ServeArgs) -> Outcome {
    let config = stack::service_config(&context.layout.customer(&args.customer))?;
    let endpoint = Endpoint::loopback(config.port(args.role));
    let not_ready = |why: &str| Err(Failure::new(Exit::Unavailable, format!("`{}` is not ready: {why}", args.role)));
    match runtime()?.block_on(probe(&endpoint, PATIENCE)) {
        Readiness::Ready => Ok(()),
        Readiness::Starting => not_ready("it is starting"),
        Readiness::Failing(why) | Readiness::Unknown(why) => not_ready(&why),
    }
}
