//! The proxy as a player and an origin see it: a real one on real sockets, spoken to in bytes.

mod address;
mod channels;
mod client;
mod dash;
mod failing;
mod guarding;
mod origin;
mod passing;
mod playlists;
mod redirects;
mod reloading;
mod repairing;
mod tls;
mod tunnels;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

use super::grants::Grants;
use super::{Channel, Options, Setup, bind, run};
use crate::delivery::policy::{self, Policy};
use crate::engine::budget::Limits;
use crate::engine::origin as outwards;
use crate::engine::steering::Configured;
use crate::engine::{self, Handle};
use crate::manifest::identity::{Naming, Rules};
use client::Client;

/// Longer than anything takes here: a test that hangs fails instead.
const AT_MOST: Duration = Duration::from_secs(60);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(AT_MOST, what).await.expect("it hangs")
}

/// What a daemon is started with.
struct Config {
    options: Options,
    origin: outwards::Options,
    channels: Vec<(&'static str, String)>,
    tls: Option<rustls::ClientConfig>,
    /// With an engine, which has no peers; without one everything is passed through.
    engine: Option<engine::Options>,
    /// Segments are known, and not only passed through.
    segments: bool,
}

/// A proxy without P2P; ends when dropped.
struct Daemon {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Daemon {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            options: Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Options::default() },
            origin: outwards::Options::default(),
            channels: Vec::new(),
            tls: None,
            engine: None,
            segments: false,
        };
        change(&mut config);
        let listeners = bind(&config.options).await.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let tls = config.tls.unwrap_or_else(|| outwards::tls_config().unwrap());
        let own = outwards::OwnListeners::default();
        let origin = outwards::Origin::with_tls(config.origin, own, tls).unwrap();
        let engine = match config.engine {
            Some(options) => engine::start(options, origin, None).0,
            None if config.segments => knowing_segments(origin),
            None => Handle::pass_through(origin),
        };
        let channels = config.channels.into_iter();
        let channels = channels
            .map(|(name, url)| (name.to_owned(), Channel::new(Url::parse(&url).unwrap(), Naming::Url)));
        let setup = Setup {
            options: config.options,
            channels: channels.collect(),
            rules: Rules::default(),
            pseudonym: format!("paceline-{}", address.port()),
            grants: Grants::new([9; 32]),
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(listeners, engine, setup, async {
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), task }
    }

    async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One GET of a path, on a connection of its own.
    async fn get(&self, path: &str) -> client::Reply {
        self.client().await.get(path).await
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        soon(&mut self.task).await.unwrap().unwrap();
    }
}

/// An engine that ends with its last handle.
fn knowing_segments(origin: outwards::Origin) -> Handle {
    let policy = policy::Options { enabled: false, ..policy::Options::default() };
    let configured = Configured {
        policy: Policy::new(&policy, 1 << 20),
        mode: policy::Upload::Never,
        budget: Limits::default(),
        channels: BTreeMap::new(),
        keeps: false,
    };
    let kept = engine::steering::Kept::default();
    let options = engine::Options { configured, kept, trackers: 0, entropy: [1; 12], seed: 1 };
    engine::start(options, origin, None).0
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}
