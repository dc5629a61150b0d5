//! What crosses, in each direction.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::clients::ON_BEHALF;
use crate::engine::origin::ViewerKey;

/// Hop-by-hop fields (RFC 9110 §7.6.1), those that are rebuilt for every hop, and what is said to a proxy alone.
const HOP: [HeaderName; 12] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-status"),
    HeaderName::from_static("http2-settings"),
];

/// Fields with which an origin could reach the player's browser beyond its answer, or that name it for all of 127.0.0.1.
const ACTIVE: [HeaderName; 15] = [
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::REFRESH,
    header::ALT_SVC,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("sourcemap"),
    HeaderName::from_static("reporting-endpoints"),
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
];

/// Fields that speak of the origin's bytes, and not of a rewritten playlist's.
pub const OF_THE_BYTES: [HeaderName; 7] = [
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// The headers of a player's request that the origin is to see; Host, Range and body length are handled apart.
#[must_use]
pub fn to_origin(headers: &HeaderMap) -> HeaderMap {
    let mut kept = without_hop(headers);
    for name in [header::HOST, header::RANGE, header::CONTENT_LENGTH, header::EXPECT] {
        kept.remove(name);
    }
    kept
}

/// The headers of an origin's answer that a player of ours is to see. `inert`: in prefix and channel mode, where every
/// origin would share one browser origin, nothing may run, be framed or be remembered.
#[must_use]
pub fn to_player(headers: &HeaderMap, inert: bool) -> HeaderMap {
    let mut kept = without_hop(headers);
    if inert {
        for name in &ACTIVE {
            kept.remove(name);
        }
        make_inert(&mut kept);
    }
    kept
}

/// Tells browsers to run, frame or sniff nothing of this.
pub fn make_inert(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

fn without_hop(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP.iter().chain(&named) {
        kept.remove(name);
    }
    kept
}

/// Whether how the body is delimited is beyond doubt (RFC 9112 §6.1): chunked and nothing else, or not encoded at all.
/// Of a length next to it nothing is left here: the parser drops it, and we pass on neither.
#[must_use]
pub fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Whether the request has come through this daemon already.
#[must_use]
pub fn came_through_us(headers: &HeaderMap, pseudonym: &str) -> bool {
    let hops = headers.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok());
    hops.flat_map(|via| via.split(',')).any(|hop| hop.split_ascii_whitespace().nth(1) == Some(pseudonym))
}

/// The viewer that a request belongs to: its address, what it calls itself, the credentials it shows, for whom a reverse
/// proxy says it asks, and the page that it plays in, where one does. Two pages of one browser are two viewers, and so are
/// two people behind one reverse proxy: neither has the other's cookies, nor what the other's manifests list.
#[must_use]
pub fn viewer(client: std::net::IpAddr, headers: &HeaderMap, page: Option<&HeaderValue>) -> ViewerKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(client.to_canonical().to_string().as_bytes());
    for name in [header::USER_AGENT, header::AUTHORIZATION] {
        hasher.update(b"\n");
        hasher.update(headers.get(name).map_or(&[], HeaderValue::as_bytes));
    }
    hasher.update(b"\n");
    hasher.update(page.map_or(&[], HeaderValue::as_bytes));
    for name in ON_BEHALF {
        // Every value: what the stranger himself says stands before what the reverse proxy adds.
        for value in headers.get_all(name) {
            hasher.update(format!("\n{name}: ").as_bytes());
            hasher.update(value.as_bytes());
        }
    }
    let mut key = [0; 8];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    ViewerKey(u64::from_le_bytes(key))
}

/// Why a browser's request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Browser {
    /// A page of another site is behind it.
    #[error("requests from web pages of other sites are not served; add the site to proxy.allowed_origins")]
    OtherSite,
    /// It would be shown or run as a document, frame, script or style.
    #[error("nothing of an origin is shown as a page here; open it in a player")]
    Document,
}

/// Refuses what a web page could make a browser send (Fetch metadata, W3C; Origin, RFC 6454). Native players send none
/// of these fields. `own_page`: the daemon's own pages, which a user may open.
///
/// # Errors
/// When a page of another site, or the shape of the request, gives it away.
pub fn check_browser(headers: &HeaderMap, allowed: &[String], own_page: bool) -> Result<(), Browser> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin = text("origin");
    if origin.is_some_and(|origin| allowed.iter().any(|a| a == origin)) {
        return Ok(());
    }
    let host = text("host").unwrap_or_default();
    if origin.is_some_and(|origin| origin != format!("http://{host}")) {
        return Err(Browser::OtherSite);
    }
    if matches!(text("sec-fetch-site"), Some("cross-site" | "same-site")) {
        return Err(Browser::OtherSite);
    }
    let shown = matches!(
        text("sec-fetch-dest"),
        Some(
            "document"
                | "iframe"
                | "frame"
                | "embed"
                | "object"
                | "script"
                | "style"
                | "worker"
                | "sharedworker"
                | "serviceworker"
                | "xslt"
                | "report"
                | "manifest"
        )
    );
    if shown && !own_page { Err(Browser::Document) } else { Ok(()) }
}

/// Whether a browser asks, which has rules of its own for where a page may be led. Browsers leave some of these fields out: of a
/// page's own site, or where they take a site for insecure.
#[must_use]
pub fn is_of_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

/// Whether a request may have a body that has to be passed on.
#[must_use]
pub fn has_body(method: &Method, headers: &HeaderMap) -> bool {
    (headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING))
        && method != Method::GET
        && method != Method::HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_belongs_to_one_hop_stays_there() {
        let sent = to_origin(&map(&[
            ("host", "x"),
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "basic"),
            ("range", "bytes=0-"),
            ("user-agent", "VLC"),
            ("authorization", "Bearer t"),
            ("referer", "http://r/"),
            ("x-custom", "kept"),
        ]));
        let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "referer", "user-agent", "x-custom"]);
    }

    #[test]
    fn proxied_answers_are_inert_where_origins_share_one_browser_origin() {
        let answer = map(&[("set-cookie", "a=b"), ("clear-site-data", "*"), ("content-type", "text/html")]);
        let inert = to_player(&answer, true);
        assert_eq!(inert["content-security-policy"], "sandbox; default-src 'none'");
        assert_eq!(inert["x-content-type-options"], "nosniff");
        assert!(!inert.contains_key("set-cookie") && !inert.contains_key("clear-site-data"));
        assert_eq!(to_player(&answer, false)["set-cookie"], "a=b", "forward mode changes nothing");
    }

    #[test]
    fn browsers_are_kept_out_and_players_are_not() {
        let own = ("host", "127.0.0.1:7223");
        for (pairs, expected) in [
            (&[own][..], Ok(())),
            (&[own, ("sec-fetch-site", "none"), ("sec-fetch-dest", "video")], Ok(())),
            (&[own, ("origin", "http://127.0.0.1:7223")], Ok(())),
            (&[own, ("origin", "https://player.example")], Ok(())),
            (&[own, ("origin", "https://evil.example")], Err(Browser::OtherSite)),
            (&[own, ("origin", "null")], Err(Browser::OtherSite)),
            (&[own, ("sec-fetch-site", "cross-site")], Err(Browser::OtherSite)),
            (&[own, ("sec-fetch-site", "same-site")], Err(Browser::OtherSite)),
            (&[own, ("sec-fetch-dest", "document")], Err(Browser::Document)),
            (&[own, ("sec-fetch-dest", "iframe")], Err(Browser::Document)),
            (&[own, ("sec-fetch-dest", "script")], Err(Browser::Document)),
        ] {
            let allowed = ["https://player.example".to_owned()];
            assert_eq!(check_browser(&map(pairs), &allowed, false), expected, "{pairs:?}");
        }
        assert_eq!(check_browser(&map(&[own, ("sec-fetch-dest", "document")]), &[], true), Ok(()));
    }

    #[test]
    fn a_body_has_one_meaning() {
        for (pairs, plain) in [
            (&[][..], true),
            (&[("content-length", "3")], true),
            (&[("transfer-encoding", "chunked")], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "chunked, chunked")], false),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "identity")], false),
            (&[("transfer-encoding", "xchunked")], false),
        ] {
            assert_eq!(is_framed_plainly(&map(pairs)), plain, "{pairs:?}");
        }
    }

    #[test]
    fn a_request_that_was_here_before_is_known() {
        for (pairs, seen) in [
            (&[][..], false),
            (&[("via", "1.1 squid")], false),
            (&[("via", "1.1 paceline-00ff")], true),
            (&[("via", "1.1 squid, 1.1 paceline-00ff (x)")], true),
            (&[("via", "1.1 squid"), ("via", "1.1 paceline-00ff")], true),
            (&[("via", "1.1 paceline-00ff-2")], false),
        ] {
            assert_eq!(came_through_us(&map(pairs), "paceline-00ff"), seen, "{pairs:?}");
        }
    }

    #[test]
    fn a_viewer_is_its_address_name_credentials_and_page_and_whom_a_reverse_proxy_asks_for() {
        let ip = "127.0.0.1".parse().unwrap();
        let of = |pairs: &[(&str, &str)]| {
            let headers = map(pairs);
            viewer(ip, &headers, headers.get("origin"))
        };
        let vlc = ("user-agent", "VLC");
        assert_eq!(of(&[vlc]), viewer("::ffff:127.0.0.1".parse().unwrap(), &map(&[vlc]), None));
        assert_eq!(of(&[vlc]), of(&[vlc, ("range", "bytes=0-"), ("via", "1.1 squid")]));
        let all = [
            of(&[vlc]),
            of(&[("user-agent", "mpv")]),
            of(&[vlc, ("authorization", "x")]),
            of(&[vlc, ("origin", "https://a.example")]),
            of(&[vlc, ("origin", "https://b.example")]),
            of(&[vlc, ("forwarded", "for=1.2.3.4")]),
            of(&[vlc, ("x-real-ip", "1.2.3.4")]),
            of(&[vlc, ("x-forwarded-for", "1.2.3.4")]),
            of(&[vlc, ("x-forwarded-for", "1.2.3.4, 1.2.3.5")]),
            of(&[vlc, ("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "1.2.3.5")]),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "{n}");
        }
    }
}
