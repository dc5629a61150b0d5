//! The face to players; knows nothing of pieces or peers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

mod absent;
pub mod address;
mod addressed;
mod answer;
mod attend;
mod clients;
mod cmcd;
mod coding;
mod coming;
mod connection;
pub mod control;
mod dash;
mod directives;
mod files;
pub mod grants;
pub mod headers;
mod intake;
mod listen;
mod manifest;
mod masters;
mod names;
mod options;
mod parts;
mod presentations;
mod query;
pub mod range;
mod recent;
mod reloads;
mod repair;
mod request;
mod segment;
mod streams;
mod tunnel;
mod turns;

#[cfg(test)]
mod tests;

use crate::engine::Handle;
use crate::manifest::identity::Rules;
use absent::Absent;
use address::Names;
use attend::attend;
use control::events::Events;
use files::Files;
use grants::Grants;
pub use listen::{BindError, bind, check_exposure};
use masters::Masters;
pub use options::{Channel, Options};
use parts::Parts;
use presentations::Presentations;
use recent::Recent;
use reloads::Reloads;
use streams::Streams;
use tunnel::Tunnels;
use turns::Turns;

/// Client connections at the same time; the next one waits to be accepted.
const CONNECTIONS: usize = 256;
/// How long answers under way may take at the end.
const DRAIN: Duration = Duration::from_secs(7);

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
    /// What a channel's manifests name private origins with.
    pub grants: Grants,
}

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Shared {
    engine: Handle,
    setup: Setup,
    names: Names,
    masters: Masters,
    streams: Streams,
    parts: Parts,
    presentations: Presentations,
    files: Files,
    recent: Recent,
    reloads: Reloads,
    absent: Absent,
    turns: Turns,
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
    let mut names = Names { hosts: setup.options.allowed_hosts.clone(), ..Names::default() };
    names.grants = Some(setup.grants.clone());
    for listener in &listeners {
        let address = listener.local_addr()?;
        names.listen_at(address);
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
        parts: Parts::default(),
        presentations: Presentations::default(),
        files: Files::default(),
        recent: Recent::default(),
        reloads: Reloads::default(),
        absent: Absent::default(),
        turns: Turns::default(),
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
    shared.reloads.close().await;
    shared.tunnels.close().await;
    Ok(())
}
