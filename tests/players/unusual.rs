//! Origins that are set up in ways that trip players: manifests that are elsewhere, segments named like pages.

use crate::common::{Daemon, Nginx, free_port};
use crate::media::{FRAMES, OPEN, manifest};
use crate::programs::{PROGRAMS, Played, Program};
use crate::recordings;

/// What is asked for below this path is elsewhere.
const MOVED: &str = "location ~ ^/moved/(.*)$ { return 302 /$1; }";

/// What was played by prefix is what is played directly of the plain recording.
fn is_like(what: &str, program: Program, ours: &Played, plain: &Played) {
    let (played, all) = (ours.frames.len(), plain.frames.len());
    println!("{what}, {program:?}: {played} frames of {all}");
    let told =
        format!("{what}, {program:?}: {played} frames of {all}:\n{}--- plain:\n{}", ours.log, plain.log);
    assert!(all >= FRAMES && ours.frames == plain.frames, "{told}");
    assert!(ours.complaints.is_subset(&plain.complaints), "{told}");
}

#[test]
fn a_manifest_that_is_elsewhere() {
    let origin = Nginx::serve(recordings(), &format!("{MOVED} {OPEN}"));
    let daemon = Daemon::start(&[], &[]);
    for format in ["ts", "number"] {
        let path = format!("{format}/{}", manifest(format));
        for program in PROGRAMS {
            let plain = program.play(&origin.url(&path), None);
            let ours = program.play(&daemon.prefix(&origin.url(&format!("moved/{path}"))), None);
            is_like(&format!("{format}, moved"), program, &ours, &plain);
        }
    }
    // What a manifest names is asked for where that is, not where was led away from.
    let led = origin.log().into_iter().filter(|(_, path, ..)| path.contains("moved/"));
    let led: Vec<_> = led.map(|(_, path, status, _)| (path, status)).collect();
    assert!(led.len() >= 2 * PROGRAMS.len(), "{led:?}");
    assert!(led.iter().all(|(path, status)| path.contains("/index.m") && *status == 302), "{led:?}");
}

/// A household or a company puts paceline behind a proxy that speaks TLS: what an MPD names leads back to that one. VLC does not
/// speak to one whose certificate nobody vouches for.
#[test]
fn an_mpd_behind_a_reverse_proxy_that_speaks_tls() {
    let origin = Nginx::serve(recordings(), OPEN);
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let host = format!("127.0.0.1:{port}");
    let channels = ["number", "base"].map(|name| {
        (format!("PACELINE_CHANNELS_{}", name.to_uppercase()), origin.url(&format!("{name}/index.mpd")))
    });
    let settings = channels.iter().map(|(name, url)| (&name[..], &url[..]));
    let settings: Vec<_> = settings.chain([("PACELINE_PROXY_ALLOWED_HOSTS", &host[..])]).collect();
    let daemon = Daemon::start(&[], &settings);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (path, us) = (dir.path().display(), daemon.address);
    let front = Nginx::serve(
        dir.path(),
        &format!(
            "listen {host} ssl; ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem; \
             location / {{ proxy_pass http://{us}; proxy_set_header Host $http_host; \
             proxy_set_header X-Forwarded-Proto $scheme; }}"
        ),
    );
    for format in ["number", "base"] {
        for program in [Program::Ffmpeg, Program::Mpv] {
            let plain = program.play(&origin.url(&format!("{format}/index.mpd")), None);
            let mut ours = program.play(&format!("https://{host}/{format}/index.mpd"), None);
            // Who complains is named after the protocol.
            ours.complaints = ours.complaints.iter().map(|what| what.replace("https", "http")).collect();
            is_like(&format!("{format}, behind TLS"), program, &ours, &plain);
        }
    }
    for ending in [".m4s", ".mp4"] {
        assert!(front.sent(ending).1 > 0, "{ending}: past the proxy in front: {:?}", front.log());
    }
}

/// FFmpeg asks for no segment whose name does not look like one, since 2025; through paceline every name does.
#[test]
fn segments_that_are_named_like_pages() {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(recordings().join("ts")).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        std::fs::copy(file.path(), dir.path().join(name.replace(".ts", ".php"))).unwrap();
    }
    let list = dir.path().join("index.m3u8");
    let text = std::fs::read_to_string(&list).unwrap().replace(".ts\n", ".php\n");
    assert!(text.contains(".php\n"), "{text}");
    std::fs::write(&list, text).unwrap();
    let (origin, plain) = (Nginx::serve(dir.path(), OPEN), Nginx::serve(recordings(), OPEN));
    let daemon = Daemon::start(&[], &[]);
    for program in PROGRAMS {
        let plain = program.play(&plain.url("ts/index.m3u8"), None);
        let ours = program.play(&daemon.prefix(&origin.url("index.m3u8")), None);
        is_like("ts named .php", program, &ours, &plain);
    }
}
