//! `paceline tracker`: the tracker service.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Failure;
use super::service::Inherited;
use super::{logging, service};
use crate::config::{Flag, Loaded, Wrong};
use crate::tracker::{self, Options};

/// Arguments of `tracker`; each goes before the environment and the file.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Configuration file; see [tracker_server] in config.example.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDR", value_parser = super::address::parse)]
    pub listen: Option<SocketAddr>,
}

impl Args {
    /// The configuration with the arguments over it.
    fn load(&self) -> Result<Loaded, Failure> {
        let listen = self.listen.map(|listen| Flag {
            name: "--listen",
            key: "tracker_server_listen",
            value: listen.to_string(),
        });
        let flags: Vec<Flag> = listen.into_iter().collect();
        Ok(Loaded::read(self.config.as_deref(), std::env::vars_os(), &flags)?)
    }
}

/// Runs until SIGINT or SIGTERM; SIGHUP reads the configuration again.
///
/// # Errors
/// When the address is taken, the certificate can't be used, or viewers can't be served any more.
pub async fn run(args: Args) -> Result<(), Failure> {
    let loaded = args.load()?;
    logging::start(&loaded.config.log.level).map_err(|error| Failure::Argument(error.to_string()))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::running)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::running)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::running)?;
    let options = loaded.config.tracker_server.clone();
    let failed = |error: tracker::Error| failure(&error, &loaded.config.tracker_server, &loaded);
    // Before anybody is told that viewers are served.
    tracker::check(&options).map_err(failed)?;
    let Inherited { tcp, udp } = service::inherited()?;
    let bound = match tcp.into_iter().next() {
        Some(tcp) => {
            let inherited = tcp.local_addr().map_err(Failure::running)?;
            let listen = ("tracker_server.listen", options.listen, Options::default().listen);
            service::overrules(&[inherited], "paceline-tracker.socket", listen);
            tracker::inherit(tcp, udp.into_iter().next(), options.stun).await
        }
        None => tracker::bind(options.listen, options.stun).await,
    };
    let bound = bound.map_err(Failure::running)?;
    let scheme = if options.certificate.as_os_str().is_empty() { "ws" } else { "wss" };
    let address = bound.address();
    let (port, host) = (address.port(), "this machine's name or address");
    if address.ip().is_unspecified() {
        tracing::info!(
            %address,
            "tracker ready: start viewers with --tracker {scheme}://HOST:{port}/, where HOST is {host}"
        );
    } else {
        tracing::info!(%address, "tracker ready: start viewers with --tracker {scheme}://{address}/");
    }
    service::ready();
    let current = watch::Sender::new(options);
    let changing = current.subscribe();
    let pulse = bound.pulse();
    let shutdown = async {
        let watchdog = service::watchdog(|| pulse.beats());
        tokio::pin!(watchdog);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    service::reloading();
                    reload(&args, &current);
                    service::ready();
                }
                () = &mut watchdog => {}
            }
        }
        service::stopping();
    };
    tracker::run_with(bound, changing, shutdown).await.map_err(failed)
}

/// Takes over what can change without losing a viewer, and says what needs a restart.
fn reload(args: &Args, current: &watch::Sender<Options>) {
    let new = match args.load() {
        Ok(new) => new.config.tracker_server,
        Err(error) => {
            tracing::warn!("the configuration stays as it is: {error}");
            return;
        }
    };
    let changed = current.borrow().reloaded(&new);
    let rest = if changed == new { "" } else { "; the rest of the new file waits for a restart" };
    tracing::info!(
        "configuration read again (stats_from, stats_token, allowed_origins, max_per_network){rest}"
    );
    current.send_replace(changed);
}

/// Why there is no tracker; what is wrong with its options is laid to who set them.
pub fn failure(error: &tracker::Error, options: &Options, loaded: &Loaded) -> Failure {
    match error.key(options) {
        Some(key) => loaded.blame(&Wrong::at(&format!("tracker_server.{key}"), error)).into(),
        None => Failure::running(error),
    }
}
