//! A daemon that listens for other machines: who is served, and how far each may lead it. The machines are addresses in a
//! network namespace.

mod common;

#[path = "common/scripted.rs"]
mod scripted;

use std::process::Command;

use common::{Daemon, Process, raw, until};
use scripted::{Scripted, respond};

/// Who asks (from which address), what, and what is answered.
const ASKED: [(&str, &str, u16); 21] = [
    // This machine, by whatever address of its own.
    ("127.0.0.1", "http://127.0.0.1:7223/-/health", 200),
    ("127.0.0.1", "http://127.0.0.1:7223/http://127.0.0.1:7224/health", 200),
    ("10.7.0.1", "http://10.7.0.1:7223/-/health -H Host:box.lan:7223", 200),
    ("10.7.0.1", "http://10.7.0.1:7223/http://127.0.0.1:7224/health -H Host:box.lan:7223", 200),
    // Another machine of its network.
    ("10.7.0.2", "http://10.7.0.1:7223/-/health -H Host:box.lan:7223", 200),
    ("10.7.0.2", "http://10.7.0.1:7223/-/health -H Host:elsewhere.lan:7223", 421),
    ("10.7.0.2", "http://10.7.0.1:7223/http://127.0.0.1:7224/health -H Host:box.lan:7223", 403),
    ("10.7.0.2", "http://127.0.0.1:7224/health --proxy http://10.7.0.1:7223", 403),
    ("10.7.0.2", "http://10.7.0.1:7223/http://10.7.0.3:7224/health -H Host:box.lan:7223", 200),
    (
        "10.7.0.2",
        "http://10.7.0.1:7223/-/p2p -H Host:box.lan:7223 -H X-Paceline:1 --json {\"p2p\":false}",
        200,
    ),
    // Anybody, by a reverse proxy on this machine.
    ("127.0.0.1", "http://127.0.0.1:7223/-/health -H X-Forwarded-For:10.7.0.2", 200),
    ("127.0.0.1", "http://127.0.0.1:7223/http://127.0.0.1:7224/health -H X-Forwarded-For:10.7.0.2", 403),
    (
        "127.0.0.1",
        "http://127.0.0.1:7223/-/p2p -H Forwarded:for=10.7.0.2 -H X-Paceline:1 --json {\"p2p\":false}",
        403,
    ),
    // Public addresses of this machine (which also has 9.9.9.1/24 and 2606:4700:1:2::1/64), and of its network.
    ("127.0.0.1", "http://127.0.0.1:7223/http://9.9.9.1:7224/health", 200),
    ("127.0.0.1", "http://127.0.0.1:7223/http://[2606:4700:1:2::1]:7224/health", 200),
    ("10.7.0.2", "http://10.7.0.1:7223/http://9.9.9.1:7224/health -H Host:box.lan:7223", 200),
    ("127.0.0.1", "http://127.0.0.1:7223/http://9.9.9.1:7224/health -H X-Forwarded-For:10.7.0.2", 403),
    (
        "127.0.0.1",
        "http://127.0.0.1:7223/http://[2606:4700:1:2::1]:7224/health -H X-Forwarded-For:10.7.0.2",
        403,
    ),
    (
        "127.0.0.1",
        "http://127.0.0.1:7223/http://[2606:4700:1:2::2]:7224/health -H X-Forwarded-For:10.7.0.2",
        403,
    ),
    // A stranger.
    ("8.8.8.8", "http://10.7.0.1:7223/-/health -H Host:box.lan:7223", 403),
    ("8.8.8.8", "http://10.7.0.3:7224/health --proxy http://10.7.0.1:7223", 403),
];

/// Brings up the network, a service on loopback and one on the network, and the daemon; then asks what is on its standard
/// input, a line each, and says `= STATUS` of each.
const SCRIPT: &str = r#"
ip link set lo up
for address in 10.7.0.1/24 10.7.0.2/24 10.7.0.3/24 8.8.8.8/32 9.9.9.1/24 2606:4700:1:2::1/64; do ip address add "$address" dev lo; done
"$1" tracker --listen 127.0.0.1:7224 &
"$1" tracker --listen 10.7.0.3:7224 &
"$1" tracker --listen 9.9.9.1:7224 &
"$1" tracker --listen [2606:4700:1:2::1]:7224 &
"$1" serve --listen 0.0.0.0:7223 &
for service in 127.0.0.1:7223/-/health 127.0.0.1:7224/health 10.7.0.3:7224/health 9.9.9.1:7224/health \
    [2606:4700:1:2::1]:7224/health; do
    curl --globoff --silent --output /dev/null --retry 100 --retry-connrefused --retry-delay 1 --max-time 60 "http://$service"
done
while read -r from what; do
    set -f
    status=$(curl --globoff --silent --noproxy '' --output answer --write-out '%{http_code}' --max-time 60 --interface "$from" $what)
    set +f
    grep -h 'is of neither' answer
    echo "= $status"
done <"$2"
echo over
"#;

#[test]
fn nobody_leads_the_daemon_where_he_could_not_go_himself() {
    let dir = tempfile::tempdir().unwrap();
    let questions = dir.path().join("questions");
    let lines: Vec<String> = ASKED.iter().map(|(from, what, _)| format!("{from} {what}\n")).collect();
    std::fs::write(&questions, lines.concat()).unwrap();
    let mut command = Command::new("unshare");
    command.current_dir(dir.path());
    command.args(["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT, "sh"]);
    command
        .arg(env!("CARGO_BIN_EXE_paceline"))
        .arg(&questions)
        .env("PACELINE_PROXY_ALLOWED_HOSTS", "box.lan");
    let mut process = Process::spawn("unshare", &mut command);
    let over = || (process.log().lines().any(|line| line == "over") || !process.running()).then_some(());
    until("all to be asked", over);
    let log = process.log();
    let answered: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("= ")).collect();
    assert_eq!(answered.len(), ASKED.len(), "is `ip` there (apt-get install iproute2)?\n{log}");
    for ((from, what, expected), status) in ASKED.iter().zip(answered) {
        assert_eq!(status, expected.to_string(), "{from} asks for {what}\n{log}");
    }
    assert!(log.contains("point a player at http://box.lan:7223/"), "{log}");
    assert!(
        log.contains("8.8.8.8 is of neither; where it has a private address"),
        "he is told what to do:\n{log}"
    );
}

/// A page of the public Internet, which a channel leads to this machine, plays on whatever else it asks for.
#[test]
fn a_wish_that_is_refused_does_not_end_a_channel() {
    let origin = Scripted::start(|_, head, stream| {
        let mpd = "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" mediaPresentationDuration=\"PT8S\"><Period>\
            <AdaptationSet mimeType=\"video/mp4\"><SegmentTemplate duration=\"4\" startNumber=\"1\" media=\"$Number$.m4s\"/>\
            <Representation id=\"a\" bandwidth=\"1\"/></AdaptationSet></Period></MPD>";
        let of: &[u8] = if head.contains(".mpd") { mpd.as_bytes() } else { b"media" };
        respond(stream, "200 OK", "", of);
    });
    let env = [
        ("PACELINE_PROXY_ALLOWED_ORIGINS", "https://player.example"),
        ("PACELINE_CHANNELS_NEWS", &*origin.url("s.mpd")),
    ];
    let daemon = Daemon::start(&[], &env);
    let ask = |path: &str| {
        let address = daemon.address;
        let page = "Origin: https://player.example\r\nUser-Agent: Chromium";
        let reply =
            raw(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{page}\r\n\r\n")).unwrap();
        (reply.status, reply.text())
    };
    let (status, mpd) = ask("/news/index.mpd");
    assert_eq!(status, 200, "{mpd}");
    let word = mpd.split('/').find(|part| part.starts_with('~')).expect("the channel's word");
    let bare = format!("/{}", origin.url("1.m4s"));
    assert_eq!(ask(&bare).0, 403, "by itself it may not go there");
    for segment in ["1.m4s", "2.m4s"] {
        let named = format!("/{word}/{}", origin.url(segment));
        assert_eq!(ask(&named), (200, "media".to_owned()), "{named}");
    }
    assert_eq!(ask(&bare).0, 403, "nor is it given from memory what it may not ask for");
}

#[test]
fn what_a_player_is_watching_is_not_given_to_a_stranger_who_looks_like_it() {
    let origin = Scripted::start(|_, head, stream| {
        let list = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nseg12.ts\n#EXT-X-ENDLIST\n";
        let of: &[u8] = if head.contains(".m3u8") { list.as_bytes() } else { b"private" };
        respond(stream, "200 OK", "", of);
    });
    let daemon = Daemon::start(&[], &[("PACELINE_PROXY_ALLOWED_ORIGINS", "https://player.example")]);
    let ask = |path: &str, fields: &str| {
        let (address, url) = (daemon.address, origin.url(path));
        let request = format!("GET /{url} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: VLC\r\n{fields}\r\n");
        let reply = raw(address, &request).unwrap();
        (reply.status, reply.text())
    };
    assert_eq!(ask("cam.m3u8", "").0, 200);
    assert_eq!(ask("seg12.ts", ""), (200, "private".to_owned()));
    for (who, fields) in [
        ("anybody behind a reverse proxy", "X-Forwarded-For: 9.9.9.9\r\n"),
        ("a page", "Origin: https://player.example\r\n"),
    ] {
        assert_eq!(ask("seg12.ts", fields).0, 403, "{who}");
    }
}
