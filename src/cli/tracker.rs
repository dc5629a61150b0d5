//! `paceline tracker`: the tracker service.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Failure;
use super::{logging, service};
use crate::config::Config;
use crate::tracker;

/// Arguments of `tracker`; each goes before the environment and the file.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Configuration file; see [tracker_server] in config.example.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// When the address is taken or the certificate can't be used.
pub async fn run(args: Args) -> Result<(), Failure> {
    let mut config = Config::load(args.config.as_deref(), std::env::vars())?;
    if let Some(listen) = args.listen {
        config.tracker_server.listen = listen;
    }
    logging::start(&config.log.level).map_err(|error| Failure::Argument(error.to_string()))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::running)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::running)?;
    let options = config.tracker_server;
    let bound = tracker::bind(options.listen, options.stun).await.map_err(Failure::running)?;
    let scheme = if options.certificate.as_os_str().is_empty() { "ws" } else { "wss" };
    let address = bound.address();
    tracing::info!(%address, "tracker ready: start viewers with --tracker {scheme}://{address}/");
    service::ready();
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // The task that answers is this one's neighbour: if the runtime turns, it does.
            () = service::watchdog(tokio::task::yield_now) => {}
        }
        service::stopping();
    };
    tracker::run(bound, options, shutdown).await.map_err(|error| match error {
        tracker::Error::Bind { .. } => Failure::running(error),
        tracker::Error::Certificate(_) | tracker::Error::HalfCertificate => {
            Failure::Argument(error.to_string())
        }
    })
}
