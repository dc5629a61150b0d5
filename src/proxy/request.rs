//! One request, from its line to who answers it.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use url::Url;

use super::address::{self, Refused, Target};
use super::answer::{Body, sentence};
use super::clients::{self, Client};
use super::connection::{Doing, Held};
use super::names::named_manifest;
use super::{Channel, Shared, control, directives, headers, manifest, tunnel};
use crate::engine::origin::reach::is_local_name;
use crate::engine::origin::{Caller, Reach, fields};
use crate::manifest::identity::Naming;

/// By which way a request came in; decides what is rewritten and kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Prefix or channel: URIs are rewritten, redirects followed, cookies kept here.
    Ours,
    /// Forward proxy: the player does all that itself.
    Forward,
}

/// Answers a request; never fails, since every failure is an answer.
pub async fn serve(
    asked: Request<Incoming>,
    client: Client,
    doing: Doing,
    shared: Arc<Shared>,
) -> Result<Response<Held>, Infallible> {
    let busy = doing.begin();
    let tunnel = asked.method() == Method::CONNECT;
    // A length that stood next to the encoding is gone by now: nobody but us may have read the next request there.
    let last = asked.headers().contains_key(header::TRANSFER_ENCODING);
    let mut answer = answer(asked, client, &shared).await;
    if last {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let busy = if tunnel && answer.status().is_success() {
        busy.for_ever();
        None
    } else {
        Some(busy)
    };
    Ok(answer.map(|body| Held::new(body, busy)))
}

async fn answer(asked: Request<Incoming>, client: Client, shared: &Arc<Shared>) -> Response<Body> {
    let origin = asked.headers().get(header::ORIGIN).cloned();
    let mut answer = match route(asked, client, shared).await {
        Ok(answer) => answer,
        Err(refused) => refuse(&refused),
    };
    if let Some(origin) = origin
        && shared.setup.options.allowed_origins.iter().any(|allowed| origin == allowed)
    {
        let fields = answer.headers_mut();
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        fields.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        fields.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    answer
}

async fn route(
    asked: Request<Incoming>,
    client: Client,
    shared: &Arc<Shared>,
) -> Result<Response<Body>, Refused> {
    let client = client.of(asked.headers());
    let served = client.reach.ok_or(Refused::Stranger(client.ip))?;
    let hosts: Vec<&str> =
        asked.headers().get_all(header::HOST).iter().map(|h| h.to_str().unwrap_or("?")).collect();
    let target = address::target(asked.method(), asked.uri(), &hosts, &shared.names)?;
    if !headers::is_framed_plainly(asked.headers()) {
        return Err(Refused::Framing);
    }
    if headers::came_through_us(asked.headers(), &shared.setup.pseudonym) {
        return Err(Refused::Loop);
    }
    let (mut numbered, mut of_channel) = (None, false);
    let (url, way, reach) = match target {
        Target::Connect { host, port } => return Ok(tunnel::open(asked, (&host, port), served, shared).await),
        Target::Control(path) => return Ok(control(asked, &path, client, shared).await),
        Target::Forward(url) => (url, Way::Forward, served),
        Target::Prefix { url, reach, granted } => {
            of_channel = granted;
            (url, Way::Ours, reach)
        }
        Target::Channel { name, rest } => {
            let url = channel(shared, &name, &rest)?;
            let channel = shared.setup.channels.get(&name);
            let is_its = |channel: &Channel| directives::without(&url) == channel.url.as_str();
            if channel.is_some_and(|channel| channel.identity == Naming::Sequence && is_its(channel)) {
                numbered = Some(name);
            }
            // Where it leads was said by whoever configured it.
            of_channel = true;
            (url, Way::Ours, Reach::Loopback)
        }
    };
    if let Some(answer) = to_a_page(&asked, shared).filter(|_| way == Way::Ours) {
        return Ok(answer);
    }
    let most = served.min(of_page(&asked, way));
    if of_channel && most < Reach::Loopback && !matches!(*asked.method(), Method::GET | Method::HEAD) {
        let mut answer = sentence(StatusCode::METHOD_NOT_ALLOWED, "a channel is only watched from there");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(answer);
    }
    let reach = if of_channel { reach } else { reach.min(most) };
    let caller = caller(&asked, client, &url, (way, reach), shared);
    if let Some(name) = numbered {
        shared.masters.number(caller.viewer, &url, name);
    }
    Ok(manifest::answer(asked, url, (way, of_channel.then_some(most)), caller, shared).await)
}

/// The daemon's own paths are for its own page. A page that may play may see how it plays, and no more: glue code for Peer5
/// is a script in it.
async fn control(asked: Request<Incoming>, path: &str, client: Client, shared: &Shared) -> Response<Body> {
    let Err(why) = headers::check_browser(asked.headers(), &[], true) else {
        return control::answer(asked, path, client, shared).await;
    };
    let allowed = &shared.setup.options.allowed_origins;
    let reads = matches!(*asked.method(), Method::GET | Method::HEAD);
    let is_known = headers::check_browser(asked.headers(), allowed, false).is_ok();
    if reads && is_known && path == control::FOR_PAGES {
        return control::of_page(&shared.engine).await;
    }
    sentence(StatusCode::FORBIDDEN, &why.to_string())
}

/// What a web page is answered that may not play, or asks whether it may.
fn to_a_page(asked: &Request<Incoming>, shared: &Shared) -> Option<Response<Body>> {
    let allowed = &shared.setup.options.allowed_origins;
    if let Err(why) = headers::check_browser(asked.headers(), allowed, false) {
        return Some(sentence(StatusCode::FORBIDDEN, &why.to_string()));
    }
    let asks = asked.method() == Method::OPTIONS && asked.headers().contains_key(header::ORIGIN);
    asks.then(preflight)
}

/// How far a page may lead us that a player runs in.
fn of_page(asked: &Request<Incoming>, way: Way) -> Reach {
    let page = asked.headers().get(header::ORIGIN).filter(|_| way == Way::Ours);
    page.map_or(Reach::Loopback, |origin| clients::of_page(origin.to_str().unwrap_or_default()))
}

/// The stream of a channel. Other names under it are files next to the stream's manifest, for players that resolve what
/// a manifest names relatively because nothing could be written into it.
fn channel(shared: &Shared, name: &str, rest: &str) -> Result<Url, Refused> {
    let Some(channel) = shared.setup.channels.get(name) else {
        return Err(Refused::NotFound("no channel of that name is configured"));
    };
    let (file, query) = rest.split_once('?').unwrap_or((rest, ""));
    match file {
        "" => Err(Refused::NotFound("a channel is /NAME/index.m3u8")),
        "index.m3u8" | "index.mpd" => Ok(directives::added(&channel.url, query)),
        _ => {
            // With `./`, what follows can be no other host and no other scheme.
            let file = channel.url.join(&format!("./{rest}")).ok();
            let folder = channel.url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            let below = |file: &Url| {
                let rest = file.path().strip_prefix(folder);
                rest.is_some_and(|rest| rest.starts_with('/') && !address::climbs(rest))
            };
            file.filter(below).ok_or(Refused::NotFound("that is no file of the channel"))
        }
    }
}

fn caller(
    asked: &Request<Incoming>,
    client: Client,
    url: &Url,
    (way, reach): (Way, Reach),
    shared: &Shared,
) -> Caller {
    let mut sent = headers::to_origin(asked.headers());
    // To a forward proxy Origin says nothing of who plays: a browser sends it with some requests of a page and not with others.
    let page = asked.headers().get(header::ORIGIN).filter(|_| way == Way::Ours);
    let viewer = headers::viewer(client.ip, asked.headers(), page);
    if way == Way::Ours {
        // Cookies that a player has for 127.0.0.1 belong to no origin.
        sent.remove(header::COOKIE);
        if named_manifest(url) && matches!(*asked.method(), Method::GET | Method::HEAD) {
            // A copy of a manifest that is not from here is none of what is answered here.
            sent = fields::for_any_file(&sent);
        }
        say_what_players_mean(&mut sent, url, shared);
    }
    if leads_to_a_neighbour(url) || shared.engine.origin().is_proxied() {
        let via = format!("1.1 {}", shared.setup.pseudonym);
        if let Ok(via) = HeaderValue::from_str(&via) {
            sent.append(header::VIA, via);
        }
    }
    let downgrades = way == Way::Ours && !headers::is_of_browser(asked.headers());
    Caller { viewer, headers: sent, own_browser: way == Way::Ours, downgrades, reach }
}

/// Turns an Origin and a Referer that name us into what the origin would have been told without us.
fn say_what_players_mean(sent: &mut http::HeaderMap, url: &Url, shared: &Shared) {
    let text = |name| sent.get(&name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(header::ORIGIN).is_some_and(|origin| is_ours(origin, shared)) {
        sent.remove(header::ORIGIN);
    }
    let text = |name| sent.get(&name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(referer) = text(header::REFERER).filter(|referer| is_ours(referer, shared)) else { return };
    let page = address::referred(referer, &shared.names);
    // From https to http nothing is told (RFC 9110 §10.1.3).
    let page = page.filter(|page| page.scheme() == url.scheme() || url.scheme() == "https");
    match page.and_then(|page| HeaderValue::from_str(page.as_str()).ok()) {
        Some(page) => sent.insert(header::REFERER, page),
        None => sent.remove(header::REFERER),
    };
}

/// Only on this machine and network, or through a proxy, can another daemon send our requests back to us; a publisher's
/// servers see no Via, as without us (RFC 9110 §7.6.3 wants it for the sake of loops and of what the next hop speaks,
/// and we speak what we are asked in).
fn leads_to_a_neighbour(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => is_local_name(name),
        Some(_) => true,
        None => false,
    }
}

fn is_ours(text: &str, shared: &Shared) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split('/').next());
    authority.is_some_and(|authority| shared.names.is_us(authority))
}

fn preflight() -> Response<Body> {
    let mut answer = Response::new(super::answer::full(""));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let fields = answer.headers_mut();
    fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    fields.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    answer
}

fn refuse(refused: &Refused) -> Response<Body> {
    let status = match refused {
        Refused::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
        Refused::NoHost | Refused::BadUrl(_) | Refused::Framing => StatusCode::BAD_REQUEST,
        Refused::NotFound(_) => StatusCode::NOT_FOUND,
        Refused::Stranger(_) => StatusCode::FORBIDDEN,
        Refused::Loop => StatusCode::LOOP_DETECTED,
    };
    let mut answer = sentence(status, &refused.to_string());
    // Whoever is on the other end of a misdirected connection gets no second try on it.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
