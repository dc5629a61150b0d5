//! CONNECT: a blind tunnel (RFC 9110 §9.3.6). Nothing in it is looked at or shared.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Shared;
use super::answer::{Body, full, sentence};

/// Tunnels at the same time; one more is refused.
pub const TUNNELS: usize = 128;
/// A tunnel in which nothing moves for this long is closed.
const IDLE: Duration = Duration::from_secs(300);
/// Bytes read at once, in each direction.
const CHUNK: usize = 16 * 1024;

/// Opens a tunnel: connects first, so that no byte flows before our 200.
pub async fn open(asked: Request<Incoming>, host: &str, port: u16, shared: &Arc<Shared>) -> Response<Body> {
    if port != 443 && !shared.setup.options.connect_ports.contains(&port) {
        let text =
            format!("CONNECT to port {port} is not allowed; add it to proxy.connect_ports if it should be");
        return sentence(StatusCode::FORBIDDEN, &text);
    }
    let Ok(permit) = Arc::clone(&shared.tunnels).try_acquire_owned() else {
        return sentence(StatusCode::SERVICE_UNAVAILABLE, "too many tunnels are open");
    };
    let server = match shared.engine.origin().tunnel(host, port).await {
        Ok(server) => server,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return sentence(StatusCode::FORBIDDEN, &error.to_string());
        }
        Err(error) => return sentence(StatusCode::BAD_GATEWAY, &format!("no tunnel to {host}: {error}")),
    };
    // Ends with either side, after the idle time, or with the runtime.
    tokio::spawn(async move {
        if let Ok(client) = hyper::upgrade::on(asked).await {
            let (client_in, client_out) = tokio::io::split(TokioIo::new(client));
            let (server_in, server_out) = server.into_split();
            tokio::join!(copy(client_in, server_out), copy(server_in, client_out));
        }
        drop(permit);
    });
    Response::new(full(""))
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(Ok(length)) = tokio::time::timeout(IDLE, from.read(&mut chunk)).await {
        if length == 0 || to.write_all(&chunk[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
