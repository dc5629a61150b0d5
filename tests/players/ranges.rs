//! One file that is several segments: however its bytes are asked for, all of them hit the same memory.

use std::ops::Range;

use crate::common::{Daemon, Nginx, Reply, raw};
use crate::media::OPEN;
use crate::recordings;

/// Asks for a range as VLC would, which wants nothing from a cache.
fn ask(daemon: &Daemon, url: &str, range: &str) -> Reply {
    let range = if range.is_empty() { String::new() } else { format!("Range: bytes={range}\r\n") };
    let head = format!("Host: {}\r\nCache-Control: no-cache\r\nUser-Agent: test\r\n{range}", daemon.address);
    raw(daemon.address, &format!("GET /{url} HTTP/1.1\r\n{head}Connection: close\r\n\r\n")).unwrap()
}

/// Each of `orders` is asked of a daemon of its own; whatever comes first, the origin sends no media twice.
fn one_memory(manifest: &str, media: &str, segments: &[Range<usize>]) {
    let file = std::fs::read(recordings().join(media)).unwrap();
    let length = file.len();
    let exact = segments.iter().map(|range| format!("{}-{}", range.start, range.end - 1));
    let exact: Vec<String> = exact.collect();
    let merged = format!("{}-{}", segments[0].start, segments[segments.len() - 2].end - 1);
    let (middle, inside) = (format!("{}-", length / 2), format!("{}-{}", length / 3, length / 2));
    let single = [String::new(), "0-".to_owned(), merged, middle, inside];
    let orders = [
        single.iter().chain(&exact).cloned().collect::<Vec<_>>(),
        exact.iter().chain(&single).cloned().collect(),
        single.iter().rev().chain(exact.iter().rev()).cloned().collect(),
    ];
    for order in orders {
        let (origin, daemon) = (Nginx::serve(recordings(), OPEN), Daemon::start(&[], &[]));
        assert_eq!(daemon.get(&origin.url(manifest)).status, 200);
        let url = origin.url(media);
        for range in &order {
            let reply = ask(&daemon, &url, range);
            let (from, to) = range.split_once('-').unwrap_or(("0", ""));
            let from: usize = from.parse().unwrap();
            let to = to.parse::<usize>().map_or(length, |last| last + 1);
            let status = if range.is_empty() { 200 } else { 206 };
            assert_eq!(reply.status, status, "{media} {range}: {}", reply.text());
            assert!(
                reply.body == file[from..to],
                "{media} {range}: {} bytes of {}",
                reply.body.len(),
                to - from
            );
            let (told, part) = (reply.headers.get("content-range"), format!("bytes {from}-{}/", to - 1));
            let total = told.and_then(|told| told.strip_prefix(&part));
            // How long the file is an index tells with its answer; of a playlist's file it is asked once it matters.
            let whole = total == Some(&length.to_string()) || (total == Some("*") && media.ends_with(".ts"));
            assert!(status == 200 || whole, "{media} {range}: {told:?}");
        }
        let ending = media.rsplit('/').next().unwrap();
        let (requests, sent) = origin.sent(ending);
        println!("{media}: {requests} requests, {sent} of {length} bytes");
        // A byte more tells how long the file is. What is in front of the media is no part of it, and small.
        assert!(
            sent <= length as u64 + segments[0].start as u64 + 1,
            "{media}: {sent} bytes of {length} in {order:?}"
        );
    }
}

#[test]
fn a_playlist_of_byte_ranges() {
    let list = std::fs::read_to_string(recordings().join("range/index.m3u8")).unwrap();
    let tags = list.lines().filter_map(|line| line.strip_prefix("#EXT-X-BYTERANGE:")?.split_once('@'));
    let ranges = tags.map(|(length, from)| {
        let (length, from): (usize, usize) = (length.parse().unwrap(), from.parse().unwrap());
        from..from + length
    });
    one_memory("range/index.m3u8", "range/index.ts", &ranges.collect::<Vec<_>>());
}

#[test]
fn a_file_with_an_index() {
    // Where the fragments begin: `moof` after `moof` (ISO/IEC 14496-12, 8.8.4).
    let file = std::fs::read(recordings().join("base/video.mp4")).unwrap();
    let (mut at, mut begins) = (0, Vec::new());
    while at < file.len() {
        let size = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        if &file[at + 4..at + 8] == b"moof" {
            begins.push(at);
        }
        at += size;
    }
    let ends = begins.iter().skip(1).copied().chain([file.len()]);
    let ranges: Vec<_> = begins.iter().copied().zip(ends).map(|(from, to)| from..to).collect();
    one_memory("base/index.mpd", "base/video.mp4", &ranges);
}
