//! CONNECT: a blind tunnel (RFC 9110 §9.3.6). Nothing in it is looked at or shared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Shared;
use super::answer::{Body, full, sentence};
use crate::engine::origin::Reach;

/// Tunnels at the same time; one more is refused.
const TUNNELS: usize = 128;
/// A tunnel in which nothing moves for this long, in neither direction, is closed.
const IDLE: Duration = Duration::from_secs(300);
/// Bytes read at once, in each direction.
const CHUNK: usize = 16 * 1024;

/// The tunnels that are open; they end with this.
#[derive(Debug)]
pub struct Tunnels {
    room: Arc<Semaphore>,
    open: Mutex<JoinSet<()>>,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(TUNNELS)), open: Mutex::default() }
    }
}

impl Tunnels {
    fn spawn(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while open.try_join_next().is_some() {}
        open.spawn(tunnel);
    }

    /// Ends them all, and waits until they have.
    pub async fn close(&self) {
        let mut open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        open.shutdown().await;
    }
}

/// Opens a tunnel: connects first, so that no byte flows before our 200.
pub async fn open(
    asked: Request<Incoming>,
    (host, port): (&str, u16),
    reach: Reach,
    shared: &Arc<Shared>,
) -> Response<Body> {
    if port != 443 && !shared.setup.options.connect_ports.contains(&port) {
        let text =
            format!("CONNECT to port {port} is not allowed; add it to proxy.connect_ports if it should be");
        return sentence(StatusCode::FORBIDDEN, &text);
    }
    let Ok(permit) = Arc::clone(&shared.tunnels.room).try_acquire_owned() else {
        return sentence(StatusCode::SERVICE_UNAVAILABLE, "too many tunnels are open");
    };
    let server = match shared.engine.origin().tunnel(host, port, reach).await {
        Ok(server) => server,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return sentence(StatusCode::FORBIDDEN, &error.to_string());
        }
        Err(error) => return sentence(StatusCode::BAD_GATEWAY, &format!("no tunnel to {host}: {error}")),
    };
    shared.tunnels.spawn(async move {
        if let Ok(client) = hyper::upgrade::on(asked).await {
            join(TokioIo::new(client), server, IDLE).await;
        }
        drop(permit);
    });
    Response::new(full(""))
}

/// Carries bytes both ways until both ends have said all, one breaks off, or nothing has moved for `idle`.
async fn join(client: impl AsyncRead + AsyncWrite + Unpin, server: TcpStream, idle: Duration) {
    let moved = AtomicU64::new(0);
    let (client_in, client_out) = tokio::io::split(client);
    let (server_in, server_out) = server.into_split();
    let both = async {
        tokio::try_join!(copy(client_in, server_out, &moved), copy(server_in, client_out, &moved)).map(drop)
    };
    let silence = async {
        let mut seen = moved.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(idle).await;
            let now = moved.load(Ordering::Relaxed);
            if now == seen {
                return;
            }
            seen = now;
        }
    };
    tokio::select! {
        _ = both => {}
        () = silence => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
        moved.fetch_add(length as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn socket_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (one, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_tunnel_carries_half_closed_directions_and_ends_when_both_are() {
        let (mut player, ours) = socket_pair().await;
        let (theirs, mut server) = socket_pair().await;
        let tunnel = tokio::spawn(join(ours, theirs, Duration::from_secs(3600)));
        player.write_all(b"hello").await.unwrap();
        player.shutdown().await.unwrap();
        let mut said = String::new();
        server.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
        server.write_all(b"goodbye").await.unwrap();
        drop(server);
        let mut answered = String::new();
        player.read_to_string(&mut answered).await.unwrap();
        assert_eq!(answered, "goodbye");
        tunnel.await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_tunnel_ends() {
        let (_player, ours) = socket_pair().await;
        let (theirs, _server) = socket_pair().await;
        join(ours, theirs, Duration::from_millis(10)).await;
    }
}
