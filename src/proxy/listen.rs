//! Where players are listened for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Options;

/// How long nobody is accepted after that failed: without a descriptor to spare it would fail at once again.
const BREATHER: Duration = Duration::from_millis(100);

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Other machines could reach us, under names that we don't know.
    #[error(
        "players are listened for at {0}, which other machines can reach: set proxy.allowed_hosts to the names they may \
         use, such as [\"box.lan:{port}\"], or listen on 127.0.0.1:{port} (proxy.listen, or ListenStream of the socket unit)",
        port = .0.port()
    )]
    Exposed(SocketAddr),
    /// Somebody listens there already.
    #[error(
        "{0} is taken, perhaps by another paceline; choose another address with --listen or proxy.listen"
    )]
    Taken(SocketAddr),
    /// The system refuses.
    #[error("can't listen on {0}: {1}")]
    Refused(SocketAddr, io::Error),
}

/// Listens where the options say; of 127.0.0.1, also on the same port of ::1 where there is one, since that is what
/// `localhost` means to some players.
///
/// # Errors
/// See [`BindError`].
pub async fn bind(options: &Options) -> Result<Vec<TcpListener>, BindError> {
    let address = options.listen;
    check_exposure(address, options)?;
    let first = TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(address),
        _ => BindError::Refused(address, error),
    })?;
    let bound = first.local_addr().map_err(|error| BindError::Refused(address, error))?;
    let mut listeners = vec![first];
    if bound.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let twin = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), bound.port());
        match TcpListener::bind(twin).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(
                    "{twin} is taken by another program: point players at {bound}, not at localhost"
                );
            }
            // A machine without IPv6.
            Err(_) => {}
        }
    }
    Ok(listeners)
}

/// Whether other machines that reach `address` are told under which names.
///
/// # Errors
/// [`BindError::Exposed`].
pub fn check_exposure(address: SocketAddr, options: &Options) -> Result<(), BindError> {
    if address.ip().is_loopback() || !options.allowed_hosts.is_empty() {
        Ok(())
    } else {
        Err(BindError::Exposed(address))
    }
}

/// The next connection of any listener.
pub(super) async fn accept(listeners: &[TcpListener]) -> (TcpStream, SocketAddr) {
    loop {
        let accepted = std::future::poll_fn(|cx| {
            let mut ready = listeners.iter().filter_map(|listener| match listener.poll_accept(cx) {
                Poll::Ready(accepted) => Some(accepted),
                Poll::Pending => None,
            });
            ready.next().map_or(Poll::Pending, Poll::Ready)
        });
        match accepted.await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(
                    "a player could not be accepted ({error}); raise the limit of open files if this goes on"
                );
                tokio::time::sleep(BREATHER).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_this_machine_is_listened_for_unless_told_otherwise() {
        let at = |text: &str, hosts: &[&str]| Options {
            listen: text.parse().unwrap(),
            allowed_hosts: hosts.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        for exposed in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let refused = bind(&at(exposed, &[])).await.unwrap_err();
            assert!(
                matches!(refused, BindError::Exposed(_)) && refused.to_string().contains("allowed_hosts")
            );
        }
        assert_eq!(bind(&at("0.0.0.0:0", &["box.lan"])).await.unwrap().len(), 1);
        let both = bind(&at("127.0.0.1:0", &[])).await.unwrap();
        let port = both[0].local_addr().unwrap().port();
        assert!(both.iter().all(|listener| listener.local_addr().unwrap().port() == port));
        let taken = bind(&at(&format!("127.0.0.1:{port}"), &[])).await.unwrap_err();
        assert!(matches!(taken, BindError::Taken(_)), "{taken}");
    }
}
