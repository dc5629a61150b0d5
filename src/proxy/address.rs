//! Request line and Host to what is asked of which origin: the three ways in are one function.
//!
//! In prefix form the path is a whole origin URL. What a playlist names is written into it in the same form, with two
//! additions where they are needed, both taken off again here:
//! - a first path component `~public`, `~standin` or `~lan`: how private the host may be that the URL leads to, because a playlist
//!   may not send a player to places more private than its own. Whoever makes this up only restricts himself.
//! - before that one a [word](super::grants) that nobody can make up: a channel's manifests named the URL, so that whoever
//!   may watch the channel may follow it where he could not lead us himself.
//! - a last path component `~paceline.EXT` for players that refuse odd file names.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::net::SocketAddr;

use http::{Method, Uri};
use url::{Host, Url};

use super::grants::{self, Grants};
use crate::engine::origin::Reach;
use crate::model::address::Address;

/// The last path component that carries an extension for the player; the extension follows.
const MARK: &str = "/~paceline.";
/// The longest extension after the mark.
const EXTENSION: usize = 8;
/// The longest request target, in bytes.
const TARGET: usize = 16 * 1024;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The daemon's own `/-/…`; the path after `/-/`.
    Control(String),
    /// A configured channel, and what follows its name.
    Channel {
        /// The name.
        name: String,
        /// The rest of the path, with the query.
        rest: String,
    },
    /// An origin's URL by prefix.
    Prefix {
        /// The URL.
        url: Url,
        /// How private the address may be that it leads to.
        reach: Reach,
        /// A channel's manifest named it, or a manifest that was named so.
        granted: bool,
    },
    /// An origin's URL by absolute-form request.
    Forward(Url),
    /// A tunnel.
    Connect {
        /// Name or address, without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// Why a request is not served at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The Host is neither this machine nor configured: a web page may be behind it.
    #[error("this proxy does not serve the host `{0}`; add it to proxy.allowed_hosts if it should")]
    Misdirected(String),
    /// No Host, or more than one.
    #[error("the request must have exactly one Host")]
    NoHost,
    /// Neither of the three ways in.
    #[error(
        "ask for http://ADDRESS/https://origin.example/stream.m3u8, or set this proxy as http_proxy; {0}"
    )]
    NotFound(&'static str),
    /// A URL that is not to be asked for.
    #[error("that URL can't be asked for: {0}")]
    BadUrl(&'static str),
    /// Where its body ends depends on who reads it.
    #[error("a request's Transfer-Encoding can only be `chunked`")]
    Framing,
    /// A machine of another network.
    #[error(
        "this proxy serves its own machine and network, and {0} is of neither; where it has a private address, use that one"
    )]
    Stranger(std::net::IpAddr),
    /// It would come back to us.
    #[error("that URL leads to this proxy itself")]
    Loop,
}

/// Who we are, as requests may name us.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Our ports.
    pub ports: Vec<u16>,
    /// Other values of Host that are us, as configured: `name:port`, or `name`, which stands for all our ports as well.
    pub hosts: Vec<String>,
    /// What a channel's manifests name private origins with.
    pub grants: Option<Grants>,
}

impl Names {
    /// Another of our addresses. One that is written out is nobody else's: no name leads a browser here by it.
    pub fn listen_at(&mut self, address: SocketAddr) {
        self.ports.push(address.port());
        if !address.ip().is_unspecified() {
            // Without a zone, which no Host carries.
            self.hosts.push(SocketAddr::new(address.ip(), address.port()).to_string());
        }
    }

    /// Whether a Host or authority is us.
    #[must_use]
    pub fn is_us(&self, authority: &str) -> bool {
        let lower = authority.to_ascii_lowercase();
        if self.hosts.iter().any(|host| host.eq_ignore_ascii_case(&lower)) {
            return true;
        }
        let at_ours =
            |host: &str| self.ports.iter().any(|port| format!("{host}:{port}").eq_ignore_ascii_case(&lower));
        if self.hosts.iter().any(|host| at_ours(host)) {
            return true;
        }
        let (host, port) = match lower.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (lower.as_str(), Some(80)),
        };
        let local = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        local && port.is_some_and(|port| self.ports.contains(&port))
    }

    /// Whether a URL leads to us, as far as its text tells.
    #[must_use]
    pub fn is_own_url(&self, url: &Url) -> bool {
        let local = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
            Some(Host::Ipv6(ip)) => {
                let ip = ip.to_canonical();
                ip.is_loopback() || ip.is_unspecified()
            }
            Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
            None => false,
        };
        let authority =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
        local && self.ports.contains(&url.port_or_known_default().unwrap_or(0)) || self.is_us(&authority)
    }
}

/// What a request asks for. `hosts` are the values of its Host headers.
///
/// # Errors
/// With what is to be answered instead; nothing is fetched then.
pub fn target(method: &Method, uri: &Uri, hosts: &[&str], names: &Names) -> Result<Target, Refused> {
    if method == Method::CONNECT {
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or(Refused::BadUrl("CONNECT wants host:port"))?;
        let port = authority.port_u16().ok_or(Refused::BadUrl("CONNECT wants host:port"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        return Ok(Target::Connect { host, port });
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if uri.scheme().is_some() {
        let text = uri.to_string();
        let url = web(&text)?;
        if !names.is_own_url(&url) {
            return Ok(Target::Forward(url));
        }
    } else {
        match hosts {
            [host] if names.is_us(host) => {}
            [host] => return Err(Refused::Misdirected(printable(host))),
            _ => return Err(Refused::NoHost),
        }
    }
    local(path, names)
}

/// A path that is ours: control, prefix or channel.
fn local(path: &str, names: &Names) -> Result<Target, Refused> {
    if path.len() > TARGET {
        return Err(Refused::BadUrl("it is too long"));
    }
    let rest = path.strip_prefix('/').unwrap_or(path);
    if let Some(control) = rest.strip_prefix("-/") {
        return Ok(Target::Control(control.to_owned()));
    }
    let (grant, rest) = grants::split(rest).map_or((None, rest), |(word, rest)| (Some(word), rest));
    let (reach, rest) = restricted(rest);
    if let Some(url) = prefixed(rest)? {
        if names.is_own_url(&url) {
            return Err(Refused::Loop);
        }
        let holds =
            |word| names.grants.as_ref().is_some_and(|all| all.holds(word, reach, &Address::from(&url)));
        return match grant.map(holds) {
            Some(false) => {
                Err(Refused::NotFound("what a channel named in an earlier run; open the channel anew"))
            }
            granted => Ok(Target::Prefix { url, reach, granted: granted.is_some() }),
        };
    }
    if grant.is_some() || reach != Reach::Loopback {
        return Err(Refused::NotFound("this is not a URL"));
    }
    let (name, rest) = rest.split_once('/').ok_or(Refused::NotFound("a channel is /NAME/index.m3u8"))?;
    let named =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !named {
        return Err(Refused::NotFound("this is neither a URL nor a channel"));
    }
    Ok(Target::Channel { name: name.to_owned(), rest: rest.to_owned() })
}

/// How private a URL may lead, and what follows that word.
fn restricted(rest: &str) -> (Reach, &str) {
    for reach in [Reach::Public, Reach::StandIn, Reach::Lan] {
        if let Some(after) = rest.strip_prefix(word(reach)) {
            return (reach, after);
        }
    }
    (Reach::Loopback, rest)
}

fn word(reach: Reach) -> &'static str {
    match reach {
        Reach::Public => "~public/",
        Reach::StandIn => "~standin/",
        Reach::Lan => "~lan/",
        Reach::Loopback => "",
    }
}

/// The page of an origin that a Referer of ours stands for.
#[must_use]
pub fn referred(referer: &str, names: &Names) -> Option<Url> {
    // Before us there may be one that speaks TLS.
    let rest = referer.strip_prefix("http://").or_else(|| referer.strip_prefix("https://"))?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    if !names.is_us(authority) {
        return None;
    }
    match local(path, names) {
        Ok(Target::Prefix { url, .. }) => Some(url),
        _ => None,
    }
}

/// The URL after the first slash: as it is, with one slash lost, or wholly percent-encoded.
fn prefixed(rest: &str) -> Result<Option<Url>, Refused> {
    let begins = |scheme: &str| rest.get(..scheme.len()).is_some_and(|r| r.eq_ignore_ascii_case(scheme));
    for scheme in ["http", "https"] {
        let colon = format!("{scheme}:/");
        if begins(&colon) {
            let after = &rest[colon.len()..];
            let after = after.strip_prefix('/').unwrap_or(after);
            let (bare, query) = after.split_once('?').map_or((after, None), |(b, q)| (b, Some(q)));
            let bare = unmarked(bare);
            let text =
                query.map_or(format!("{scheme}://{bare}"), |query| format!("{scheme}://{bare}?{query}"));
            return web(&text).map(Some);
        }
        if begins(&format!("{scheme}%3A")) {
            let (encoded, query) = rest.split_once('?').map_or((rest, None), |(e, q)| (e, Some(q)));
            let decoded =
                decode(unmarked(encoded)).ok_or(Refused::BadUrl("its percent-encoding is broken"))?;
            let mut url = web(&decoded)?;
            if let (Some(query), None) = (query, url.query()) {
                url.set_query(Some(query));
            }
            return Ok(Some(url));
        }
    }
    Ok(None)
}

/// An absolute URL of the web that may be asked for.
fn web(text: &str) -> Result<Url, Refused> {
    // A backslash is a slash to some parsers and none to others, but in a query it is only itself.
    let before_query = text.split('?').next().unwrap_or_default();
    if before_query.contains('\\') || text.bytes().any(|b| b < 0x21 || b == 0x7F) {
        return Err(Refused::BadUrl("it contains a backslash, space or control character"));
    }
    let mut url = Url::parse(text).map_err(|_| Refused::BadUrl("it is not a valid URL"))?;
    url.set_fragment(None);
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(Refused::BadUrl("only http and https are served"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::BadUrl("it carries a user name; send an Authorization header instead"));
    }
    Ok(url)
}

/// The path under which a player asks us for `url`, which was named by a host of the class `reach`; `extension` is
/// appended where the player wants one. `None` for a URL that we would refuse: with a user name.
#[must_use]
pub fn path_for(url: &Address, reach: Reach, extension: Option<&str>) -> Option<String> {
    if url.has_user() {
        return None;
    }
    let text = url.as_str().split('#').next().unwrap_or_default();
    let (bare, query) = text.split_once('?').map_or((text, None), |(bare, query)| (bare, Some(query)));
    let mut path = String::with_capacity(text.len() + 24);
    path.push('/');
    path.push_str(word(reach));
    path.push_str(bare);
    // A name of the origin's own that looks like our mark must survive its removal.
    let extension = extension.or(if unmarked(bare) == bare { None } else { Some("bin") });
    if let Some(extension) = extension {
        path.push_str(MARK);
        path.push_str(extension);
    }
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    Some(path)
}

/// Whether a path, as origins may read it, leads out of where it begins: a step upwards, however it is spelled.
#[must_use]
pub fn climbs(path: &str) -> bool {
    let Some(read) = decode(path) else { return true };
    let name = |part: &str| part.split(';').next() == Some("..");
    read.split(['/', '\\']).any(name)
}

/// `path` without the mark at its end, if it has one.
fn unmarked(path: &str) -> &str {
    let Some(at) = path.rfind(MARK) else { return path };
    let extension = &path[at + MARK.len()..];
    let plain = !extension.is_empty()
        && extension.len() <= EXTENSION
        && extension.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { &path[..at] } else { path }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok())?;
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// What a stranger sent, fit for a message.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).take(100).collect()
}
