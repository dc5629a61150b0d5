//! The daemon's own `/-/…`: dashboard, health, statistics, switches. GET changes nothing.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

pub(crate) mod events;
mod metrics;
mod page;
mod peer5;

use super::Shared;
use super::answer::{Body, full, sentence};
use super::clients::Client;
use crate::engine::Handle;
use crate::engine::steering::{Change, Refused};

/// The header that a change has to carry: a page of another site can't send it without being asked for permission first.
pub const CHANGE: &str = "x-paceline";
/// What the pages of `proxy.allowed_origins` may read of it.
pub const FOR_PAGES: &str = "stats?format=peer5";
/// The longest change, in bytes.
const CHANGE_BODY: usize = 4096;

/// Answers a request for `/-/` and `path`.
pub(super) async fn answer(
    asked: Request<Incoming>,
    path: &str,
    client: Client,
    shared: &Shared,
) -> Response<Body> {
    let engine = &shared.engine;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    match (path, asked.method()) {
        ("health", &Method::GET | &Method::HEAD) => sentence(StatusCode::OK, "ok"),
        ("stats", &Method::GET | &Method::HEAD) => match engine.stats().await {
            Value::Null => gone(),
            stats => match query {
                "" => json(&stats),
                "format=peer5" => json(&peer5::document(&stats)),
                _ => sentence(StatusCode::BAD_REQUEST, "the only other format is /-/stats?format=peer5"),
            },
        },
        ("metrics", &Method::GET | &Method::HEAD) => match metrics::text(&engine.stats().await) {
            Some(text) => metrics_answer(text),
            None => gone(),
        },
        ("p2p", &Method::GET | &Method::HEAD) => switch(Change::default(), engine).await,
        ("p2p", &Method::POST) if client.is_private() => change(asked, engine).await,
        ("p2p", &Method::POST) => sentence(
            StatusCode::FORBIDDEN,
            "changes are taken from this machine and its private network, and not through a reverse proxy",
        ),
        ("events", &Method::GET) => shared.events.follow(engine),
        ("events", _) => not_allowed("GET"),
        ("health" | "stats" | "metrics", _) => not_allowed("GET, HEAD"),
        ("p2p", _) => not_allowed("GET, HEAD, POST"),
        (file, method) => match (page::file(file), method) {
            (Some(answer), &Method::GET | &Method::HEAD) => answer,
            (Some(_), _) => not_allowed("GET, HEAD"),
            (None, _) => sentence(
                StatusCode::NOT_FOUND,
                "there is no such page; see /-/, /-/stats, /-/metrics, /-/health and /-/p2p",
            ),
        },
    }
}

/// Answers [`FOR_PAGES`] to a page that may play. What else plays here, and from where, is none of its business.
pub(super) async fn of_page(engine: &Handle) -> Response<Body> {
    match engine.stats().await {
        Value::Null => gone(),
        stats => json(&peer5::totals(&stats)),
    }
}

fn gone() -> Response<Body> {
    sentence(StatusCode::SERVICE_UNAVAILABLE, "the P2P engine is not running")
}

async fn change(asked: Request<Incoming>, engine: &Handle) -> Response<Body> {
    if asked.headers().get(CHANGE).is_none_or(|value| value != "1") {
        return sentence(StatusCode::FORBIDDEN, "a change must carry the header `X-Paceline: 1`");
    }
    let kind =
        asked.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return sentence(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a change must be application/json");
    }
    let Ok(body) =
        Limited::new(asked.into_body(), CHANGE_BODY).collect().await.map(http_body_util::Collected::to_bytes)
    else {
        return sentence(StatusCode::PAYLOAD_TOO_LARGE, "that is too long for a change");
    };
    match serde_json::from_slice::<Change>(&body) {
        Ok(change) => switch(change, engine).await,
        Err(error) => {
            let text = format!(
                "not a change ({error}); send {{\"p2p\": true}}, {{\"upload\": false}}, {{\"upload\": \"auto\"}}, \
                 {{\"upload_limit\": 2000000}}, {{\"upload_daily\": \"2GB\"}}, {{\"upload_monthly\": \"40GB\"}} or several of \
                 them; with {{\"channel\": \"news\"}} `p2p` and `upload` are for that channel alone"
            );
            sentence(StatusCode::BAD_REQUEST, &text)
        }
    }
}

async fn switch(change: Change, engine: &Handle) -> Response<Body> {
    match engine.switch(change).await {
        Ok(now) => json(&now),
        Err(refused) => {
            let status = match refused {
                Refused::NoChannel(_) => StatusCode::NOT_FOUND,
                Refused::ForAll | Refused::NoMode => StatusCode::BAD_REQUEST,
                Refused::Gone => StatusCode::SERVICE_UNAVAILABLE,
            };
            sentence(status, &refused.to_string())
        }
    }
}

fn json(value: &impl serde::Serialize) -> Response<Body> {
    let text = serde_json::to_vec_pretty(value).unwrap_or_default();
    let mut answer = Response::new(full(Bytes::from(text)));
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    super::headers::make_inert(fields);
    answer
}

/// The text format of Prometheus.
fn metrics_answer(text: String) -> Response<Body> {
    let mut answer = Response::new(full(text));
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(prometheus::TEXT_FORMAT));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    super::headers::make_inert(fields);
    answer
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut answer = sentence(StatusCode::METHOD_NOT_ALLOWED, &format!("only {methods} is answered here"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}
