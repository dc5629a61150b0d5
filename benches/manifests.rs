//! What a very long playlist costs: `cargo bench --bench manifests`. Prints figures; fails where time is not linear in
//! the number of segments, where a player waits too long for it, or where it takes too much memory.

// The allocator that counts is handed what the system's is handed, and hands it on.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use paceline::manifest::dash::{self, Presentation, Wall};
use paceline::manifest::identity::Rules;
use paceline::manifest::rewrite::{self, Use};
use paceline::manifest::{Limits, hls};
use paceline::model::address::Address;
use url::Url;

/// Segments of the long playlist, as many as are shared; the short one has a tenth.
const SEGMENTS: usize = 100_000;
/// Runs of each; the median counts.
const RUNS: usize = 15;
/// How much longer ten times as many segments may take.
const LINEAR: f64 = 25.0;

/// What a player waits for until it has the long playlist: it is parsed and rewritten.
const WAITED: Duration = Duration::from_millis(100);
/// What any work may take of memory on top of the long manifest itself.
const PEAK: usize = 48 << 20;

/// Counts the bytes that are in use, and the most that were.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system allocator does the work, with the very arguments that came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let now = IN_USE.fetch_add(size, Ordering::Relaxed) + size;
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as of the caller.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Something that is measured.
struct Work<'a> {
    name: &'a str,
    /// A manifest of so many segments.
    manifest: fn(usize) -> String,
    /// What is done with it; gives how many segments or URIs it saw, where it sees each.
    run: &'a dyn Fn(&[u8]) -> Option<usize>,
}

/// What it cost.
struct Cost {
    time: Duration,
    /// What it takes when nothing else is going on: the shortest of all runs.
    least: Duration,
    /// Bytes in use at its height.
    peak: usize,
}

fn main() {
    let base = Url::parse("https://cdn.example/vod/720p/index.m3u8?token=0123456789abcdef").unwrap();
    let rules = Rules::default();
    let limits = Limits::default();
    let parse = |text: &[u8]| match hls::parse(&base, text, &limits, &rules) {
        Ok(hls::Playlist::Media(media)) => Some(black_box(&media).listing.places.len()),
        other => panic!("not a media playlist: {other:?}"),
    };
    let rewrite = |text: &[u8]| {
        let mut count = 0;
        let mut map = |url: &Address, usage: Use| {
            count += usize::from(usage == Use::Segment);
            Some(format!("/{url}"))
        };
        black_box(rewrite::hls(&base, text, &mut map)).unwrap();
        Some(count)
    };
    let read = |text: &[u8]| dash::parse(&base, text, &limits, &rules).unwrap();
    let parse_mpd = |text: &[u8]| {
        assert_eq!(black_box(read(text)).representations().len(), 1);
        None
    };
    let rewrite_mpd = |text: &[u8]| {
        let mut map = |url: &Url, _| Some(format!("/{url}"));
        black_box(dash::rewrite::mpd(&base, text, None, &mut map)).unwrap();
        None
    };
    // Read once: a player's request finds what its last MPD said.
    let kept: RefCell<Option<(usize, Presentation)>> = RefCell::new(None);
    let list_mpd = |text: &[u8]| {
        let mut kept = kept.borrow_mut();
        if kept.as_ref().is_none_or(|(length, _)| *length != text.len()) {
            *kept = Some((text.len(), read(text)));
        }
        let listing = kept.as_ref()?.1.listing(0, 0, Wall(0), &rules);
        Some(black_box(listing)?.places.len())
    };
    let works = [
        Work { name: "HLS, plain: parse", manifest: plain, run: &parse },
        Work { name: "HLS, plain: rewrite", manifest: plain, run: &rewrite },
        Work { name: "HLS, rich: parse", manifest: rich, run: &parse },
        Work { name: "HLS, rich: rewrite", manifest: rich, run: &rewrite },
        Work { name: "DASH, times: parse", manifest: times, run: &parse_mpd },
        Work { name: "DASH, times: rewrite", manifest: times, run: &rewrite_mpd },
        Work { name: "DASH, times: list", manifest: times, run: &list_mpd },
        Work { name: "DASH, files: parse", manifest: files, run: &parse_mpd },
        Work { name: "DASH, files: rewrite", manifest: files, run: &rewrite_mpd },
        Work { name: "DASH, files: list", manifest: files, run: &list_mpd },
    ];
    println!("{SEGMENTS} segments, median of {RUNS}; memory on top of the manifest itself\n");
    println!("{:<22}{:>8}{:>8}{:>10}{:>10}{:>16}", "", "MiB", "ms", "least", "peak MiB", "ms for a tenth");
    let mut waited: BTreeMap<&str, Duration> = BTreeMap::new();
    for work in &works {
        let (long, short) = ((work.manifest)(SEGMENTS), (work.manifest)(SEGMENTS / 10));
        let (cost, tenth) = (measure(work, &long, SEGMENTS), measure(work, &short, SEGMENTS / 10));
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "{:<22}{:>8.1}{:>8.1}{:>10.1}{:>10.1}{:>16.1}",
            work.name,
            mib(long.len()),
            ms(cost.time),
            ms(cost.least),
            mib(cost.peak),
            ms(tenth.time)
        );
        let factor = ms(cost.least) / ms(tenth.least);
        assert!(factor < LINEAR, "{}: ten times the segments take {factor:.1} times as long", work.name);
        let peak = mib(cost.peak);
        assert!(cost.peak <= PEAK, "{}: {peak:.1} MiB, {} may be taken", work.name, mib(PEAK));
        // What is listed is listed when the first segment is asked for.
        if let Some((format, "parse" | "rewrite")) = work.name.split_once(": ") {
            *waited.entry(format).or_default() += cost.least;
        }
    }
    println!();
    for (format, waited) in waited {
        println!("{format}: parse and rewrite {:.1} ms", waited.as_secs_f64() * 1000.0);
        assert!(waited < WAITED, "{format}: {WAITED:?} may be taken");
    }
}

fn measure(work: &Work<'_>, manifest: &str, segments: usize) -> Cost {
    let before = IN_USE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let began = Instant::now();
        let seen = (work.run)(manifest.as_bytes());
        times.push(began.elapsed());
        assert_eq!(seen.unwrap_or(segments), segments, "{}", work.name);
    }
    times.sort_unstable();
    Cost { time: times[RUNS / 2], least: times[0], peak: MOST.load(Ordering::Relaxed) - before }
}

/// As short as it gets: relative names.
fn plain(segments: usize) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n");
    for n in 0..segments {
        write!(text, "#EXTINF:4.004,\nseg{n:06}.ts\n").unwrap();
    }
    text + "#EXT-X-ENDLIST\n"
}

/// As long as it gets in practice: dates, titles, tokens, a new key for every hundredth segment.
fn rich(segments: usize) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"init.mp4\"\n");
    for n in 0..segments {
        if n % 100 == 0 {
            writeln!(text, "#EXT-X-KEY:METHOD=AES-128,URI=\"keys/{n}.bin\",IV=0x{n:032x}").unwrap();
        }
        let (hour, minute, second) = (n * 4 / 3600 % 24, n * 4 / 60 % 60, n * 4 % 60);
        writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T{hour:02}:{minute:02}:{second:02}.000Z").unwrap();
        writeln!(text, "#EXTINF:4.004,Part {n} of it").unwrap();
        writeln!(
            text,
            "https://edge.example/vod/720p/{n:06}/media.m4s?token=0123456789abcdef0123456789abcdef"
        )
        .unwrap();
    }
    text + "#EXT-X-ENDLIST\n"
}

/// A SegmentTimeline in which no two neighbours are alike.
fn times(segments: usize) -> String {
    let spelled: String =
        (0..segments).map(|n| format!("<S d=\"{}\"/>\n", if n % 2 == 0 { 95_232 } else { 96_256 })).collect();
    mpd(&format!(
        "<SegmentTemplate media=\"$RepresentationID$/$Time$.m4s\" timescale=\"48000\"><SegmentTimeline>\n{spelled}</SegmentTimeline></SegmentTemplate>"
    ))
}

/// A SegmentList of as many files.
fn files(segments: usize) -> String {
    let files: String =
        (0..segments).map(|n| format!("<SegmentURL media=\"720p/{n:06}/media.m4s\"/>\n")).collect();
    mpd(&format!("<SegmentList duration=\"4\">\n{files}</SegmentList>"))
}

fn mpd(inside: &str) -> String {
    format!(
        "<MPD type=\"static\" mediaPresentationDuration=\"PT400000S\"><Period><AdaptationSet><Representation id=\"v\" bandwidth=\"800000\">{inside}</Representation></AdaptationSet></Period></MPD>\n"
    )
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
