//! The P2P side: connections made, accepted and closed, on threads of its own.
//!
//! One task owns who is connected and who is being connected ([`owner`]); each connection has a task ([`life`]). Whatever
//! happens here, HTTP goes on: the brain only ever talks to it through two channels.

use std::time::Duration;

use tokio::runtime::RuntimeMetrics;
use tokio::sync::mpsc;

use super::link::{Command, Event};

mod addresses;
mod complaints;
mod life;
mod meeting;
mod options;
mod owner;
mod shunned;
#[cfg(test)]
mod tests;
mod trackers;

pub use addresses::Addresses;
pub use options::{Access, BadIce, IceOptions, IceServer, Options, stun_servers, with_token};

/// Threads of the P2P side.
const THREADS: usize = 2;
/// Stack of each: the WebRTC stack is known to recurse on what comes from outside.
const STACK: usize = 8 << 20;

/// Starts the P2P side; it ends with [`Command::Stop`], or when the command channel is closed. Its tasks can be counted
/// for as long as it runs.
///
/// # Errors
/// When the system has no thread left.
pub fn start(
    options: Options,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) -> std::io::Result<(std::thread::JoinHandle<()>, RuntimeMetrics)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("paceline-p2p")
        .thread_stack_size(STACK)
        .max_blocking_threads(4)
        .enable_all()
        .build()?;
    let metrics = runtime.metrics();
    let thread = std::thread::Builder::new().name("paceline-p2p".into()).spawn(move || {
        runtime.block_on(async move {
            let owner = tokio::spawn(owner::run(options, commands, events));
            if owner.await.is_err() {
                tracing::error!("the P2P side failed; playback goes on over HTTP alone");
            }
        });
        // Tasks of the stack that are still closing get a moment, then their sockets go with the runtime.
        runtime.shutdown_timeout(Duration::from_secs(1));
    })?;
    Ok((thread, metrics))
}
