//! Origins that are set up in ways that trip players: manifests that are elsewhere, segments named like pages.

use crate::common::{Daemon, Nginx};
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
