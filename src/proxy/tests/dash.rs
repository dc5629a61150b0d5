//! DASH as a player and an origin see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::Daemon;
use super::origin::{Origin, Seen, answer};

const MIME: (&str, &str) = ("content-type", "application/dash+xml");

/// A live MPD whose presentation began `ago`, with segments of two seconds from number 1 on.
fn live(ago: Duration) -> String {
    live_with(ago, "<SegmentTemplate duration=\"2\" media=\"$RepresentationID$/$Number$.m4s\"/>")
}

fn live_with(ago: Duration, template: &str) -> String {
    let start = SystemTime::now() - ago;
    let milliseconds = start.duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_millis();
    let start = httpdate::fmt_http_date(start);
    // `Sat, 21 Nov 2026 08:00:00 GMT` says the same in other words.
    let word = |n: usize| start.split(' ').nth(n).unwrap().to_owned();
    let month = 1 + "JanFebMarAprMayJunJulAugSepOctNovDec".find(&word(2)).unwrap() / 3;
    format!(
        "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"dynamic\" \
         availabilityStartTime=\"{}-{month:02}-{}T{}.{milliseconds:03}Z\" minimumUpdatePeriod=\"PT2S\" maxSegmentDuration=\"PT2S\">\
         <Period start=\"PT0S\"><AdaptationSet>{template}\
         <Representation id=\"v\" bandwidth=\"1000\"/></AdaptationSet></Period></MPD>",
        word(3),
        word(1),
        word(4)
    )
}

fn number(seen: &Seen) -> Option<u64> {
    seen.target.strip_prefix("/live/v/")?.strip_suffix(".m4s")?.parse().ok()
}

#[tokio::test]
async fn an_mpd_leads_the_player_back_to_us() {
    let origin = Origin::start(|_| answer(200, &[MIME], live(Duration::from_secs(60)))).await;
    let daemon = Daemon::start().await;
    let reply = daemon.get(&origin.prefix("/live/s.mpd")).await;
    let base = format!("<BaseURL>http://{}{}</BaseURL><Period", daemon.address, origin.prefix("/live/"));
    assert!(reply.text().contains(&base), "{}", reply.text());
    assert!(reply.text().contains(" suggestedPresentationDelay=\"PT6S\""), "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some(MIME.1));
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
    // A forward proxy changes nothing.
    let forward = daemon.client().await.ask("GET", &origin.url("/live/s.mpd"), "").await;
    assert!(
        !forward.text().contains("BaseURL") && !forward.text().contains("suggested"),
        "{}",
        forward.text()
    );
}

/// Behind a proxy that speaks TLS, and where a page asks, which knows by itself what it has us by.
#[tokio::test]
async fn an_mpd_leads_back_to_whoever_the_player_speaks_to() {
    let mpd = "<MPD><BaseURL>http://other.example/</BaseURL><Period/>\
        <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"http://t.example/\"/></MPD>";
    let origin = Origin::start(move |_| answer(200, &[MIME], mpd)).await;
    let channel = origin.url("/s.mpd");
    let daemon = Daemon::with(|config| {
        config.options.allowed_origins = vec!["https://player.example".into()];
        config.channels = vec![("news", channel)];
    })
    .await;
    for (fields, begins) in [
        ("", format!("http://{}/", daemon.address)),
        ("X-Forwarded-Proto: https\r\n", format!("https://{}/", daemon.address)),
        ("Origin: https://player.example\r\n", "/".to_owned()),
    ] {
        let reply = daemon.client().await.ask("GET", "/news/index.mpd", fields).await;
        let base = reply.text().split("BaseURL>").nth(1).unwrap_or_default().to_owned();
        let leads = base.starts_with(&begins) && base.ends_with("/http://other.example/</");
        assert!(leads, "{fields}: {}", reply.text());
        // A script looks for it at the page's host.
        let clock = reply.text().split("value=\"").nth(1).unwrap_or_default().to_owned();
        let begins = if begins == "/" { format!("http://{}/", daemon.address) } else { begins };
        assert!(clock.starts_with(&begins) && clock.contains("/http://t.example/\""), "{fields}: {clock}");
    }
}

#[tokio::test]
async fn the_next_segment_is_waited_for_and_later_ones_are_refused_here() {
    let began = Instant::now();
    // Six segments are there, and one more every two seconds, a little before its time.
    let there = move || 6 + ((began.elapsed().as_secs_f64() + 0.1) / 2.0) as u64;
    let origin = Origin::start(move |seen| match number(seen) {
        None => answer(200, &[MIME], live(Duration::from_secs(12) + began.elapsed())),
        Some(number) if number <= there() => answer(200, &[("content-type", "video/mp4")], "media"),
        Some(_) => answer(404, &[], "not yet"),
    })
    .await;
    let daemon = Daemon::start().await;
    daemon.get(&origin.prefix("/live/s.mpd")).await;
    let ask = async |number: u64| daemon.get(&origin.prefix(&format!("/live/v/{number}.m4s"))).await.status;
    assert_eq!(ask(5).await, 200);
    // The first request for what should not be there is passed on, since a clock may be wrong.
    assert_eq!(ask(50).await, 404);
    let before = origin.seen().len();
    for number in 100..200 {
        assert_eq!(ask(number).await, 404);
    }
    assert_eq!(origin.seen().len(), before, "none of them reached the origin");
    let next = there() + 1;
    assert_eq!(ask(next).await, 200, "waited for");
    assert!(origin.seen().len() <= before + 2);
}

/// An encoder that is held up, or whose clock is behind: ffmpeg and mpv leave out what they are refused once.
#[tokio::test]
async fn a_segment_that_is_due_and_late_is_waited_for() {
    let (began, late) = (Instant::now(), Duration::from_millis(900));
    let is_there = move |number| number <= 6 || number == 7 && began.elapsed() >= late;
    let origin = Origin::start(move |seen| match number(seen) {
        // The seventh should be there since a tenth of a second.
        None => {
            let template = "<SegmentTemplate timescale=\"1\" media=\"$RepresentationID$/$Number$.m4s\">\
                <SegmentTimeline><S t=\"0\" d=\"2\" r=\"5\"/></SegmentTimeline></SegmentTemplate>";
            answer(200, &[MIME], live_with(Duration::from_millis(14_100), template))
        }
        Some(number) if is_there(number) => answer(200, &[("content-type", "video/mp4")], "media"),
        Some(_) => answer(404, &[], "not yet"),
    })
    .await;
    let daemon = Daemon::start().await;
    daemon.get(&origin.prefix("/live/s.mpd")).await;
    let ask = async |number: u64| daemon.get(&origin.prefix(&format!("/live/v/{number}.m4s"))).await;
    let asked = |of| origin.seen().iter().filter(|seen| number(seen) == Some(of)).count();
    let reply = ask(7).await;
    assert_eq!((reply.status, reply.text()), (200, "media"));
    assert!(began.elapsed() >= late && (2..=4).contains(&asked(7)), "{} times", asked(7));
    let reply = ask(8).await;
    assert_eq!((reply.status, reply.text()), (404, "not yet"), "it stays away");
    assert!(asked(8) <= 5, "{} times", asked(8));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found_out() {
    // By its MPD the presentation has just begun; in truth segments of a minute later are there.
    let origin = Origin::start(move |seen| match number(seen) {
        None => answer(200, &[MIME], live(Duration::ZERO)),
        Some(_) => answer(200, &[("content-type", "video/mp4")], "media"),
    })
    .await;
    let daemon = Daemon::start().await;
    daemon.get(&origin.prefix("/live/s.mpd")).await;
    for number in [30, 31, 32, 33] {
        let reply = daemon.get(&origin.prefix(&format!("/live/v/{number}.m4s"))).await;
        assert_eq!((reply.status, reply.text()), (200, "media"), "{number}");
    }
}

#[tokio::test]
async fn what_an_mpd_that_is_not_loaded_again_no_longer_names_is_the_origins_to_say() {
    let began = Instant::now();
    // Four segments of half a second are there, and one more as often.
    let there = move || 4 + (began.elapsed().as_secs_f64() / 0.5) as u64;
    let origin = Origin::start(move |seen| match number(seen) {
        None => {
            let template = "<SegmentTemplate timescale=\"2\" media=\"$RepresentationID$/$Number$.m4s\">\
                <SegmentTimeline><S t=\"0\" d=\"1\" r=\"3\"/></SegmentTimeline></SegmentTemplate>";
            answer(200, &[MIME], live_with(Duration::from_secs(2), template))
        }
        Some(number) if number <= there() => answer(200, &[("content-type", "video/mp4")], "media"),
        Some(_) => answer(404, &[], "not yet"),
    })
    .await;
    let daemon = Daemon::start().await;
    daemon.get(&origin.prefix("/live/s.mpd")).await;
    let ask = async |number: u64| daemon.get(&origin.prefix(&format!("/live/v/{number}.m4s"))).await.status;
    assert_eq!(ask(4).await, 200);
    assert_eq!(ask(500).await, 404, "by the origin");
    while there() < 9 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for number in 5..=9 {
        assert_eq!(ask(number).await, 200, "{number}");
    }
    let before = origin.seen().len();
    for number in 100..200 {
        assert_eq!(ask(number).await, 404);
    }
    assert_eq!(origin.seen().len(), before, "what is far off is refused here");
}

#[tokio::test]
async fn a_segment_that_comes_early_may_fail_for_a_moment() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::start(move |seen| match number(seen) {
        None => answer(200, &[MIME], live(Duration::ZERO)),
        Some(_) if asked.fetch_add(1, Ordering::SeqCst) == 0 => answer(503, &[], "busy"),
        Some(_) => answer(200, &[("content-type", "video/mp4")], "media"),
    })
    .await;
    let daemon = Daemon::start().await;
    daemon.get(&origin.prefix("/live/s.mpd")).await;
    let reply = daemon.get(&origin.prefix("/live/v/30.m4s")).await;
    assert_eq!((reply.status, reply.text()), (200, "media"));
}

/// A segment index (ISO/IEC 14496-12 §8.16.3) of one subsegment, ten bytes long; [`INDEX`] is where it is.
fn index() -> Vec<u8> {
    let numbers = [0u32, 1, 1000, 0, 0, 1, 10, 4000, 0x9000_0000];
    let body: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    [&44u32.to_be_bytes()[..], b"sidx", &body].concat()
}
const INDEX: &str = "bytes=0-43";

#[tokio::test]
async fn an_index_that_could_not_be_read_is_read_again_and_one_that_is_not_there_is_not() {
    let files = ["busy", "gone", "none"];
    let representations = files.map(|name| {
        format!("<Representation id=\"{name}\"><BaseURL>{name}.mp4</BaseURL><SegmentBase indexRange=\"0-43\"/></Representation>")
    });
    let mpd = format!(
        "<MPD type=\"static\" mediaPresentationDuration=\"PT4S\"><Period><AdaptationSet>{}</AdaptationSet></Period></MPD>",
        representations.concat()
    );
    let reads = [const { AtomicUsize::new(0) }; 3];
    let origin = Origin::start(move |seen| {
        let Some(which) = files.iter().position(|name| seen.target == format!("/{name}.mp4")) else {
            return answer(200, &[MIME], mpd.clone());
        };
        if seen.header("range") != Some(INDEX) {
            return answer(206, &[("content-range", "bytes 44-53/54")], "0123456789");
        }
        match (which, reads[which].fetch_add(1, Ordering::SeqCst)) {
            (0, 0) => answer(503, &[], "busy"),
            (1, 0) => answer(404, &[], "gone"),
            (2, _) => answer(206, &[("content-range", "bytes 0-43/54")], vec![0u8; 44]),
            _ => answer(206, &[("content-range", "bytes 0-43/54")], index()),
        }
    })
    .await;
    let daemon = Daemon::start().await;
    daemon.get(&origin.prefix("/s.mpd")).await;
    let read = async || {
        for name in files {
            let target = origin.prefix(&format!("/{name}.mp4"));
            let reply = daemon.client().await.ask("GET", &target, "Range: bytes=44-53\r\n").await;
            assert_eq!((reply.status, reply.text()), (206, "0123456789"), "{name}");
        }
        files.map(|name| {
            let of =
                |seen: &&Seen| seen.target == format!("/{name}.mp4") && seen.header("range") == Some(INDEX);
            origin.seen().iter().filter(of).count()
        })
    };
    assert_eq!(read().await, [2, 1, 1], "what is over in a moment is waited for");
    assert_eq!(read().await, [2, 1, 1], "not with every request");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(read().await, [2, 2, 1]);
    assert_eq!(read().await, [2, 2, 1]);
}

#[tokio::test]
async fn a_hammered_mpd_is_slowed_down() {
    let origin = Origin::start(|_| answer(200, &[MIME], live(Duration::from_secs(60)))).await;
    let daemon = Daemon::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let hammer = async {
        let mut client = daemon.client().await;
        let mut answers = 0;
        while !stopped.load(Ordering::SeqCst) {
            assert_eq!(client.get(&origin.prefix("/live/s.mpd")).await.status, 200);
            answers += 1;
        }
        answers
    };
    let clock = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        stop.store(true, Ordering::SeqCst);
    };
    let (answers, ()) = tokio::join!(hammer, clock);
    assert!((2..=5).contains(&origin.seen().len()), "{} requests in 4 s", origin.seen().len());
    assert!(answers <= 24, "{answers} answers: held, not refused");
}

#[tokio::test]
async fn a_bomb_is_refused_in_a_sentence_and_what_is_merely_long_is_not() {
    let bomb = "<!DOCTYPE MPD [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><MPD><BaseURL>&b;</BaseURL></MPD>";
    let deep = format!("<MPD>{}", "<a>".repeat(100_000));
    let wide = format!("<MPD{}/>", (0..1000).fold(String::new(), |all, n| format!("{all} a{n}='1'")));
    // More than is listed, and less than is read.
    let long = format!(
        "<MPD type='static'><Period><AdaptationSet><Representation id='v'><SegmentTemplate media='$Time$.m4s'>\
         <SegmentTimeline>{}</SegmentTimeline></SegmentTemplate></Representation></AdaptationSet></Period></MPD>",
        "<S d='2'/><S d='3'/>".repeat(60_000)
    );
    let typed = "<!DOCTYPE MPD SYSTEM 'mpd.dtd'><MPD><Period/></MPD>";
    let files = [bomb.to_owned(), deep, wide, long, typed.to_owned()];
    let served = files.clone();
    let origin = Origin::start(move |seen| {
        let which: usize = seen.target[1..2].parse().unwrap();
        answer(200, &[MIME], served[which].clone())
    })
    .await;
    let daemon = Daemon::start().await;
    for (which, why) in [(0, "entities are declared"), (1, "more than 32"), (2, "more than 100")] {
        let reply = daemon.get(&origin.prefix(&format!("/{which}.mpd?secret=1"))).await;
        assert_eq!(reply.status, 502, "{}", reply.text());
        let text = reply.text();
        assert!(text.contains(why) && text.lines().count() == 1 && !text.contains("secret"), "{text}");
        // There nothing is read into it.
        let forward = daemon.get(&origin.url(&format!("/{which}.mpd"))).await;
        assert_eq!((forward.status, forward.text()), (200, files[which].as_str()));
    }
    let reply = daemon.get(&origin.prefix("/3.mpd")).await;
    let base = format!("<BaseURL>http://{}{}</BaseURL>", daemon.address, origin.prefix("/"));
    assert_eq!((reply.status, reply.text().contains(&base)), (200, true), "{:.200}", reply.text());
    let reply = daemon.get(&origin.prefix("/4.mpd")).await;
    assert_eq!((reply.status, reply.text()), (200, typed), "what a player makes of it is its own affair");
}
