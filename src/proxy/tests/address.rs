//! Addresses: every form, every refusal, and that what is written into a playlist is read back.

use http::{Method, Uri};
use proptest::prelude::*;
use url::Url;

use crate::engine::origin::Reach;
use crate::model::address::Address;
use crate::proxy::address::{Names, Refused, Target, path_for, referred, target};
use crate::proxy::grants::Grants;

fn names() -> Names {
    Names {
        ports: vec![7223],
        hosts: vec!["box.lan:7223".into(), "tv".into()],
        grants: Some(Grants::new([1; 32])),
    }
}

fn get(target_text: &str, host: &str) -> Result<Target, Refused> {
    target(&Method::GET, &target_text.parse().unwrap(), &[host], &names())
}

fn us(target: &str) -> Result<Target, Refused> {
    get(target, "127.0.0.1:7223")
}

fn prefix(url: &str, reach: Reach) -> Target {
    Target::Prefix { url: Url::parse(url).unwrap(), reach, granted: false }
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
        ("/http:/o.example//a", "http://o.example//a"),
        ("/http%3A%2F%2Fo.example%2Fa%23frag", "http://o.example/a"),
        ("/http%3A%2F%2Fo.example%2Fa%252Fb", "http://o.example/a%2Fb"),
        ("/http%3A//o.example/a%2Fb", "http://o.example/a/b"),
        ("/http://o.example/?", "http://o.example/?"),
        ("/http://o.example?x", "http://o.example/?x"),
        ("/http://o.example/a?u=/~paceline.ts", "http://o.example/a?u=/~paceline.ts"),
        ("/http://o.example/~paceline.toolonganend", "http://o.example/~paceline.toolonganend"),
        ("/http://o.example/~paceline.", "http://o.example/~paceline."),
        ("/http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
        ("/http://O.Example/A", "http://o.example/A"),
        ("/http://o.example:80/a", "http://o.example/a"),
        ("/http://o.example/a/http://p.example/b", "http://o.example/a/http://p.example/b"),
    ] {
        assert_eq!(us(path), Ok(prefix(url, Reach::Loopback)), "{path}");
        for (word, reach) in
            [("/~public", Reach::Public), ("/~standin", Reach::StandIn), ("/~lan", Reach::Lan)]
        {
            assert_eq!(us(&format!("{word}{path}")), Ok(prefix(url, reach)), "{word}{path}");
        }
    }
}

#[test]
fn channels_control_and_forward_requests_are_told_apart() {
    assert_eq!(us("/-/stats?x=1"), Ok(Target::Control("stats?x=1".into())));
    let channel = Target::Channel { name: "news".into(), rest: "index.m3u8?t=1".into() };
    assert_eq!(us("/news/index.m3u8?t=1"), Ok(channel));
    let url = Url::parse("http://o.example/a.ts").unwrap();
    let word = |reach| Grants::new([1; 32]).word(reach, &Address::from(&url));
    for (reach, restriction) in [(Reach::Loopback, ""), (Reach::Lan, "~lan/"), (Reach::Public, "~public/")] {
        let granted = Ok(Target::Prefix { url: url.clone(), reach, granted: true });
        assert_eq!(us(&format!("/{}/{restriction}{url}", word(reach))), granted);
    }
    let word = word(Reach::Loopback);
    for made_up in [
        format!("/{}/{url}", word.replace(['0', '1', '2', '3'], "4")),
        format!("/{word}0/{url}"),
        format!("/{word}/~lan/{url}"),
        format!("/{word}/http://p.example/a.ts"),
        format!("/~/{url}"),
        format!("/{word}/news/index.m3u8"),
    ] {
        assert!(matches!(us(&made_up), Err(Refused::NotFound(_))), "{made_up}");
    }
    let forward = Url::parse("http://o.example/a?b").unwrap();
    assert_eq!(get("http://o.example/a?b", "whatever"), Ok(Target::Forward(forward)));
    assert_eq!(get("http://127.0.0.1:7223/-/health", "x"), Ok(Target::Control("health".into())));
    assert_eq!(
        get("http://localhost:7223/http://o.example/", "x"),
        Ok(prefix("http://o.example/", Reach::Loopback))
    );
    let connect = target(&Method::CONNECT, &"[::1]:443".parse().unwrap(), &[], &names());
    assert_eq!(connect, Ok(Target::Connect { host: "::1".into(), port: 443 }));
    for bad in ["user@o.example:443", "o.example"] {
        let refused = target(&Method::CONNECT, &bad.parse().unwrap(), &[], &names());
        assert!(matches!(refused, Err(Refused::BadUrl(_))), "{bad}");
    }
}

#[test]
fn a_referer_of_ours_becomes_the_page_it_stands_for() {
    for (referer, page) in [
        ("http://127.0.0.1:7223/https://o.example/a.m3u8?x", Some("https://o.example/a.m3u8?x")),
        ("http://localhost:7223/~public/https://o.example/l/~paceline.m3u8", Some("https://o.example/l")),
        ("http://127.0.0.1:7223/news/index.m3u8", None),
        ("http://127.0.0.1:7223/", None),
        ("http://127.0.0.1:7223", None),
        ("https://o.example/http://p.example/", None),
        ("http://o.example/http://p.example/", None),
        ("", None),
    ] {
        assert_eq!(referred(referer, &names()), page.map(|p| Url::parse(p).unwrap()), "{referer}");
    }
}

#[test]
fn strange_hosts_are_refused_before_anything_else() {
    for host in ["127.0.0.1:7223", "localhost:7223", "LOCALHOST:7223", "[::1]:7223", "box.lan:7223", "TV"] {
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
        "/http://[::ffff:127.0.0.1]:7223/",
        "/http://0x7f000001:7223/",
        "/http://0177.0.0.1:7223/",
        "/http://127.1:7223/",
        "/http://LOCALHOST:7223/",
        "/http://localhost.:7223/",
        "/http://%6c%6f%63%61%6c%68%6f%73%74:7223/",
        "/http://①②⑦.⓪.⓪.①:7223/",
        "/~public/http://127.0.0.1:7223/",
        "/http%3A%2F%2F127.0.0.1%3A7223%2F",
        "/https://127.0.0.1:7223/",
    ] {
        // What a request line can't hold never gets here.
        if path.parse::<Uri>().is_err() {
            continue;
        }
        assert_eq!(us(path), Err(Refused::Loop), "{path}");
    }
    for path in [
        "/http://user:secret@o.example/",
        "/http%3A%2F%2Fo.example%2Fa%5Cb",
        "/http%3A%2F%2Fo.example%2F%00",
        "/http%3A%2F%2Fo.example%2F%zz",
        "/http%3A%2F%2Fuser%40o.example%2F",
        "/http%3A%2F%2Fo.example%2F%0D%0AX%3A1",
        "/http%3A%2F%2Fo.example%2Fa%20b",
        "/https%3A%2F%2F%FF",
        "/https://",
        "/https:/",
        "/http://o.example:99999/",
        "/http://[::1/",
        "/http://300.1.1.1/",
    ] {
        if path.parse::<Uri>().is_err() {
            continue;
        }
        let refused = us(path);
        assert!(matches!(refused, Err(Refused::BadUrl(_))), "{path}: {refused:?}");
    }
    let long = format!("/http://o.example/{}", "x".repeat(16 * 1024));
    assert!(matches!(us(&long), Err(Refused::BadUrl(_))));
    for path in [
        "/",
        "/favicon.ico",
        "/ftp://o.example/x",
        "/file:///etc/passwd",
        "/~public/",
        "/~public/news/index.m3u8",
        "/~home/http://o.example/",
        "/-",
        "/%2e%2e/etc",
    ] {
        let uri: Uri = path.parse().unwrap();
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
        reach in prop_oneof![Just(Reach::Public), Just(Reach::Lan), Just(Reach::Loopback)],
    ) {
        let path = path.replace('%', "%25");
        let mut text = format!("{scheme}://cdn.example:8080{path}");
        if let Some(query) = &query {
            text = format!("{text}?{}", query.replace('%', "%25"));
        }
        let url = Url::parse(&text).unwrap();
        let written = path_for(&Address::from(&url), reach, extension.as_deref()).unwrap();
        if let (Some(extension), None) = (&extension, url.query()) {
            prop_assert!(written.ends_with(&format!(".{extension}")), "{}", written);
        }
        let uri: Uri = written.parse().unwrap();
        let read = target(&Method::GET, &uri, &["localhost:7223"], &names());
        prop_assert_eq!(read, Ok(Target::Prefix { url, reach, granted: false }));
    }

    #[test]
    fn any_url_that_can_be_written_is_read_back(
        text in "https?://[a-z0-9.]{1,12}(:[0-9]{1,5})?/[ -~\u{80}-\u{2000}]{0,40}",
        reach in prop_oneof![Just(Reach::Public), Just(Reach::Loopback)],
    ) {
        let Ok(mut url) = Url::parse(&text) else { return Ok(()) };
        prop_assume!(!names().is_own_url(&url));
        let Some(written) = path_for(&Address::from(&url), reach, None) else { return Ok(()) };
        url.set_fragment(None);
        let Ok(uri) = written.parse::<Uri>() else { return Ok(()) };
        let read = target(&Method::GET, &uri, &["localhost:7223"], &names());
        prop_assert_eq!(read, Ok(Target::Prefix { url, reach, granted: false }));
    }

    #[test]
    fn no_request_line_panics(text in "/[ -~]{0,60}", host in "[ -~]{0,20}") {
        if let Ok(uri) = text.parse::<Uri>() {
            let _ = target(&Method::GET, &uri, &[&host], &names());
        }
        let _ = referred(&format!("http://localhost:7223{text}"), &names());
    }
}
