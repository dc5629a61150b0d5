//! The service: sockets and tasks around the swarms. It never learns which stream a swarm is about.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::connection::{self, Door, Inbox};
use super::history::History;
use super::networks::Networks;
use super::options::Options;
use super::pulse::Pulse;
use super::refusals::Refusals;
use super::report;
use super::swarms::{ConnectionId, Input, Limits, Swarms};
use super::{stun, tls};
use crate::model::time::Time;
use crate::wire::tracker::FromTracker;

/// Messages of all connections that may wait for the owner of the swarms; past it connections wait.
const INBOX: usize = 1024;
/// Ports tried until one is free for TCP and UDP alike.
const TRIES: usize = 16;

/// Why the tracker can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not ours.
    #[error("can't listen on {address}: {error}; choose another with --listen")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The certificate.
    #[error("{0}")]
    Certificate(#[from] tls::BadCertificate),
    /// What all viewers need is gone, though nobody has asked for that.
    #[error("viewers can't be served any more: {0}")]
    Broken(String),
    /// Only one of the two is given.
    #[error("tracker_server.certificate and tracker_server.key are needed together")]
    HalfCertificate,
}

impl Error {
    /// The key of [`Options`] that is to blame; `None` where nothing is wrong with them.
    #[must_use]
    pub fn key(&self, options: &Options) -> Option<&'static str> {
        match self {
            Self::Bind { .. } | Self::Broken(_) => None,
            Self::Certificate(tls::BadCertificate::File { file, .. }) if *file == options.key => Some("key"),
            Self::HalfCertificate if options.certificate.as_os_str().is_empty() => Some("key"),
            Self::Certificate(_) | Self::HalfCertificate => Some("certificate"),
        }
    }
}

/// The sockets of a tracker.
#[derive(Debug)]
pub struct Bound {
    tcp: TcpListener,
    udp: Option<UdpSocket>,
    address: SocketAddr,
    /// The way to the owner of the swarms, and its end.
    inbox: (mpsc::Sender<Inbox>, mpsc::Receiver<Inbox>),
}

impl Bound {
    fn new(tcp: TcpListener, udp: Option<UdpSocket>, address: SocketAddr) -> Self {
        Self { tcp, udp, address, inbox: mpsc::channel(INBOX) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// To ask whether the tracker that runs with these is alive.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse::of(&self.inbox.0)
    }
}

/// Binds TCP and UDP on one port number; port 0 finds a free pair.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(listen: SocketAddr, stun: bool) -> Result<Bound, Error> {
    let failed = |error| Error::Bind { address: listen, error };
    let mut last = None;
    for _ in 0..TRIES {
        let tcp = TcpListener::bind(listen).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        if !stun {
            return Ok(Bound::new(tcp, None, address));
        }
        match UdpSocket::bind(address).await {
            Ok(udp) => return Ok(Bound::new(tcp, Some(udp), address)),
            Err(error) if listen.port() != 0 => return Err(failed(error)),
            Err(error) => last = Some(error),
        }
    }
    Err(failed(last.unwrap_or_else(|| io::Error::other("no free port"))))
}

/// Takes over sockets that a service manager opened; without one for STUN it is bound at the same address here, unless `stun`
/// is off.
///
/// # Errors
/// When UDP is taken there.
pub async fn inherit(tcp: TcpListener, udp: Option<UdpSocket>, stun: bool) -> Result<Bound, Error> {
    let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
    let address = tcp.local_addr().map_err(|error| Error::Bind { address: unspecified, error })?;
    let udp = match udp {
        _ if !stun => None,
        Some(udp) => Some(udp),
        None => Some(UdpSocket::bind(address).await.map_err(|error| Error::Bind { address, error })?),
    };
    Ok(Bound::new(tcp, udp, address))
}

/// Whether a tracker could run with these options, but for its address.
///
/// # Errors
/// When the certificate can't be used.
pub fn check(options: &Options) -> Result<(), Error> {
    certificate(options).map(drop)
}

fn certificate(options: &Options) -> Result<Option<tls::Certificate>, Error> {
    match (options.certificate.as_os_str().is_empty(), options.key.as_os_str().is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(tls::Certificate::load(&options.certificate, &options.key)?)),
        _ => Err(Error::HalfCertificate),
    }
}

/// Serves until `shutdown` resolves; every connection and task is ended then.
///
/// # Errors
/// When the certificate can't be used, or a task that all viewers need is gone.
pub async fn run(bound: Bound, options: Options, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    run_with(bound, watch::Sender::new(options).subscribe(), shutdown).await
}

/// [`run`] with options of which those that [`Options::reloaded`] takes over may change.
///
/// # Errors
/// See [`run`].
pub async fn run_with(
    bound: Bound,
    changing: watch::Receiver<Options>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let options = changing.borrow().clone();
    let certificate = certificate(&options)?;
    let (inbox, arriving) = bound.inbox;
    let mut tasks = JoinSet::new();
    let (networks, refusals) = (Arc::new(Networks::new(&options.networks)), Arc::new(Refusals::default()));
    if let Some(udp) = bound.udp {
        tasks.spawn(stun::run(udp, changing.clone(), Arc::clone(&refusals)));
    }
    tasks.spawn(own(options, Arc::clone(&networks), Arc::clone(&refusals), arriving));
    let door = Arc::new(Door::new(changing, networks, refusals, certificate, inbox));
    let served = serve(&bound.tcp, &door, &mut tasks, shutdown).await;
    tasks.shutdown().await;
    served
}

/// Takes viewers in until `shutdown` resolves or one of `tasks`, which are for all of them, has ended.
async fn serve(
    tcp: &TcpListener,
    door: &Arc<Door>,
    tasks: &mut JoinSet<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    let served = loop {
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            Some(ended) = tasks.join_next() => {
                let why = ended.err().map_or_else(|| "a task ended by itself".to_owned(), |error| error.to_string());
                break Err(Error::Broken(why));
            }
            accepted = tcp.accept() => match accepted {
                Ok((stream, from)) => connection::accept(&mut connections, stream, from, door),
                Err(error) => {
                    tracing::warn!("a viewer could not be accepted ({error}); raise the limit of open files");
                    // Whatever is lacking comes back when a connection ends.
                    tokio::select! {
                        () = &mut shutdown => break Ok(()),
                        _ = connections.join_next() => {}
                        () = tokio::time::sleep(Duration::from_millis(100)) => {}
                    }
                }
            },
            Some(_) = connections.join_next() => {}
        }
    };
    connections.shutdown().await;
    served
}

/// The one task that owns the swarms.
async fn own(
    options: Options,
    networks: Arc<Networks>,
    refusals: Arc<Refusals>,
    mut arriving: mpsc::Receiver<Inbox>,
) {
    let mut seed = [0; 8];
    // Without entropy the choices are the same at each start, which harms nobody.
    let _ = getrandom::fill(&mut seed);
    let mut swarms = Swarms::of_networks(networks.names().len(), limits(&options), u64::from_le_bytes(seed));
    let mut history = History::default();
    let mut writers: HashMap<ConnectionId, mpsc::Sender<FromTracker>> = HashMap::new();
    let (began, mut out) = (Instant::now(), Vec::new());
    let now = || Time::ZERO + began.elapsed();
    loop {
        let point = history.due(swarms.sizes().1 > 0);
        if point.is_some_and(|at| at <= now()) {
            history.note(now(), swarms.accounts().total().rate);
            continue;
        }
        let wake = swarms.next_wakeup().into_iter().chain(point).min().map(|at| at - now());
        let input = tokio::select! {
            message = arriving.recv() => match message {
                None => return,
                Some(Inbox::Came(id, network, writer)) => {
                    writers.insert(id, writer);
                    Input::Came(id, network)
                }
                Some(Inbox::Said(id, message)) => Input::Said(id, message),
                Some(Inbox::Gone(id)) => {
                    writers.remove(&id);
                    Input::Gone(id)
                }
                Some(Inbox::Pulse(reply)) => {
                    let _ = reply.send(());
                    continue;
                }
                Some(Inbox::Stats(reply)) => {
                    let (names, open) = (networks.names(), (writers.len(), &*refusals));
                    let _ = reply.send(report::document(&swarms, names, open, now()));
                    continue;
                }
                Some(Inbox::Past(reply)) => {
                    let _ = reply.send(report::past(&history));
                    continue;
                }
            },
            () = sleep(wake) => Input::Tick,
        };
        swarms.handle(now(), input, &mut out);
        for (to, message) in out.drain(..) {
            // Whoever does not take its messages is let go: its writer ends when the queue does.
            if writers.get(&to).is_some_and(|writer| writer.try_send(message).is_err()) {
                writers.remove(&to);
            }
        }
    }
}

fn limits(options: &Options) -> Limits {
    Limits {
        swarms: options.max_swarms,
        members: options.max_connections * 4,
        swarms_each: 64,
        interval: options.interval(),
    }
}

async fn sleep(wake: Option<Duration>) {
    match wake {
        Some(wake) => tokio::time::sleep(wake).await,
        None => std::future::pending().await,
    }
}

/// The network that an address counts for: its /24 or /48.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_the_owner_of_the_swarms_there_is_no_tracker() {
        let Bound { tcp, inbox: (inbox, arriving), .. } =
            bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let networks = Arc::new(Networks::new(&[]));
        let options = watch::Sender::new(Options::default());
        let door = Arc::new(Door::new(options.subscribe(), networks, Arc::default(), None, inbox));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _arriving = arriving;
            panic!("the owner of the swarms dies");
        });
        let served = serve(&tcp, &door, &mut tasks, std::future::pending());
        let error = tokio::time::timeout(Duration::from_secs(10), served).await.unwrap().unwrap_err();
        assert!(error.to_string().starts_with("viewers can't be served any more: "), "{error}");
        assert_eq!(error.key(&Options::default()), None, "exit status 1: no option is to blame");
    }
}
