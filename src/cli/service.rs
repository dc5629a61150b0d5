//! Under a service manager (sd_notify(3), sd_listen_fds(3)): sockets it opened, and telling it how we are. Without one
//! nothing here does anything.

use std::net::SocketAddr;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::{TcpListener, UdpSocket};

use super::exit::Failure;

/// The sockets that the service manager opened for us, in its order.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Those that listen.
    pub tcp: Vec<TcpListener>,
    /// Those for datagrams.
    pub udp: Vec<UdpSocket>,
}

/// What the service manager hands over; nothing without one.
///
/// # Errors
/// When one of them is a socket of neither kind.
pub fn inherited() -> Result<Inherited, Failure> {
    let mut sockets = listenfd::ListenFd::from_env();
    let mut inherited = Inherited::default();
    for index in 0..sockets.len() {
        // One of another kind is left where it is.
        if let Ok(Some(listener)) = sockets.take_tcp_listener(index) {
            listener.set_nonblocking(true).map_err(Failure::running)?;
            inherited.tcp.push(TcpListener::from_std(listener).map_err(Failure::running)?);
        } else if let Some(socket) = sockets.take_udp_socket(index).map_err(Failure::running)? {
            socket.set_nonblocking(true).map_err(Failure::running)?;
            inherited.udp.push(UdpSocket::from_std(socket).map_err(Failure::running)?);
        }
    }
    Ok(inherited)
}

/// Warns where the address of a key is none of those that are listened at for us: who set it waits there in vain. The default
/// is what nobody set.
pub fn overrules(inherited: &[SocketAddr], unit: &str, (key, set, default): (&str, SocketAddr, SocketAddr)) {
    if inherited.is_empty() || set == default || inherited.contains(&set) {
        return;
    }
    let there: Vec<String> = inherited.iter().map(ToString::to_string).collect();
    tracing::warn!(
        "{key} = {set} is not listened at: a service manager handed over {} instead, and that goes before it. Set \
         ListenStream there (`systemctl edit {unit}`), or disable {unit} and enable the service alone",
        there.join(", ")
    );
}

/// Players (or viewers) are served now.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    // A service manager that can't be told is no reason not to serve.
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!("the service manager was not told {states:?}: {error}");
    }
}

/// Tells the watchdog, for as long as `alive` answers yes in time; pending for ever without one.
pub async fn watchdog<F: Future<Output = bool>>(alive: impl Fn() -> F) {
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) || micros == 0 {
        return std::future::pending().await;
    }
    // Twice in each period, as sd_watchdog_enabled(3) recommends.
    watch_over(Duration::from_micros(micros / 2), alive, || tell(&[NotifyState::Watchdog])).await;
}

async fn watch_over<F: Future<Output = bool>>(half: Duration, alive: impl Fn() -> F, well: impl Fn()) {
    loop {
        if matches!(tokio::time::timeout(half, alive()).await, Ok(true)) {
            well();
        } else {
            tracing::error!("the core does not answer; the watchdog is not told that all is well");
        }
        tokio::time::sleep(half).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn whoever_answers_that_it_is_not_alive_is_not_told_of() {
        let (asked, told) = (Cell::new(0), Cell::new(None));
        let alive = async || {
            asked.set(asked.get() + 1);
            asked.get() > 3
        };
        let over = tokio::sync::Notify::new();
        let well = || {
            told.set(told.get().or(Some(asked.get())));
            over.notify_one();
        };
        tokio::select! {
            () = watch_over(Duration::from_millis(1), alive, well) => {}
            () = over.notified() => {}
        }
        assert_eq!(told.get(), Some(4));
    }
}
