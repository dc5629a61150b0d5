//! A live MPD that lists its segments by file: three viewers share it. dash.js does not play one as ffmpeg writes it (the start
//! of the Period moves with the list): directly it stands still after three seconds and asks for the MPD seventy times a second.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use crate::common::{Daemon, Nginx, Tracker};
use crate::growing::{REAL_TIME, WAYS, have_shared, places};
use crate::media::{self, OPEN, manifest};
use crate::programs::{PICTURES, Pace, Played, Playing, Program, until_over};
use crate::{settings, start};

const FORMAT: &str = "live-list";
/// So much of it is watched, in seconds.
const WATCHED: u32 = 12;

/// What was complained of, but that ffmpeg has read a segment of the list again: when it loads the MPD anew it now and then
/// does, directly as well.
fn complaints(of: &Played) -> BTreeSet<String> {
    of.complaints.iter().filter(|what| !what.contains("out of order")).cloned().collect()
}

#[test]
fn a_live_list_is_shared() {
    let _one = REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let origin = Nginx::serve(dir.path(), OPEN);
    let tracker = Tracker::start();
    let _writer = media::growing(dir.path(), FORMAT, 90);
    let url = origin.url(manifest(FORMAT));
    let daemons: [Daemon; 3] = std::array::from_fn(|_| {
        let settings = settings(&origin, &[("stream", manifest(FORMAT).to_owned())], &[]);
        start(&["--tracker", &tracker.url()], &settings)
    });
    let play = |url: &str, proxy: Option<&str>| Program::Ffmpeg.start(url, proxy, Pace::Seconds(WATCHED));
    let directly = play(&url, None);
    let ours = WAYS.into_iter().zip(&daemons).map(|(way, daemon)| match way {
        "prefix" => play(&daemon.prefix(&url), None),
        "channel" => play(&format!("http://{}/stream/{}", daemon.address, manifest(FORMAT)), None),
        _ => play(&url, Some(&format!("http://{}", daemon.address))),
    });
    let mut all: Vec<_> = ours.chain([directly]).collect();
    until_over(all.iter_mut());
    let mut all: Vec<_> = all.into_iter().map(Playing::end).collect();
    let directly = all.pop().unwrap();
    for (way, ours) in WAYS.into_iter().zip(&all) {
        let what = format!("{way}:\n{}--- directly:\n{}", ours.log, directly.log);
        let frames = [ours, &directly].map(|played| places(played).map(|places| places.len()));
        println!("{FORMAT}, {way}: {frames:?} frames");
        assert_eq!(frames, [Some((PICTURES * WATCHED) as usize); 2], "{what}");
        assert!(complaints(ours).is_subset(&complaints(&directly)), "{what}");
    }
    have_shared(FORMAT, &daemons);
}
