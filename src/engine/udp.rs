//! The UDP sockets of one connection: large enough buffers, and the packet filter before the stack.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use webrtc::runtime::primitives::{RecvMeta, Transmit};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

use super::filter::Filter;

/// Kernel buffers in each direction; the usual 208 KiB cost nine tenths of the speed on a burst.
const SOCKET_BUFFER: usize = 2 << 20;

/// A filter that a connection's sockets and its channel share.
pub type Shared = Arc<Mutex<Filter>>;

/// Tokio for the stack, with our sockets.
#[derive(Debug)]
pub struct Guarded {
    filter: Shared,
}

impl Guarded {
    /// For one connection.
    #[must_use]
    pub fn new(filter: Shared) -> Self {
        Self { filter }
    }
}

/// The filter, whatever happened to the thread that held it last: its state is plain counters.
pub fn locked(filter: &Shared) -> MutexGuard<'_, Filter> {
    filter.lock().unwrap_or_else(PoisonError::into_inner)
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for Guarded {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn spawn_reactor(&self, size: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn_reactor(size, future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        // The kernel may give less (net.core.rmem_max): slower, not wrong.
        let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
        let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BUFFER);
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(Socket { inner, filter: Arc::clone(&self.filter) }))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, remote: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }
}

#[derive(Debug)]
struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    filter: Shared,
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        locked(&self.filter).sends_to(transmit.destination);
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let polled = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(filled)) = polled {
            let mut filter = locked(&self.filter);
            for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(filled) {
                sift(&mut filter, buf, meta);
            }
        }
        polled
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

/// Takes out of one receive, which may hold several datagrams of one sender, those that may not pass.
fn sift(filter: &mut Filter, buf: &mut [u8], meta: &mut RecvMeta) {
    let (stride, len) = (meta.stride.max(1), meta.len.min(buf.len()));
    let (mut read, mut write) = (0, 0);
    while read < len {
        let end = (read + stride).min(len);
        if filter.pass(meta.addr, &buf[read..end]).is_ok() {
            if write != read {
                buf.copy_within(read..end, write);
            }
            write += end - read;
        }
        read = end;
    }
    meta.len = write;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(from: SocketAddr, len: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (from, len, 4);
        meta
    }

    #[test]
    fn a_coalesced_receive_is_sifted_datagram_by_datagram() {
        let from: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        let mut filter = Filter::default();
        let mut buf = vec![0, 1, 1, 1, 23, 2, 2, 2, 0, 3, 3, 3, 0, 4];
        let mut meta = received(from, 14);
        sift(&mut filter, &mut buf, &mut meta);
        assert_eq!(&buf[..meta.len], [0, 1, 1, 1, 0, 3, 3, 3, 0, 4]);
        let mut meta = received(from, 4);
        sift(&mut filter, &mut [22, 0, 0, 0], &mut meta);
        assert_eq!(meta.len, 0);
    }
}
