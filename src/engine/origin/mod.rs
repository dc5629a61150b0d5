//! HTTP outwards: pooled connections, redirects, cookies per viewer, addresses checked before they are connected to.

use std::sync::{Arc, RwLock};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::combinators::BoxBody;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use url::Url;

mod client;
mod connect;
mod cookies;
mod error;
pub mod fields;
mod options;
mod patient;
pub mod reach;
mod second;
mod send;
mod tls;
mod upload;
mod upstream;

use client::client;
use connect::Connector;
use cookies::Jars;
pub use error::Error;
pub use options::{BadOptions, Options};
pub use reach::{OwnListeners, Reach, class};
pub use second::Insisting;
pub use send::location;
pub use tls::tls_config;

/// Who asks: two requests with the same key belong to one viewer, who has one cookie jar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerKey(pub u64);

/// On whose behalf the origin is asked, and with what.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The viewer.
    pub viewer: ViewerKey,
    /// End-to-end request headers to pass on: no Host, no Range, no hop-by-hop fields.
    pub headers: HeaderMap,
    /// Prefix and channel mode: redirects are followed and cookies kept here. Forward-proxy mode: both are the
    /// player's own business.
    pub own_browser: bool,
    /// A redirect from https to http is followed: a player would, too. A page may not, and for what no player has asked yet
    /// nothing is told to whoever listens on the way.
    pub downgrades: bool,
    /// How private the answering address may be: what the player named decides for itself, what a manifest or a
    /// redirect names is never more private than the host that named it.
    pub reach: Reach,
}

/// A request to an origin.
#[derive(Debug)]
pub struct Request {
    /// On whose behalf.
    pub caller: Caller,
    /// The method.
    pub method: Method,
    /// Absolute, http or https.
    pub url: Url,
    /// The value of a Range header to send, such as `bytes=0-1023`.
    pub range: Option<String>,
    /// A request body, if there is one.
    pub body: Option<Body>,
}

/// A streamed body; an error means that it broke off.
pub type Body = BoxBody<Bytes, Error>;

/// An origin's answer: its head, and the body as a stream.
#[derive(Debug)]
pub struct Response {
    /// Where it finally came from, after redirects.
    pub url: Url,
    /// On whose behalf it was asked for there: without what was meant for the hosts before, and no further than they lead.
    pub caller: Caller,
    /// The reach that holds for what this answer names.
    pub reach: Reach,
    /// The status.
    pub status: StatusCode,
    /// All headers as received.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// An answer that is an error, kept whole so that it can be passed on.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status, 300 or more.
    pub status: StatusCode,
    /// All headers as received.
    pub headers: HeaderMap,
    /// The first 64 KiB of the body.
    pub body: Bytes,
}

type Http = Client<HttpsConnector<Connector>, Body>;

/// The HTTP client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Origin {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// One for each [`Reach`], so that a pooled connection is never used by who may not have opened it.
    clients: [Http; 4],
    connector: Connector,
    jars: Jars,
    /// Sent with every request.
    extra: RwLock<HeaderMap>,
    options: Options,
}

impl Origin {
    /// A client that never connects to `own`.
    ///
    /// # Errors
    /// When an option is not what it should be, or the system has no certificate authorities.
    pub fn new(options: Options, own: OwnListeners) -> Result<Self, BadOptions> {
        Self::with_tls(options, own, tls_config()?)
    }

    /// The same, trusting whom `tls` trusts.
    ///
    /// # Errors
    /// When an option is not what it should be.
    pub fn with_tls(
        options: Options,
        own: OwnListeners,
        tls: rustls::ClientConfig,
    ) -> Result<Self, BadOptions> {
        let connector = Connector {
            reach: Reach::Loopback,
            own,
            timeout: options.connect_timeout(),
            next_address: options.next_address(),
            proxy: options.proxy()?.map(Into::into),
            warned: Arc::default(),
        };
        let extra = RwLock::new(options.headers()?);
        let clients = Reach::ALL
            .map(|reach| client(Connector { reach, ..connector.clone() }, tls.clone(), options.keep_alive()));
        Ok(Self { shared: Arc::new(Shared { clients, connector, jars: Jars::default(), extra, options }) })
    }

    /// The listeners that are never connected to.
    #[must_use]
    pub fn own(&self) -> &OwnListeners {
        &self.shared.connector.own
    }

    /// Whether everything goes through a proxy of the user's, which may lead anywhere.
    #[must_use]
    pub fn is_proxied(&self) -> bool {
        self.shared.connector.proxy.is_some()
    }

    /// A plain connection, for a tunnel that may lead so far: the same addresses are allowed as for requests.
    ///
    /// # Errors
    /// When the address may not be asked or does not answer.
    pub async fn tunnel(
        &self,
        host: &str,
        port: u16,
        reach: Reach,
    ) -> std::io::Result<tokio::net::TcpStream> {
        self.shared.connector.tunnel(host, port, reach).await
    }
}
