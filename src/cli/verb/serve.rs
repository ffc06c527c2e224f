use std::net::{IpAddr, SocketAddr};

use base::{Exit, Role};
use stack::RotatingWriter;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    args::ServeArgs,
    context::{Context, read_token},
    failure::{During, Failure, Outcome},
    start::{runtime, watch_signals},
};

/// Runs one role in the foreground until it is asked to stop.
pub fn run(context: &Context, args: &ServeArgs) -> Outcome {
    let customer = context.layout.customer(&args.customer);
    let config = stack::service_config(&customer)?;
    let token = read_token(&customer)?;
    let log = customer.log(args.role);
    let writer = RotatingWriter::open(&log).during(format!("cannot open the log `{}`", log.display()))?;
    log_to(writer);
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        watch_signals(shutdown.clone());
        let role = args.role;
        let address = config.listen_address(role);
        tracing::info!(role = role.name(), port = config.port(role), "starting");
        let served: Outcome = match role {
            Role::Embed => {
                let listener = listen(address, config.port(role)).await?;
                engine::serve_embed(config, customer, token, listener, shutdown).await.map_err(Failure::from)
            }
            Role::Llm => {
                let listener = listen(address, config.port(role)).await?;
                engine::serve_llm(config, customer, token, listener, shutdown).await.map_err(Failure::from)
            }
            Role::Lake => {
                let listener = listen(address, config.port(role)).await?;
                lake::serve(config, customer, token, listener, shutdown).await.map_err(Failure::from)
            }
            Role::Ingest => {
                let listener = listen(address, config.port(role)).await?;
                ::ingest::serve(config, context.layout.clone(), customer, token, listener, shutdown)
                    .await
                    .map_err(Failure::from)
            }
            Role::Trainer => {
                let listener = listen(address, config.port(role)).await?;
                train::serve(config, context.layout.clone(), customer, token, listener, shutdown)
                    .await
                    .map_err(Failure::from)
            }
            Role::Console => {
                let api = listen(address, config.api_port()).await?;
                let page = listen(address, config.port(role)).await?;
                console::serve(config, customer, token, api, page, shutdown).await.map_err(Failure::from)
            }
        };
        if let Err(failure) = &served {
            tracing::error!(role = role.name(), "{failure}");
        } else {
            tracing::info!(role = role.name(), "stopped");
        }
        served
    });
    runtime.shutdown_background();
    outcome
}

async fn listen(address: IpAddr, port: u16) -> Outcome<TcpListener> {
    TcpListener::bind(SocketAddr::new(address, port)).await.map_err(|error| {
        let holder = host::port_holder(port).map(|holder| format!(", held by {}", holder.holder)).unwrap_or_default();
        let mut failure = Failure::from_error(format!("cannot listen on port {port}{holder}"), &error);
        failure.exit = Exit::Unavailable;
        failure.remedy("stop what holds the port, then run `0711 start`")
    })
}

/// Sends the log of this process to a file that caps itself.
pub fn log_to(writer: RotatingWriter) {
    let writer = std::sync::Mutex::new(writer);
    // A line that cannot be written, on a full disk, is lost; complaining about it on the standard error of the same disk would end the process.
    let subscriber = fmt().with_env_filter(EnvFilter::new("info")).with_ansi(false).with_writer(writer);
    subscriber.log_internal_errors(false).init();
}
