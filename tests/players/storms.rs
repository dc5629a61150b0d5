//! Players that ask for what is not there yet, number after number and without a pause: the origin hears little of it.

use std::path::Path;
use std::process::Command;
use std::sync::PoisonError;

use crate::common::{Daemon, Nginx, Process, until};
use crate::growing::REAL_TIME;
use crate::media::{self, OPEN, segments};

/// Takes away what tells a player to stay behind the edge.
const WITHOUT_DELAY: &str = "add_header Access-Control-Allow-Origin *; location ~ \\.mpd$ { types { } \
    default_type application/dash+xml; sub_filter_types application/dash+xml; \
    sub_filter 'suggestedPresentationDelay=\"PT2S\"' ''; }";
/// And makes it one that nothing is known of here: a bandwidth that is no number, which players don't mind.
const NOT_UNDERSTOOD: &str = "add_header Access-Control-Allow-Origin *; location ~ \\.mpd$ { types { } \
    default_type application/dash+xml; sub_filter_types application/dash+xml; sub_filter_once off; \
    sub_filter 'suggestedPresentationDelay=\"PT2S\"' ''; sub_filter 'bandwidth=\"' 'bandwidth=\"about '; }";
/// How long is watched, in segments of each of the two tracks.
const SEGMENTS: usize = 6;

fn player(name: &str, url: &str, proxy: Option<&str>) -> Process {
    let mut command = Command::new(name);
    match name {
        "ffmpeg" => {
            command.args(["-nostdin", "-v", "warning", "-re", "-i", url, "-c", "copy", "-f", "null", "-"])
        }
        _ => command.args(["--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn", url]),
    };
    command.env_remove("http_proxy").envs(proxy.map(|proxy| ("http_proxy", proxy)));
    Process::spawn(name, &mut command)
}

fn await_segments(dir: &Path, more: usize) {
    let goal = segments(dir) + 2 * more;
    until("further segments are written", || (segments(dir) >= goal).then_some(()));
}

/// Both players by both ways, each with an origin and a daemon of its own: the origin is asked at most twice for each
/// segment that there is, manifests and init segments included. They play where it is known what there is; else they have only
/// what they find by trying, as directly.
fn is_kept_from_the_origin(format: &str, rules: &str) {
    let understood = rules != NOT_UNDERSTOOD;
    let _one = REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let _writer = media::growing(dir.path(), format, 60);
    let origin = || Nginx::serve(dir.path(), rules);
    let players = ["ffmpeg", "mpv"];
    let directly = players.map(|name| {
        let origin = origin();
        let playing = player(name, &origin.url("index.mpd"), None);
        (origin, playing)
    });
    // Some seconds of it are enough, and hard on the machine.
    await_segments(dir.path(), 1);
    for (name, (origin, playing)) in players.iter().zip(directly) {
        drop(playing);
        println!("{format}, {name} directly: {} requests within one segment", origin.log().len());
        // What is asked of paceline below is more than nothing. ffmpeg is well-behaved with a timeline.
        let storm = origin.log().len() > 4 * segments(dir.path());
        assert!(storm || format == "live-timeline", "{name} asks for no more than there is");
    }
    let ours = players.map(|name| {
        ["prefix", "forward proxy"].map(|way| {
            let (origin, daemon) = (origin(), Daemon::start(&[], &[]));
            let (url, proxy) = (origin.url("index.mpd"), format!("http://{}", daemon.address));
            let playing = match way {
                "prefix" => player(name, &daemon.prefix(&url), None),
                _ => player(name, &url, Some(&proxy)),
            };
            (name, way, origin, daemon, playing)
        })
    });
    await_segments(dir.path(), SEGMENTS);
    let mut broken = Vec::new();
    for (name, way, origin, daemon, mut playing) in ours.into_iter().flatten() {
        let log = origin.log();
        let (asked, there) = (log.len() - 1, segments(dir.path()));
        let media =
            log.iter().filter(|(_, path, status, _)| path.contains("chunk") && *status == 200).count();
        println!(
            "{format}, {name}, {way}: {asked} requests, {there} segments are there, {media} were fetched"
        );
        // Five in six of the new ones of one track is the least that playing them means.
        let plays = !understood || media >= SEGMENTS - 1;
        if asked > 2 * there || !plays || !playing.running() || !daemon.healthy() {
            broken.push(format!("{name}, {way}: {asked} requests of {there} segments: {log:?}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn numbers_without_a_delay() {
    is_kept_from_the_origin("live-number", WITHOUT_DELAY);
}

#[test]
fn numbers_of_an_mpd_that_is_not_understood() {
    is_kept_from_the_origin("live-number", NOT_UNDERSTOOD);
}

#[test]
fn a_timeline() {
    is_kept_from_the_origin("live-timeline", OPEN);
}
