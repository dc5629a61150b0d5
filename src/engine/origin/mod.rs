//! HTTP outwards: pooled connections, redirects, cookies per viewer, addresses checked before they are connected to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::{Deserialize, Serialize};
use url::Url;

mod connect;
mod cookies;
mod patient;
pub mod reach;

use connect::{Connector, Reached};
use cookies::Jars;
use patient::Patient;
pub use reach::{OwnListeners, Reach};

/// Redirects followed for one request.
const REDIRECTS: usize = 5;
/// Idle connections kept for one host; a player uses two or three.
const POOL: usize = 8;

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

/// Why there is no (whole) answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not reached, or broken off.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("{0} did not answer within {1} s")]
    TooSlow(String, u64),
    /// The address may not be asked from here.
    #[error("{0}")]
    Forbidden(String),
    /// More redirects than a browser would follow, or one from https to http.
    #[error("{0} redirects where it can't be followed")]
    Redirect(String),
    /// The request itself can't be made.
    #[error("not a request that can be made: {0}")]
    Invalid(String),
}

/// A mistake in the options.
#[derive(Debug, thiserror::Error)]
pub enum BadOptions {
    /// A header that is none.
    #[error("origin.headers: `{0}` is not a header; write it as `Name: value`")]
    Header(String),
    /// A proxy that is none.
    #[error("origin.proxy: `{0}` is not an http:// URL")]
    Proxy(String),
    /// No certificate authority is known to this system.
    #[error("no certificate authorities found on this system ({0}); install the package ca-certificates")]
    Certificates(String),
}

/// The `[origin]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long connecting to an origin may take, in seconds.
    pub connect_timeout_s: u64,
    /// How long an origin may take from the request to the head of its answer, in seconds.
    pub first_byte_timeout_s: u64,
    /// How long an origin may pause within an answer, in seconds.
    pub idle_timeout_s: u64,
    /// How long an unused connection to an origin is kept, in seconds; most servers close theirs after 60 to 75.
    pub keep_alive_s: u64,
    /// An HTTP proxy that origins are asked through, such as `http://proxy.example:3128`. Empty: none. The environment
    /// variable http_proxy is not looked at, since it usually points to this daemon.
    pub proxy: String,
    /// Headers to send with every request, each as `Name: value`.
    pub headers: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout_s: 10,
            first_byte_timeout_s: 30,
            idle_timeout_s: 30,
            keep_alive_s: 55,
            proxy: String::new(),
            headers: Vec::new(),
        }
    }
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
    clients: [Http; 3],
    connector: Connector,
    jars: Jars,
    extra: HeaderMap,
    options: Options,
}

impl Origin {
    /// A client that never connects to `own`.
    ///
    /// # Errors
    /// When an option is not what it should be, or the system has no certificate authorities.
    pub fn new(options: Options, own: OwnListeners) -> Result<Self, BadOptions> {
        let proxy = match options.proxy.as_str() {
            "" => None,
            text => Some(proxy_address(text).ok_or_else(|| BadOptions::Proxy(text.to_owned()))?),
        };
        let mut extra = HeaderMap::new();
        for line in &options.headers {
            let (name, value) = header_line(line).ok_or_else(|| BadOptions::Header(line.clone()))?;
            extra.append(name, value);
        }
        let tls = tls_config()?;
        let timeout = Duration::from_secs(options.connect_timeout_s);
        let connector = Connector { reach: Reach::Loopback, own, timeout, proxy };
        let clients = Reach::ALL
            .map(|reach| client(Connector { reach, ..connector.clone() }, tls.clone(), options.keep_alive_s));
        Ok(Self { shared: Arc::new(Shared { clients, connector, jars: Jars::default(), extra, options }) })
    }

    /// The listeners that are never connected to.
    #[must_use]
    pub fn own(&self) -> &OwnListeners {
        &self.shared.connector.own
    }

    /// A plain connection, for a tunnel: the same addresses are allowed as for requests.
    ///
    /// # Errors
    /// When the address may not be asked or does not answer.
    pub async fn tunnel(&self, host: &str, port: u16) -> std::io::Result<tokio::net::TcpStream> {
        self.shared.connector.open(host, port).await.map(|(stream, _)| stream)
    }

    /// Asks, following redirects when the caller's mode wants that, and resolves with the head of the answer.
    ///
    /// # Errors
    /// When no answer came within the configured times, or when the address is not allowed.
    pub async fn send(&self, mut request: Request) -> Result<Response, Error> {
        for _ in 0..=REDIRECTS {
            let follow = request.caller.own_browser && request.body.is_none();
            let (caller, method, range) =
                (request.caller.clone(), request.method.clone(), request.range.clone());
            let response = self.send_once(request).await?;
            let target = response.headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
            let target = target.filter(|_| follow && response.status.is_redirection());
            let Some(target) = target else { return Ok(response) };
            request = redirected(&response, target, caller, method, range)?;
        }
        Err(Error::Redirect("it".to_owned()))
    }

    async fn send_once(&self, request: Request) -> Result<Response, Error> {
        let shared = &self.shared;
        let Request { caller, method, url, range, body } = request;
        let host = url.host_str().unwrap_or_default().to_owned();
        let empty = || Empty::new().map_err(|never| match never {}).boxed();
        let mut outgoing = http::Request::new(body.unwrap_or_else(empty));
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = url.as_str().split('#').next().unwrap_or_default().parse().map_err(invalid)?;
        let headers = outgoing.headers_mut();
        *headers = caller.headers.clone();
        for (name, value) in &shared.extra {
            headers.insert(name, value.clone());
        }
        if caller.own_browser {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if let Some(cookies) = shared.jars.for_request(caller.viewer, &url) {
                headers.insert(header::COOKIE, cookies);
            }
        }
        if let Some(range) = range {
            headers.insert(header::RANGE, range.parse().map_err(invalid)?);
        }
        let client = &shared.clients[caller.reach as usize];
        let wait = shared.options.first_byte_timeout_s;
        let answer = match tokio::time::timeout(Duration::from_secs(wait), client.request(outgoing)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(explain(&host, &error)),
            Err(_) => return Err(Error::TooSlow(host, wait)),
        };
        let reached = answer.extensions().get::<Reached>().map_or(Reach::Public, |reached| reached.0);
        let (head, body) = answer.into_parts();
        if caller.own_browser {
            shared.jars.keep(caller.viewer, &url, &head.headers);
        }
        let body = Patient::new(body, Duration::from_secs(shared.options.idle_timeout_s)).boxed();
        Ok(Response { url, reach: reached, status: head.status, headers: head.headers, body })
    }
}

/// The next request of a redirect: re-checked, and without what was meant for the first host only.
fn redirected(
    response: &Response,
    target: &str,
    mut caller: Caller,
    method: Method,
    range: Option<String>,
) -> Result<Request, Error> {
    let host = || response.url.host_str().unwrap_or_default().to_owned();
    let url = response.url.join(target).map_err(|_| Error::Redirect(host()))?;
    let downgrade = response.url.scheme() == "https" && url.scheme() != "https";
    if downgrade || !matches!(url.scheme(), "http" | "https") {
        return Err(Error::Redirect(host()));
    }
    if url.origin() != response.url.origin() {
        for name in [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION] {
            caller.headers.remove(name);
        }
        caller.reach = caller.reach.min(response.reach);
    }
    Ok(Request { caller, method, url, range, body: None })
}

fn client(connector: Connector, tls: rustls::ClientConfig, keep_alive_s: u64) -> Http {
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(keep_alive_s))
        .pool_max_idle_per_host(POOL)
        .build(https)
}

/// TLS towards origins and trackers: the system's certificate authorities, SSL_CERT_FILE honoured.
///
/// # Errors
/// When there are none.
pub fn tls_config() -> Result<rustls::ClientConfig, BadOptions> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(BadOptions::Certificates(
            found.errors.first().map(ToString::to_string).unwrap_or_default(),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadOptions::Certificates(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn proxy_address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http")?;
    Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(80)))
}

fn header_line(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::Invalid(error.to_string())
}

/// What went wrong, from the innermost cause: that is the one a user can act on.
fn explain(host: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let denied = cause
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
    if denied { Error::Forbidden(cause.to_string()) } else { Error::Unreachable(format!("{host}: {cause}")) }
}
