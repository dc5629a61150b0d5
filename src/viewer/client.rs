//! The player's HTTP client: redirects, byte ranges and bounds, as a decent player has them.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

/// Redirects that are followed for one request.
const REDIRECTS: usize = 10;
/// So long without a byte, several real players give up on a request.
const SILENCE: Duration = Duration::from_secs(10);
/// How long one request may take however steadily its bytes drip.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks origins or a daemon. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    agent: HeaderValue,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// TLS can't be used here.
    #[error("TLS can't be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The name is no header value.
    #[error("{0:?} can't be sent as User-Agent")]
    Agent(String),
}

/// Why a request failed. Worth another try, all of them.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The origin said no.
    #[error("answered with {0}")]
    Status(StatusCode),
    /// Not a byte for [`SILENCE`], or not done within [`PATIENCE`].
    #[error("no byte for {} s, or not done after {} s", SILENCE.as_secs(), PATIENCE.as_secs())]
    Slow,
    /// More than was asked for.
    #[error("more than {0} bytes")]
    Long(usize),
    /// A redirect to nowhere, or one too many.
    #[error("redirected to nowhere, or more than {REDIRECTS} times")]
    Redirect,
    /// Not the byte range that was asked for.
    #[error("another byte range than was asked for")]
    Range,
    /// The connection failed, or the answer ended early.
    #[error("{0}")]
    Connection(String),
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Got {
    /// Where it was in the end, after redirects.
    pub url: Url,
    /// Its body, or the range of it that was asked for.
    pub bytes: Bytes,
}

impl Client {
    /// A client that calls itself `agent`. Where the system has no certificate authorities, https fails later, and
    /// http doesn't.
    ///
    /// # Errors
    /// When TLS can't be set up at all, or `agent` is no header value.
    pub fn new(agent: &str) -> Result<Self, Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        let agent = HeaderValue::from_str(agent).map_err(|_| Error::Agent(agent.to_owned()))?;
        Ok(Self { http, agent })
    }

    /// The body behind `url`, at most `longest` bytes of it, or the `range` of it.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn get(&self, url: &Url, range: Option<&Range<u64>>, longest: usize) -> Result<Got, Failed> {
        let whole = self.follow(url.clone(), range, longest);
        tokio::time::timeout(PATIENCE, whole).await.unwrap_or(Err(Failed::Slow))
    }

    async fn follow(&self, mut url: Url, range: Option<&Range<u64>>, longest: usize) -> Result<Got, Failed> {
        for _ in 0..=REDIRECTS {
            let answer = self.ask(&url, range).await?;
            let status = answer.status();
            if status.is_redirection() {
                url = redirected(&url, &answer).ok_or(Failed::Redirect)?;
                continue;
            }
            if !status.is_success() {
                return Err(Failed::Status(status));
            }
            let partial = status == StatusCode::PARTIAL_CONTENT;
            let bytes = read(answer, longest).await?;
            let bytes = match range {
                Some(range) => cut(bytes, range, partial).ok_or(Failed::Range)?,
                None => bytes,
            };
            return Ok(Got { url, bytes });
        }
        Err(Failed::Redirect)
    }

    async fn ask(&self, url: &Url, range: Option<&Range<u64>>) -> Result<Response<Incoming>, Failed> {
        let mut request = Request::builder().uri(url.as_str()).header(header::USER_AGENT, &self.agent);
        if let Some(range) = range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let request = request.body(Empty::new()).map_err(|error| Failed::Connection(error.to_string()))?;
        let answer = tokio::time::timeout(SILENCE, self.http.request(request)).await;
        answer.map_err(|_| Failed::Slow)?.map_err(|error| Failed::Connection(deepest(&error)))
    }
}

async fn read(answer: Response<Incoming>, longest: usize) -> Result<Bytes, Failed> {
    let mut body = answer.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await.map_err(|_| Failed::Slow)? {
        let frame = frame.map_err(|error| Failed::Connection(deepest(&error)))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > longest {
                return Err(Failed::Long(longest));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

/// Where a redirect leads; only to where a player may go.
fn redirected(url: &Url, answer: &Response<Incoming>) -> Option<Url> {
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    url.join(location).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// The range of an answer that is `partial` or else the whole file (RFC 9110 §14.2 lets an origin ignore ranges).
fn cut(bytes: Bytes, range: &Range<u64>, partial: bool) -> Option<Bytes> {
    let length = bytes.len() as u64;
    if partial {
        return (length == range.end - range.start).then_some(bytes);
    }
    (range.end <= length).then(|| bytes.slice(range.start as usize..range.end as usize))
}

/// The innermost cause: the outer ones only say that a request failed.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_was_asked_for_or_nothing() {
        let file = Bytes::from_static(b"0123456789");
        assert_eq!(cut(file.clone(), &(2..5), false), Some(Bytes::from_static(b"234")));
        assert_eq!(cut(file.clone(), &(2..11), false), None, "the file is shorter");
        assert_eq!(cut(file.slice(2..5), &(2..5), true), Some(Bytes::from_static(b"234")));
        assert_eq!(cut(file, &(2..5), true), None, "another range");
    }
}
