//! The HTTP client as origins need it: no stream waits for another's reader, what is dead is found out, and what the web's
//! servers have always been forgiven is forgiven.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Connector;
use super::{Http, Options};

/// Idle connections kept for one host; a player uses two or three.
const POOL: usize = 8;
/// What may be on its way, over HTTP/2, to somebody who does not read it. Enough for 40 Mbit/s over 200 ms.
const STREAM: u32 = 1024 * 1024;
/// All streams of a connection together: as much as can be said, so that each is bounded by itself alone. Players leave renditions
/// open that they do not play, and what they do not read must not be taken from what they do.
const STREAMS: u32 = i32::MAX as u32;

/// A client that connects by `connector`, and keeps what is idle for so long.
pub(super) fn client(connector: Connector, tls: rustls::ClientConfig, keep_alive: Duration) -> Http {
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(keep_alive)
        .pool_max_idle_per_host(POOL)
        .http2_initial_stream_window_size(STREAM)
        .http2_initial_connection_window_size(STREAMS)
        // Only while something is asked: who is idle has nothing to wake up for.
        .http2_keep_alive_interval(Options::ping_after())
        .http2_keep_alive_timeout(Options::ping_answer())
        .http2_keep_alive_while_idle(false)
        // Players put up with all of this. How long a message is stays strict: see `headers::is_framed_plainly` for what
        // players send; what an origin sends is written anew before it goes on.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .build(https)
}
