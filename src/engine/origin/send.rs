//! One request, with its redirects, cookies and second chances.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Empty};

use super::connect::Reached;
use super::error::{connection_lost, explain};
use super::patient::Patient;
use super::upload::{Upload, patiently};
use super::{BadOptions, Body, Error, Options, Origin, Reach, Request, Response, fields};

/// Redirects followed for one request.
const REDIRECTS: usize = 10;
/// How often a request is sent again because a kept connection turned out to be closed.
const STALE: usize = 2;

impl Origin {
    /// Asks, following redirects when the caller's mode wants that, and resolves with the head of the answer.
    ///
    /// # Errors
    /// When no answer came within the configured times, or when the address is not allowed.
    pub async fn send(&self, mut request: Request) -> Result<Response, Error> {
        let mut left = REDIRECTS;
        loop {
            let follow = request.caller.own_browser && is_safe(&request.method);
            let body = request.body.take();
            let (head, body, reach) = self.once(&request, body).await?;
            let target = head.headers.get(header::LOCATION).filter(|_| follow && is_redirect(head.status));
            let Some(target) = target else {
                let http::response::Parts { status, headers, .. } = head;
                let Request { url, caller, .. } = request;
                return Ok(Response { url, caller, reach, status, headers, body });
            };
            let host = || request.url.host_str().unwrap_or_default();
            if left == 0 {
                return Err(Error::Redirect(format!("{} is the last of too many redirects", host())));
            }
            left -= 1;
            request = redirected(&request, &location(target), reach)?;
        }
    }

    async fn once(
        &self,
        request: &Request,
        body: Option<Body>,
    ) -> Result<(http::response::Parts, Body, Reach), Error> {
        let shared = &self.shared;
        let client = &shared.clients[request.caller.reach as usize];
        let host = request.url.host_str().unwrap_or_default();
        let repeatable = body.is_none() && is_safe(&request.method);
        let (body, uploading) = match body {
            Some(body) => {
                let (body, moved) = Upload::new(body);
                (body.boxed(), Some(moved))
            }
            None => (nothing(), None),
        };
        let patience = shared.options.first_byte_timeout();
        let mut answer = patiently(client.request(self.outgoing(request, body)?), patience, uploading).await;
        for _ in 0..STALE {
            let Some(Err(error)) = &answer else { break };
            if !repeatable || !was_stale(error) {
                break;
            }
            let again = self.outgoing(request, nothing())?;
            answer = patiently(client.request(again), patience, None).await;
        }
        let answer = match answer {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(explain(host, &error)),
            None => return Err(Error::TooSlow(host.to_owned(), patience.as_secs())),
        };
        let reach = answer.extensions().get::<Reached>().map_or(Reach::Public, |reached| {
            reached.used.store(true, Ordering::Relaxed);
            reached.class
        });
        let (head, body) = answer.into_parts();
        if request.caller.own_browser {
            shared.jars.keep(request.caller.viewer, &request.url, &head.headers);
        }
        let body = Patient::new(body, host, shared.options.idle_timeout()).boxed();
        Ok((head, body, reach))
    }

    /// Sends the headers of these options from now on.
    ///
    /// # Errors
    /// When one of them is none; then nothing changes.
    pub fn renew(&self, options: &Options) -> Result<(), BadOptions> {
        let extra = options.headers()?;
        *self.shared.extra.write().unwrap_or_else(PoisonError::into_inner) = extra;
        Ok(())
    }

    fn outgoing(&self, request: &Request, body: Body) -> Result<http::Request<Body>, Error> {
        let shared = &self.shared;
        let Request { caller, method, url, range, .. } = request;
        let mut outgoing = http::Request::new(body);
        *outgoing.method_mut() = method.clone();
        *outgoing.uri_mut() = url.as_str().split('#').next().unwrap_or_default().parse().map_err(invalid)?;
        let headers = outgoing.headers_mut();
        *headers = caller.headers.clone();
        let extra = shared.extra.read().unwrap_or_else(PoisonError::into_inner).clone();
        for name in extra.keys() {
            headers.remove(name);
        }
        headers.extend(extra);
        // An encoded playlist could not be read, and an encoded segment is no smaller.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if caller.own_browser
            && let Some(cookies) = shared.jars.for_request(caller.viewer, url)
        {
            headers.insert(header::COOKIE, cookies);
        }
        // Said in so many words where a body could have been (RFC 9110 §8.6): some servers answer 411 without.
        if http_body::Body::is_end_stream(outgoing.body()) && !is_safe(method) {
            outgoing.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let headers = outgoing.headers_mut();
        if let Some(range) = range {
            headers.insert(header::RANGE, range.parse().map_err(invalid)?);
        }
        Ok(outgoing)
    }
}

/// A Location as text. What is no ASCII, as some servers write it, is what their URLs have these bytes for.
#[must_use]
pub fn location(value: &HeaderValue) -> String {
    let mut text = String::with_capacity(value.len());
    for &byte in value.as_bytes() {
        match byte {
            0..0x80 => text.push(char::from(byte)),
            0x80.. => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The next request of a redirect: re-checked, and without what was meant for the first host only.
fn redirected(request: &Request, target: &str, reach: Reach) -> Result<Request, Error> {
    let host = request.url.host_str().unwrap_or_default();
    let mut url = request
        .url
        .join(target)
        .map_err(|_| Error::Redirect(format!("{host} redirects to what is not a URL")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::Redirect(format!(
            "{host} redirects to {}, which is not of the web",
            url.scheme()
        )));
    }
    if request.url.scheme() == "https" && url.scheme() == "http" && !request.caller.downgrades {
        return Err(Error::Redirect(format!("{host} redirects from https to http")));
    }
    let mut caller = request.caller.clone();
    if url.origin() != request.url.origin() {
        caller.headers = fields::for_any_host(&caller.headers);
        caller.reach = caller.reach.min(reach);
        // Neither fails for http and https.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    let (method, range) = (request.method.clone(), request.range.clone());
    Ok(Request { caller, method, url, range, body: None })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Asking twice does no harm.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a request failed only because the server had closed a connection that was kept for it.
fn was_stale(error: &hyper_util::client::legacy::Error) -> bool {
    let mut known = http::Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut known);
    }
    known.get::<Reached>().is_some_and(|reached| reached.used.load(Ordering::Relaxed))
        && connection_lost(error)
}

fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::Invalid(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Caller, ViewerKey};
    use super::*;
    use http::{HeaderMap, HeaderName};
    use url::Url;

    fn request(url: &str) -> Request {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "if-none-match", "user-agent", "referer"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        Request {
            caller: Caller {
                viewer: ViewerKey(1),
                headers,
                own_browser: true,
                downgrades: false,
                reach: Reach::Loopback,
            },
            method: Method::GET,
            url: Url::parse(url).unwrap(),
            range: Some("bytes=5-".into()),
            body: None,
        }
    }

    #[test]
    fn a_location_in_raw_bytes_is_read_as_what_they_are() {
        let first = request("https://a.example/x/y?q");
        for (bytes, leads) in [
            ("/\u{fc}/\u{4e16}?t=\u{fc}".as_bytes(), "https://a.example/%C3%BC/%E4%B8%96?t=%C3%BC"),
            (&b"z\xfc.ts"[..], "https://a.example/x/z%FC.ts"),
            ("https://b\u{fc}cher.example/a%20b".as_bytes(), "https://xn--bcher-kva.example/a%20b"),
        ] {
            let target = location(&HeaderValue::from_bytes(bytes).unwrap());
            assert_eq!(redirected(&first, &target, Reach::Public).unwrap().url.as_str(), leads);
        }
    }

    #[test]
    fn a_redirect_takes_along_what_it_may() {
        let first = request("https://a.example/x/y?q");
        let same = redirected(&first, "../z", Reach::Public).unwrap();
        assert_eq!(same.url.as_str(), "https://a.example/z");
        assert_eq!((same.caller.headers.len(), same.caller.reach), (5, Reach::Loopback));
        assert_eq!(same.range.as_deref(), Some("bytes=5-"));
        for elsewhere in ["https://b.example/", "https://a.example:8443/", "//u:p@b.example/"] {
            let next = redirected(&first, elsewhere, Reach::Public).unwrap();
            let mut names: Vec<_> = next.caller.headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["referer", "user-agent"], "{elsewhere}");
            assert_eq!(next.caller.reach, Reach::Public, "{elsewhere}");
            assert!(next.url.username().is_empty() && next.url.password().is_none(), "{elsewhere}");
        }
        for nowhere in ["http://a.example/", "ftp://a.example/", "file:///etc/passwd", "https://[", "data:,x"]
        {
            let refused = redirected(&first, nowhere, Reach::Public);
            assert!(matches!(refused, Err(Error::Redirect(_))), "{nowhere}");
        }
        let of_player = Request { caller: Caller { downgrades: true, ..first.caller.clone() }, ..first };
        let down = redirected(&of_player, "http://a.example/", Reach::Lan).unwrap();
        let names = down.caller.headers.keys().map(HeaderName::as_str);
        assert_eq!(
            names.filter(|name| !matches!(*name, "user-agent" | "referer")).count(),
            0,
            "by no secret"
        );
        assert_eq!(down.caller.reach, Reach::Lan);
        let plain = request("http://a.example/");
        assert!(redirected(&plain, "https://a.example/", Reach::Lan).is_ok(), "upgrades are followed");
    }
}
