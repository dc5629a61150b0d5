//! One client, for as long as it stays: its requests one after the other, until it goes or none are taken any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::clients::Client;
use super::connection::Connection;
use super::{Shared, request};

/// Header fields of a request.
const HEADERS: usize = 64;
/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;
/// Bytes on their way to a player on this machine, which needs no more. What the system would let lie there, 4 MB and more, a
/// player that reads a long file as it plays it has not asked for yet: a minute and a half of media at 400 kbit/s.
const ON_THE_WAY: usize = 128 * 1024;
/// How long, at the end, the first request of somebody who has just come is waited for: it is on its way.
const JUST_COME: Duration = Duration::from_millis(300);

/// Answers what one client asks, until it goes, its time is up, or no more requests are to be taken.
pub async fn attend(
    stream: TcpStream,
    client: SocketAddr,
    shared: Arc<Shared>,
    mut closed: watch::Receiver<bool>,
) {
    if client.ip().to_canonical().is_loopback() {
        let _ = SockRef::from(&stream).set_send_buffer_size(ON_THE_WAY);
    }
    let client = Client::new(client, stream.local_addr().ok());
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
pub async fn ended(closed: &mut watch::Receiver<bool>) {
    let _ = closed.wait_for(|&closed| closed).await;
}
