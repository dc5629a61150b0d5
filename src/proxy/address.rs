//! Request line and Host to what is asked of which origin: the three ways in are one function.
//!
//! In prefix form the path is a whole origin URL. Players that refuse odd file names are given one they like: a last
//! path component `~paceline.EXT`, which is taken off again here.

use http::{Method, Uri};
use url::{Host, Url};

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
    Prefix(Url),
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
    /// It would come back to us.
    #[error("that URL leads to this proxy itself")]
    Loop,
}

/// Who we are, as requests may name us.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Our ports.
    pub ports: Vec<u16>,
    /// Other values of Host that are us, as configured: `name` or `name:port`.
    pub hosts: Vec<String>,
}

impl Names {
    /// Whether a Host or authority is us.
    #[must_use]
    pub fn is_us(&self, authority: &str) -> bool {
        let lower = authority.to_ascii_lowercase();
        if self.hosts.iter().any(|host| host.eq_ignore_ascii_case(&lower)) {
            return true;
        }
        let (host, port) = match lower.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (lower.as_str(), Some(80)),
        };
        let local = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        local && port.is_some_and(|port| self.ports.contains(&port))
    }

    fn is_own_url(&self, url: &Url) -> bool {
        let local = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
            Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified(),
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
        let authority = uri.authority().ok_or(Refused::BadUrl("CONNECT wants host:port"))?;
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
    if let Some(url) = prefixed(rest)? {
        return if names.is_own_url(&url) { Err(Refused::Loop) } else { Ok(Target::Prefix(url)) };
    }
    let (name, rest) = rest.split_once('/').ok_or(Refused::NotFound("a channel is /NAME/index.m3u8"))?;
    let named =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !named {
        return Err(Refused::NotFound("this is neither a URL nor a channel"));
    }
    Ok(Target::Channel { name: name.to_owned(), rest: rest.to_owned() })
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
    if text.bytes().any(|b| b < 0x21 || b == 0x7F || b == b'\\') {
        return Err(Refused::BadUrl("it contains a backslash, space or control character"));
    }
    let url = Url::parse(text).map_err(|_| Refused::BadUrl("it is not a valid URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(Refused::BadUrl("only http and https are served"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::BadUrl("it carries a user name; send an Authorization header instead"));
    }
    Ok(url)
}

/// The path under which a player asks us for `url`; `extension` is appended where the player wants one.
#[must_use]
pub fn path_for(url: &Url, extension: Option<&str>) -> String {
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    let mut path = format!("/{bare}");
    // A name of the origin's own that looks like our mark must survive its removal.
    let extension = extension.or(if unmarked(&path) == path { None } else { Some("bin") });
    if let Some(extension) = extension {
        path.push_str(MARK);
        path.push_str(extension);
    }
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    path
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Names {
        Names { ports: vec![7223], hosts: vec!["box.lan:7223".into(), "tv".into()] }
    }

    fn get(target_text: &str, host: &str) -> Result<Target, Refused> {
        target(&Method::GET, &target_text.parse().unwrap(), &[host], &names())
    }

    fn us(target: &str) -> Result<Target, Refused> {
        get(target, "127.0.0.1:7223")
    }

    #[test]
    fn every_form_of_a_prefix_is_the_same_url() {
        for (path, url) in [
            ("/https://o.example/a/b.m3u8?x=1&y=http://z/", "https://o.example/a/b.m3u8?x=1&y=http://z/"),
            ("/https:/o.example/a/b.m3u8?x=1", "https://o.example/a/b.m3u8?x=1"),
            ("/HTTPS://o.example/a", "https://o.example/a"),
            ("/https%3A%2F%2Fo.example%2Fa%2Fb.m3u8%3Fx%3D1", "https://o.example/a/b.m3u8?x=1"),
            ("/http%3a%2f%2Fo.example%2Fa?q=2", "http://o.example/a?q=2"),
            ("/http://o.example:8080", "http://o.example:8080/"),
            ("/http://[2001:470::1]:81/x", "http://[2001:470::1]:81/x"),
            ("/http://o.example/a%2Fb//c%20d;e=1,2/~f", "http://o.example/a%2Fb//c%20d;e=1,2/~f"),
            ("/http://o.example/seg.php/~paceline.ts?x=1", "http://o.example/seg.php?x=1"),
            ("/http://o.example/~paceline.ts/~paceline.bin", "http://o.example/~paceline.ts"),
            ("/http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
            ("/http://0x7f.1:8080/x", "http://127.0.0.1:8080/x"),
        ] {
            assert_eq!(us(path), Ok(Target::Prefix(Url::parse(url).unwrap())), "{path}");
        }
    }

    #[test]
    fn channels_control_and_forward_requests_are_told_apart() {
        assert_eq!(us("/-/stats?x=1"), Ok(Target::Control("stats?x=1".into())));
        let channel = Target::Channel { name: "news".into(), rest: "index.m3u8?t=1".into() };
        assert_eq!(us("/news/index.m3u8?t=1"), Ok(channel));
        let forward = Url::parse("http://o.example/a?b").unwrap();
        assert_eq!(get("http://o.example/a?b", "whatever"), Ok(Target::Forward(forward)));
        assert_eq!(get("http://127.0.0.1:7223/-/health", "x"), Ok(Target::Control("health".into())));
        assert_eq!(
            get("http://localhost:7223/http://o.example/", "x").map(|t| matches!(t, Target::Prefix(_))),
            Ok(true)
        );
        let connect = target(&Method::CONNECT, &"[::1]:443".parse().unwrap(), &[], &names());
        assert_eq!(connect, Ok(Target::Connect { host: "::1".into(), port: 443 }));
    }

    #[test]
    fn strange_hosts_are_refused_before_anything_else() {
        for host in ["127.0.0.1:7223", "localhost:7223", "LOCALHOST:7223", "[::1]:7223", "box.lan:7223", "TV"]
        {
            assert!(get("/-/health", host).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7223",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:7224",
            "localhost.:7223",
            "127.0.0.1.evil.example:7223",
            "0.0.0.0:7223",
            "[::]:7223",
            "box.lan",
            "",
        ] {
            assert_eq!(get("/-/health", host), Err(Refused::Misdirected(host.into())), "{host}");
        }
        let uri: Uri = "/-/health".parse().unwrap();
        for hosts in [&[][..], &["127.0.0.1:7223", "127.0.0.1:7223"]] {
            assert_eq!(target(&Method::GET, &uri, hosts, &names()), Err(Refused::NoHost));
        }
    }

    #[test]
    fn what_must_not_be_asked_is_not_asked() {
        for path in [
            "/http://127.0.0.1:7223/-/stats",
            "/http://localhost:7223/",
            "/http://127.0.0.2:7223/",
            "/http://0.0.0.0:7223/",
            "/http://2130706433:7223/",
            "/http://[::1]:7223/http://o.example/",
            "/http://box.lan:7223/",
        ] {
            assert_eq!(us(path), Err(Refused::Loop), "{path}");
        }
        for path in [
            "/http://user:secret@o.example/",
            "/http%3A%2F%2Fo.example%2Fa%5Cb",
            "/http%3A%2F%2Fo.example%2F%00",
            "/http%3A%2F%2Fo.example%2F%zz",
            "/https://",
            "/http:///x",
        ] {
            let refused = us(path);
            assert!(
                matches!(refused, Err(Refused::BadUrl(_))) || path == "/http:///x",
                "{path}: {refused:?}"
            );
        }
        for path in ["/", "/favicon.ico", "/ftp://o.example/x", "/file:///etc/passwd", "/a b"] {
            let Ok(uri) = path.parse::<Uri>() else { continue };
            let refused = target(&Method::GET, &uri, &["127.0.0.1:7223"], &names());
            assert!(matches!(refused, Err(Refused::NotFound(_))), "{path}: {refused:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_into_a_playlist_is_read_back(
            scheme in prop_oneof![Just("http"), Just("https")],
            path in "(/[a-zA-Z0-9~._%2F:;,=@!$&'()*+-]{0,12}){1,5}(/~paceline\\.ts)?",
            query in proptest::option::of("[a-z0-9=&:/?%2F~.-]{0,20}"),
            extension in proptest::option::of("[a-z0-9]{1,5}"),
        ) {
            let path = path.replace('%', "%25");
            let mut text = format!("{scheme}://cdn.example:8080{path}");
            if let Some(query) = &query {
                text = format!("{text}?{}", query.replace('%', "%25"));
            }
            let url = Url::parse(&text).unwrap();
            let written = path_for(&url, extension.as_deref());
            let uri: Uri = written.parse().unwrap();
            let read = target(&Method::GET, &uri, &["localhost:7223"], &names());
            prop_assert_eq!(read, Ok(Target::Prefix(url)));
        }
    }
}
