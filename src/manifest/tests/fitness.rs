use std::time::Duration;

use proptest::prelude::*;

use crate::manifest::fitness::{Facts, Names, Rendition, Report, Sample, Severity, judge};
use crate::manifest::identity::Options;
use crate::manifest::remarks::Encryption;
use crate::model::timeline::Kind;
use crate::model::units::BitsPerSecond;

fn sample() -> Sample {
    Sample { bytes: Some(500_000), ranges: Some(true), same: Some(true), private: Some(false) }
}

/// A stream as it should be.
fn rendition() -> Rendition {
    Rendition {
        name: "720p.m3u8".to_owned(),
        kind: Kind::Live,
        bit_rate: Some(BitsPerSecond(1_000_000)),
        durations: vec![Duration::from_secs(4); 15],
        names: Some(Names::Same),
        samples: vec![sample()],
        encryption: Vec::new(),
        low_latency: false,
    }
}

fn judged(change: impl FnOnce(&mut Rendition)) -> Report {
    let mut one = rendition();
    change(&mut one);
    judge(&Facts { renditions: vec![one], listed: 1, ..Facts::default() })
}

fn worst(report: &Report) -> Severity {
    report.findings.iter().map(|finding| finding.severity).max().unwrap()
}

fn sampled(change: impl FnOnce(&mut Sample)) -> Report {
    judged(|it| change(&mut it.samples[0]))
}

#[test]
fn a_stream_as_it_should_be_is_fit() {
    let report = judged(|_| {});
    assert!(report.fit);
    assert_eq!(worst(&report), Severity::Good);
    let said: Vec<&str> = report.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        said,
        [
            "window 60 s, 15 segments of 4.0 s",
            "segments play 4.0 s",
            "segments of up to 0.50 MB",
            "two viewers see the same URLs, queries aside",
            "two viewers got the same bytes for the same segment",
            "the origin answers Range requests",
            "not encrypted",
            "one rendition, 1.0 Mbit/s",
        ]
    );
    assert!(judged(|it| it.kind = Kind::Vod).findings[0].what.starts_with("complete recording of 60 s"));
    assert_eq!(
        worst(&judged(|it| (it.kind, it.durations) = (Kind::Event, vec![Duration::from_secs(4); 900]))),
        Severity::Good
    );
}

#[test]
fn every_flaw_has_its_finding() {
    let (advice, blocker) = (Severity::Advice, Severity::Blocker);
    let seconds = |count: usize, seconds: u64| vec![Duration::from_secs(seconds); count];
    let keys = |at: &str| vec![Encryption { method: "AES-128".into(), keys: Some(at.into()) }];
    for (report, severity, what, change) in [
        (judged(|it| it.durations = seconds(6, 4)), advice, "window 24 s, 6 segments of 4.0 s", "8 segments"),
        (judged(|it| it.durations = seconds(1, 4)), blocker, "1 segment of", "30 s"),
        (judged(|it| it.durations.clear()), blocker, "no segment", "http"),
        (judged(|it| it.durations = seconds(40, 4)), advice, "40 segments", "10 to 20"),
        (judged(|it| it.durations = seconds(40, 1)), advice, "segments play 1.0 s", "about 4 s"),
        (judged(|it| it.durations = seconds(10, 10)), advice, "segments play 10.0 s", "about 4 s"),
        (sampled(|it| it.bytes = Some(1_600_000)), advice, "1.60 MB", "segments of 2.5 s"),
        (sampled(|it| it.bytes = Some(9_000_000)), advice, "9.00 MB", "lower bit rate"),
        (sampled(|it| it.bytes = Some((64 << 20) + 1)), blocker, "67.11 MB", "64 MiB"),
        (sampled(|it| it.bytes = Some(0)), blocker, "empty", "content"),
        (sampled(|it| it.ranges = Some(false)), advice, "Range", "206"),
        (sampled(|it| it.same = Some(false)), blocker, "different bytes", "watermark"),
        (sampled(|it| it.private = Some(true)), blocker, "forbids", "public"),
        (judged(|it| it.names = Some(Names::Different)), blocker, "URLs of its own", "one path"),
        (judged(|it| it.names = Some(Names::Renumbered)), blocker, "numbers", "number"),
        (judged(|it| it.names = Some(Names::Apart)), blocker, "no segment in common", "same segments"),
        (
            judged(|it| it.encryption = keys("http://k.example")),
            advice,
            "AES-128, keys at http://k.example",
            "https",
        ),
        (judged(|it| it.low_latency = true), advice, "low-latency", "whole segments"),
        (
            judge(&Facts { renditions: vec![rendition()], listed: 9, ..Facts::default() }),
            advice,
            "9 renditions",
            "fewer",
        ),
    ] {
        assert_eq!(worst(&report), severity, "{what}");
        assert_eq!(report.fit, severity != blocker, "{what}");
        let found = report.findings.iter().find(|finding| finding.what.contains(what));
        let found = found.unwrap_or_else(|| panic!("{what}: {report:?}"));
        assert_eq!(found.severity, severity, "{what}");
        assert!(found.advice.as_ref().is_some_and(|advice| advice.contains(change)), "{found:?}");
    }
    assert_eq!(worst(&judged(|it| it.encryption = keys("https://k.example"))), Severity::Good);
    assert_eq!(worst(&judged(|it| it.encryption = keys("skd:"))), Severity::Good);
}

#[test]
fn a_proposed_rule_is_spoken_of() {
    let facts = |rule| Facts {
        renditions: vec![Rendition { names: Some(Names::Different), ..rendition() }],
        listed: 1,
        proposed: Some((rule, "h/tok-*/l.m3u8".to_owned())),
        ..Facts::default()
    };
    let report = judge(&facts(Options { pattern: "x".into(), ..Options::default() }));
    assert!(report.findings.iter().any(|f| f.what.contains("path") && f.what.ends_with("h/tok-*/l.m3u8")));
    let report = judge(&facts(Options { hosts: vec!["x".into()], ..Options::default() }));
    assert!(report.findings.iter().any(|f| f.what.contains("the host")));
}

#[test]
fn what_is_found_of_some_renditions_names_them() {
    let short =
        Rendition { name: "360p.m3u8".into(), durations: vec![Duration::from_secs(4); 6], ..rendition() };
    let facts = Facts { renditions: vec![rendition(), short], listed: 2, ..Facts::default() };
    let said: Vec<String> = judge(&facts).findings.into_iter().map(|finding| finding.what).collect();
    assert_eq!(said[0], "window 60 s, 15 segments of 4.0 s (720p.m3u8)");
    assert_eq!(
        said[1],
        "window 24 s, 6 segments of 4.0 s: little time for a segment to reach a viewer through others (360p.m3u8)"
    );
    assert_eq!(said[2], "segments play 4.0 s");
}

#[test]
fn what_was_not_looked_at_is_not_called_fit() {
    let unseen = vec!["the manifest is DASH".to_owned()];
    let report = judge(&Facts { unseen: unseen.clone(), ..Facts::default() });
    assert!(!report.fit && worst(&report) == Severity::Advice);
    assert!(!judge(&Facts::default()).fit);
    assert!(!judged(|it| it.samples.clear()).fit, "no segment was seen");
    assert!(!judged(|it| it.names = None).fit, "there was no second viewer");
    assert!(judge(&Facts { renditions: vec![rendition()], unseen, ..Facts::default() }).fit);
}

proptest! {
    #[test]
    fn what_is_not_good_says_what_to_change(
        (count, millis, bytes) in (0usize..60, 0u64..20_000, any::<Option<u64>>()),
        (ranges, same, private) in (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>()),
        (listed, low_latency) in (0usize..20, any::<bool>()),
    ) {
        let rendition = Rendition {
            durations: vec![Duration::from_millis(millis); count],
            samples: vec![Sample { bytes, ranges, same, private }],
            low_latency,
            ..rendition()
        };
        let report = judge(&Facts { renditions: vec![rendition], listed, ..Facts::default() });
        for finding in &report.findings {
            prop_assert_eq!(finding.advice.is_none(), finding.severity == Severity::Good);
        }
        prop_assert_eq!(report.fit, worst(&report) < Severity::Blocker);
    }
}
