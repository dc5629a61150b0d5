//! HTTP outwards: pooled connections, redirects, cookies per viewer, addresses checked before they are connected to.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::combinators::BoxBody;
use url::Url;

/// Who asks: two requests with the same key belong to one viewer, who has one cookie jar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerKey(pub u64);

/// How private an address may be that a request ends at; each class includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Addresses of the public Internet.
    Public,
    /// Also private networks (RFC 1918, RFC 4193, RFC 6598) and link-local ones.
    Lan,
    /// Also this machine, but never one of the daemon's own listeners.
    Loopback,
}

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
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Not reached, or broken off.
    #[error("{0}")]
    Unreachable(String),
}

/// The HTTP client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Origin {}

impl Origin {
    /// Asks, following redirects when the caller's mode wants that, and resolves with the head of the answer.
    ///
    /// # Errors
    /// When no answer came within the configured times, or when the address is not allowed.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let _ = request;
        Err(Error::Unreachable("not wired".into()))
    }
}
