//! The face to players; knows nothing of pieces or peers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

mod absent;
pub mod address;
mod answer;
mod coding;
mod coming;
mod connection;
pub mod control;
mod dash;
mod files;
pub mod headers;
mod listen;
mod manifest;
mod masters;
mod names;
mod options;
mod presentations;
pub mod range;
mod recent;
mod repair;
mod request;
mod segment;
mod streams;
mod tunnel;

#[cfg(test)]
mod tests;

use crate::engine::Handle;
use crate::manifest::identity::Rules;
use absent::Absent;
use address::Names;
use connection::Connection;
use control::events::Events;
use files::Files;
pub use listen::{BindError, bind};
use masters::Masters;
pub use options::{Channel, Options};
use presentations::Presentations;
use recent::Recent;
use streams::Streams;
use tunnel::Tunnels;

/// Client connections at the same time; the next one waits to be accepted.
const CONNECTIONS: usize = 256;
/// Header fields of a request.
const HEADERS: usize = 64;
/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;
/// How long answers under way may take at the end.
const DRAIN: Duration = Duration::from_secs(7);
/// How long, at the end, the first request of somebody who has just come is waited for: it is on its way.
const JUST_COME: Duration = Duration::from_millis(300);

/// What the proxy is run with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its options.
    pub options: Options,
    /// Channels by name.
    pub channels: BTreeMap<String, Channel>,
    /// What makes two URLs the same.
    pub rules: Rules,
    /// Our name in Via, by which a loop through other proxies is seen.
    pub pseudonym: String,
}

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Shared {
    engine: Handle,
    setup: Setup,
    names: Names,
    masters: Masters,
    streams: Streams,
    presentations: Presentations,
    files: Files,
    recent: Recent,
    absent: Absent,
    tunnels: Tunnels,
    events: Events,
}

/// Serves players until `shutdown` resolves; answers under way then have seven seconds.
///
/// The caller binds, so that a test needs no fixed port and a taken one is reported before anything starts.
///
/// # Errors
/// When a listener can't tell its own address.
pub async fn run(
    listeners: Vec<TcpListener>,
    engine: Handle,
    setup: Setup,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut names = Names { ports: Vec::new(), hosts: setup.options.allowed_hosts.clone() };
    for listener in &listeners {
        let address = listener.local_addr()?;
        names.ports.push(address.port());
        engine.origin().own().add(address);
    }
    let (closing, closed) = watch::channel(false);
    let streams = Streams::new(&setup.channels, &setup.rules);
    let shared = Arc::new(Shared {
        engine,
        setup,
        names,
        masters: Masters::default(),
        streams,
        presentations: Presentations::default(),
        files: Files::default(),
        recent: Recent::default(),
        absent: Absent::default(),
        tunnels: Tunnels::default(),
        events: Events::new(closed.clone()),
    });
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let next = async {
            // A client beyond the limit waits in the listeners' queues.
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listen::accept(&listeners).await)
        };
        let (permit, (stream, client)) = tokio::select! {
            () = &mut shutdown => break,
            accepted = next => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let connection = attend(stream, client, Arc::clone(&shared), closed.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listeners);
    closing.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        connections.shutdown().await;
    }
    shared.tunnels.close().await;
    Ok(())
}

/// Answers what one client asks, until it goes, its time is up, or no more requests are to be taken.
async fn attend(
    stream: TcpStream,
    client: SocketAddr,
    shared: Arc<Shared>,
    mut closed: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let stream = Connection::new(stream);
    let doing = stream.doing();
    let asked = doing.clone();
    let service = hyper::service::service_fn(move |asked| {
        request::serve(asked, client, doing.clone(), Arc::clone(&shared))
    });
    let connection = http1::Builder::new()
        .max_headers(HEADERS)
        .max_buf_size(HEAD)
        .keep_alive(true)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    // Players hang up in the middle all the time: that is no error of ours.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = ended(&mut closed) => {
            if asked.awaits_a_request() && tokio::time::timeout(JUST_COME, connection.as_mut()).await.is_ok() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Resolves when no more requests are to be taken.
async fn ended(closed: &mut watch::Receiver<bool>) {
    let _ = closed.wait_for(|&closed| closed).await;
}
