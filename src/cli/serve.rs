//! `paceline serve`: wires the options to engine and proxy; waits; drains.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args as ClapArgs;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use url::Url;

use super::exit::Failure;
use super::output::print;
use super::state::StateFile;
use super::{conditions, logging, service, state};
use crate::config::{Config, Flag, Loaded};
use crate::engine::brain::StartPeers;
use crate::engine::origin::{Origin, OwnListeners};
use crate::engine::steering::{Change, Kept};
use crate::engine::{self, Handle, peers};
use crate::manifest::identity::Rules;
use crate::model::ids::PeerId;
use crate::proxy::grants::Grants;
use crate::proxy::{self, BindError, Setup};
use crate::tracker;

/// How long the engine may take to end, and then the P2P side to say goodbye to peers and trackers. With the time that
/// the proxy gives its players (seven seconds) and [`WRITE`] the daemon ends within ten.
const GOODBYE: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1_500)];
/// How long the last writing of `p2p.state` may take; a disk that hangs, or a share that is gone, holds up nobody.
const WRITE: Duration = Duration::from_millis(500);

/// Arguments of `serve`; each goes before the environment and the file.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Configuration file; see config.example.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDR", value_parser = super::address::parse)]
    pub listen: Option<SocketAddr>,
    /// Tracker to find other viewers through (ws:// or wss://); may be given several times
    #[arg(long, value_name = "URL")]
    pub tracker: Vec<String>,
    /// Plain HTTP only: no tracker, no peers
    #[arg(long)]
    pub no_p2p: bool,
    /// Take from peers, give nothing
    #[arg(long)]
    pub no_upload: bool,
    /// Check the configuration, print what would be in force, and end
    #[arg(long)]
    pub check: bool,
}

impl Args {
    /// The configuration with the arguments over it.
    ///
    /// # Errors
    /// What is wrong, and where.
    fn load(&self) -> Result<Loaded, Failure> {
        let mut flags = Vec::new();
        let mut flag = |name, key, value| flags.push(Flag { name, key, value });
        if let Some(listen) = self.listen {
            flag("--listen", "proxy_listen", listen.to_string());
        }
        if !self.tracker.is_empty() {
            flag("--tracker", "tracker_urls", toml::Value::from(self.tracker.clone()).to_string());
        }
        if self.no_p2p {
            flag("--no-p2p", "p2p_enabled", "false".to_owned());
        }
        if self.no_upload {
            flag("--no-upload", "p2p_upload", "never".to_owned());
        }
        Ok(Loaded::read(self.config.as_deref(), std::env::vars_os(), &flags)?)
    }

    /// What was kept of an earlier run, but for what an argument speaks of.
    fn kept(&self, state: Option<&mut StateFile>) -> Kept {
        let mut kept = state.map(StateFile::read).unwrap_or_default();
        kept.p2p = kept.p2p.filter(|_| !self.no_p2p);
        kept.upload = kept.upload.filter(|_| !self.no_upload);
        kept
    }
}

/// A daemon that runs in this process.
#[derive(Debug)]
pub struct Daemon {
    /// Where it listens.
    pub address: SocketAddr,
    /// The engine, to ask for statistics.
    pub handle: Handle,
    origin: Origin,
    access: watch::Sender<peers::Access>,
    stop: Option<oneshot::Sender<()>>,
    proxy: JoinHandle<io::Result<()>>,
    engine: JoinHandle<()>,
    threads: Threads,
}

/// The P2P side's thread, each time it was started.
type Threads = Arc<Mutex<Vec<std::thread::JoinHandle<()>>>>;

impl Daemon {
    /// Takes no more players and lets answers under way finish.
    pub async fn drain(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
            if let Ok(Err(error)) = (&mut self.proxy).await {
                tracing::error!("players could not be served: {error}");
            }
        }
    }

    /// Takes over what it opens trackers, relays and origins with from now on.
    fn renew(&self, config: &Config) {
        self.access.send_replace(access(config));
        if let Err(error) = self.origin.renew(&config.origin) {
            tracing::warn!("origins are asked as before: {error}");
        }
    }

    /// Resolves when players can't be served any more though nobody has asked for that, with the reason.
    pub async fn broken(&mut self) -> Failure {
        let why = match (&mut self.proxy).await {
            Ok(Ok(())) => "the proxy ended by itself".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // Nobody is left to be waited for.
        self.stop = None;
        Failure::Running(format!("players can't be served any more: {why}"))
    }

    /// [Drains](Self::drain), tells peers and trackers, and ends every task.
    pub async fn stop(mut self) {
        self.drain().await;
        let Self { handle, engine, threads, .. } = self;
        // The engine ends when nobody is left to ask it.
        drop(handle);
        let [engine_ends, threads_end] = GOODBYE;
        let _ = tokio::time::timeout(engine_ends, engine).await;
        // The P2P side tells trackers and peers that we leave; it has bounds of its own.
        let threads = std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
        let ended =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = tokio::time::timeout(threads_end, ended).await;
    }
}

/// Starts a daemon that goes on with what was kept of an earlier one. It is ready for players when this returns.
///
/// # Errors
/// When the address is taken or an option can't be used.
pub async fn start(config: Config, kept: Kept) -> Result<Daemon, Failure> {
    let rules = Rules::new(&config.identity).map_err(|error| Failure::Argument(error.to_string()))?;
    let listeners = listeners(&config.proxy).await?;
    let address = listeners[0].local_addr().map_err(Failure::running)?;
    let own = OwnListeners::default();
    let origin =
        Origin::new(config.origin.clone(), own).map_err(|error| Failure::Argument(error.to_string()))?;
    let (mut entropy, mut key) = ([0; 20], [0; 32]);
    getrandom::fill(&mut entropy).map_err(Failure::running)?;
    getrandom::fill(&mut key).map_err(Failure::running)?;
    let (name, seed) = entropy.split_at(12);
    let mut options = engine::Options {
        configured: config.configured(),
        kept,
        trackers: config.tracker.urls.len(),
        entropy: [0; 12],
        seed: 0,
    };
    options.entropy.copy_from_slice(name);
    options.seed = seed.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    let me = PeerId::from_entropy(options.entropy);
    let threads = Threads::default();
    let (access, opened) = watch::channel(access(&config));
    let (handle, engine) =
        engine::start(options, origin.clone(), Some(start_peers(&config, me, opened, Arc::clone(&threads))));
    let setup = Setup {
        options: config.proxy,
        channels: config.channels,
        rules,
        pseudonym: format!("paceline-{me}"),
        grants: Grants::new(key),
    };
    let (stop, stopped) = oneshot::channel();
    let asked = handle.clone();
    let proxy = tokio::spawn(async move {
        let shutdown = async {
            let _ = stopped.await;
        };
        proxy::run(listeners, asked, setup, shutdown).await
    });
    Ok(Daemon { address, handle, origin, access, stop: Some(stop), proxy, engine, threads })
}

/// Where players come in: the sockets of a service manager, or else where the options say.
async fn listeners(options: &proxy::Options) -> Result<Vec<TcpListener>, Failure> {
    let failed = |error: BindError| match error {
        BindError::Exposed(_) => Failure::Argument(error.to_string()),
        BindError::Taken(_) | BindError::Refused(..) => Failure::running(error),
    };
    let inherited = service::inherited()?.tcp;
    if inherited.is_empty() {
        return proxy::bind(options).await.map_err(failed);
    }
    let addresses: io::Result<Vec<SocketAddr>> = inherited.iter().map(TcpListener::local_addr).collect();
    let addresses = addresses.map_err(Failure::running)?;
    for address in &addresses {
        proxy::check_exposure(*address, options).map_err(failed)?;
    }
    let listen = ("proxy.listen", options.listen, proxy::Options::default().listen);
    service::overrules(&addresses, "paceline.socket", listen);
    Ok(inherited)
}

fn trackers(config: &Config) -> Vec<Url> {
    config.tracker.urls.iter().filter_map(|url| Url::parse(url).ok()).collect()
}

fn access(config: &Config) -> peers::Access {
    peers::Access::new(&config.ice, &trackers(config), config.tracker.token.clone())
}

/// How the engine starts the P2P side when the first swarm is joined.
fn start_peers(
    config: &Config,
    me: PeerId,
    access: watch::Receiver<peers::Access>,
    threads: Threads,
) -> StartPeers {
    let options = peers::Options::new(me, &config.ice, trackers(config), access);
    Box::new(move |commands, events| match peers::start(options.clone(), commands, events) {
        Ok((thread, tasks)) => {
            threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            Some(tasks)
        }
        Err(error) => {
            tracing::warn!("no peers: {error}; playback goes on over HTTP alone");
            None
        }
    })
}

/// Runs until SIGINT or SIGTERM; a second one ends at once, SIGHUP reads the configuration again.
///
/// # Errors
/// See [`start`].
pub async fn run(args: Args) -> Result<(), Failure> {
    let loaded = args.load()?;
    if args.check {
        return check(&loaded);
    }
    let config = loaded.config;
    logging::start(&config.log.level).map_err(|error| Failure::Argument(error.to_string()))?;
    let p2p = config.policy().p2p;
    let wanted = config.p2p.enabled;
    let mut current = config.clone();
    // Before the first player is served: from then on a signal must not cut anybody off.
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::running)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::running)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::running)?;
    let mut state_file = StateFile::of(&config.p2p);
    let kept = args.kept(state_file.as_mut());
    state::tell(&kept, &config);
    let mut daemon = start(config, kept).await?;
    greet(&reached_at(daemon.address, &current.proxy.allowed_hosts), wanted && !p2p);
    service::ready();
    let broken = {
        let handle = daemon.handle.clone();
        let watchdog = service::watchdog(|| alive(&handle));
        let conditions = conditions::watch(&handle);
        let keep = async {
            match &mut state_file {
                Some(state) => state.keep(&handle).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(watchdog, conditions, keep);
        loop {
            // Without a tracker nobody is met, and there is nothing to look out for.
            let met = !current.tracker.urls.is_empty();
            tokio::select! {
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                failure = daemon.broken() => break Err(failure),
                _ = hangup.recv() => {
                    service::reloading();
                    reload(&args, &mut current, &daemon).await;
                    service::ready();
                }
                () = &mut watchdog => {}
                () = &mut conditions, if met => {}
                () = &mut keep => {}
            }
        }
    };
    service::stopping();
    tracing::info!("stopping: answers under way are finished first");
    tokio::select! {
        () = end(daemon, state_file) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    broken
}

/// What players write for a daemon that listens at `address`: of one that listens everywhere, the first name it is allowed.
fn reached_at(address: SocketAddr, allowed_hosts: &[String]) -> String {
    match allowed_hosts.first() {
        Some(host) if address.ip().is_unspecified() => {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if has_port { host.clone() } else { format!("{host}:{}", address.port()) }
        }
        _ => address.to_string(),
    }
}

/// Says where to point a player, whatever level is logged.
fn greet(address: &str, lonely: bool) {
    let sentence = format!("ready: point a player at http://{address}/ followed by the stream's URL");
    tracing::info!(address, "{sentence}");
    if !tracing::enabled!(tracing::Level::INFO) {
        logging::aside(&sentence);
    }
    tracing::info!(address, "what it does is shown at http://{address}/-/");
    if lonely {
        tracing::warn!(
            "no tracker is configured, so everything is plain HTTP; give one with --tracker ws://…"
        );
    }
}

/// Prints what would be in force, without its secrets, if a start would get as far as its sockets.
fn check(loaded: &Loaded) -> Result<(), Failure> {
    let config = &loaded.config;
    Origin::new(config.origin.clone(), OwnListeners::default())
        .map_err(|error| Failure::Argument(error.to_string()))?;
    // The file may be the tracker's as well.
    tracker::check(&config.tracker_server)
        .map_err(|error| super::tracker::failure(&error, &config.tracker_server, loaded))?;
    print(format_args!("{}", config.masked().to_toml()))
}

/// Whether the engine answers; of one that is gone there are no statistics.
async fn alive(handle: &Handle) -> bool {
    !handle.stats().await.is_null()
}

/// Ends it; what its last players cost is written down.
async fn end(mut daemon: Daemon, state: Option<StateFile>) {
    daemon.drain().await;
    if let Some(mut state) = state
        && tokio::time::timeout(WRITE, state.update(&daemon.handle)).await.is_err()
    {
        tracing::warn!(
            "what is kept over a restart (p2p.state) could not be written in time: it is as it was"
        );
    }
    daemon.stop().await;
}

/// Takes over what can change without dropping a player, and says what needs a restart.
async fn reload(args: &Args, current: &mut Config, daemon: &Daemon) {
    let new = match args.load() {
        Ok(new) => new.config,
        Err(error) => {
            tracing::warn!("the configuration stays as it is: {error}");
            return;
        }
    };
    let changed = current.reloaded(&new);
    if changed != new {
        tracing::warn!(
            "only [p2p] but for `state`, [memory], what [channels] are kept from, tracker.token, ice.turn and \
             origin.headers change without a restart; the rest of what is new waits for one"
        );
    }
    *current = changed;
    daemon.renew(current);
    let handle = &daemon.handle;
    handle.configure(current.configured()).await;
    if let Ok(now) = handle.switch(Change::default()).await {
        let (p2p, mode) = (if now.p2p { "on" } else { "off" }, now.upload_mode.as_str());
        tracing::info!("configuration read again (p2p {p2p}, upload {mode})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn daemon() -> Daemon {
        let mut config = Config::default();
        config.proxy.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        start(config, Kept::default()).await.unwrap()
    }

    #[test]
    fn players_are_told_a_name_that_is_answered() {
        let told = |address: &str, hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            reached_at(address.parse().unwrap(), &hosts)
        };
        assert_eq!(told("127.0.0.1:7223", &[]), "127.0.0.1:7223");
        assert_eq!(told("192.168.1.5:7223", &["box.lan"]), "192.168.1.5:7223");
        assert_eq!(told("0.0.0.0:7223", &["box.lan", "box"]), "box.lan:7223");
        assert_eq!(told("[::]:7223", &["box.lan:80"]), "box.lan:80");
        assert_eq!(told("[::]:7223", &["[fd00::1]"]), "[fd00::1]:7223");
    }

    #[tokio::test]
    async fn an_engine_that_is_gone_is_not_alive() {
        let mut daemon = daemon().await;
        assert!(alive(&daemon.handle).await);
        daemon.engine.abort();
        assert!((&mut daemon.engine).await.unwrap_err().is_cancelled());
        assert!(!alive(&daemon.handle).await);
    }

    #[tokio::test]
    async fn a_proxy_that_ends_by_itself_is_a_failure() {
        let mut daemon = daemon().await;
        let asked = tokio::time::timeout(Duration::ZERO, daemon.broken()).await;
        assert!(asked.is_err(), "it serves");
        daemon.proxy.abort();
        let failure = daemon.broken().await;
        assert!(failure.to_string().starts_with("players can't be served any more: "), "{failure}");
        assert!(matches!(failure, Failure::Running(_)), "exit status 1");
        daemon.stop().await;
    }
}
