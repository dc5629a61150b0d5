//! Answers over HTTP: the WebSocket is opened, and whoever may see them is shown page, statistics and metrics.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::connection::{Door, Inbox};
use super::pulse::Pulse;
use super::{events, metrics, page};

/// The body of any answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;
/// Where the WebSocket goes once it is open.
pub type Upgraded = Mutex<Option<oneshot::Sender<hyper::upgrade::OnUpgrade>>>;

/// Answers one request.
pub async fn answer(
    asked: Request<Incoming>,
    from: IpAddr,
    door: &Arc<Door>,
    upgraded: &Upgraded,
) -> Result<Response<Body>, Infallible> {
    let path = asked.uri().path();
    // The paths of a daemon are good here as well.
    let name = path.strip_prefix("/-/").or(path.strip_prefix('/')).unwrap_or(path);
    let gets = asked.method() == Method::GET;
    // Events have no end, and so no head that would be that of a GET. What is sent of other answers to HEAD, hyper knows.
    let allowed = if name == "events" { "GET" } else { "GET, HEAD" };
    if !gets && (asked.method() != Method::HEAD || name == "events") {
        let text = format!("only {allowed} is answered here");
        let mut answer = sentence(StatusCode::METHOD_NOT_ALLOWED, &text);
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        return Ok(answer);
    }
    if let Some(key) = websocket_key(asked.headers()).filter(|_| gets) {
        return Ok(open(asked, &key, door, upgraded));
    }
    let may = door.access().allows(from, asked.uri(), asked.headers());
    Ok(match name {
        "health" => health(&Pulse::of(&door.inbox)).await,
        "" if !may => sentence(
            StatusCode::OK,
            "this is a tracker: viewers connect to it with a WebSocket; see /health, and tracker_server.stats_from for more",
        ),
        "stats" | "metrics" | "events" if !may => sentence(
            StatusCode::FORBIDDEN,
            "not for you: the tracker's own machine, the networks in tracker_server.stats_from and whoever has \
             tracker_server.stats_token may see this",
        ),
        "stats" => stats(door, "application/json", |stats| Ok(format!("{stats:#}\n"))).await,
        "metrics" => stats(door, prometheus::TEXT_FORMAT, metrics::text).await,
        "events" => events::follow(door),
        file => page::file(file).unwrap_or_else(|| {
            sentence(StatusCode::NOT_FOUND, "there is no such page; see /, /health, /stats and /metrics")
        }),
    })
}

/// Switches to the WebSocket.
fn open(asked: Request<Incoming>, key: &str, door: &Arc<Door>, upgraded: &Upgraded) -> Response<Body> {
    let origin = asked.headers().get(header::ORIGIN);
    let known =
        |origin| door.options.borrow().allowed_origins.iter().any(|allowed| origin == allowed.as_str());
    if !door.options.borrow().allowed_origins.is_empty() && !origin.is_some_and(known) {
        return sentence(StatusCode::FORBIDDEN, "pages of this site may not connect");
    }
    let on = hyper::upgrade::on(asked);
    if let Some(sender) = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = sender.send(on);
    }
    let mut answer = Response::new(full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = answer.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}

fn websocket_key(headers: &HeaderMap) -> Option<String> {
    let says = |name, word: &str| {
        let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    let wanted = says(header::UPGRADE, "websocket") && says(header::CONNECTION, "upgrade");
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    key.filter(|_| wanted && version).map(str::to_owned)
}

/// Whether viewers can be brought together: a socket that is taken says nothing of who owns the swarms.
async fn health(pulse: &Pulse) -> Response<Body> {
    if pulse.beats().await {
        sentence(StatusCode::OK, "ok")
    } else {
        sentence(
            StatusCode::SERVICE_UNAVAILABLE,
            "nobody is brought together: the owner of the swarms does not answer",
        )
    }
}

/// Asks the owner of the swarms; `None` when the tracker is ending.
pub async fn ask(door: &Door, question: impl FnOnce(oneshot::Sender<Value>) -> Inbox) -> Option<Value> {
    let (reply, answer) = oneshot::channel();
    door.inbox.send(question(reply)).await.ok()?;
    answer.await.ok()
}

async fn stats(
    door: &Arc<Door>,
    kind: &'static str,
    text: impl Fn(&Value) -> Result<String, prometheus::Error>,
) -> Response<Body> {
    let Some(stats) = ask(door, Inbox::Stats).await else {
        return sentence(StatusCode::SERVICE_UNAVAILABLE, "the tracker is ending");
    };
    match text(&stats) {
        Ok(text) => private(full(text), kind),
        Err(error) => sentence(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An answer for whoever asked alone.
pub fn private(body: Body, kind: &'static str) -> Response<Body> {
    let mut answer = Response::new(body);
    for (field, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ] {
        answer.headers_mut().insert(field, HeaderValue::from_static(value));
    }
    answer.headers_mut().insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    answer
}

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// One plain sentence with a status.
pub fn sentence(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(full(format!("{text}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
