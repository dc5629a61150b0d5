//! Whether a stream is fit for peers: what was observed, judged against what makes sharing work.
//!
//! A finding is a *blocker* when viewers could share nothing, *advice* when they share less than they might, and good
//! otherwise. Every finding that is not good says what to change. Whoever looks reports only what was seen: what could
//! not be looked at is a finding too, and never counts in the stream's favour.

use std::collections::BTreeMap;
use std::time::Duration;

use super::identity;
use super::remarks::Encryption;
use crate::model::timeline::{Kind, PieceGrid};
use crate::model::units::BitsPerSecond;

/// The shortest live window that gives peers time: what a viewer has not played yet is all that can be shared.
const WINDOW: Duration = Duration::from_secs(30);
/// How many segments a live window should have.
const COUNT: std::ops::RangeInclusive<usize> = 10..=20;
/// How long segments should play, about 4 s: shorter ones cost more requests, longer ones leave fewer to take turns on.
const LENGTH: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(6);
/// The largest segment that passes quickly from one viewer to the next, in bytes.
const SIZE: u64 = 1_000_000;
/// More renditions than these split the viewers into small groups.
const RENDITIONS: usize = 8;

/// What was observed of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The renditions that were looked at.
    pub renditions: Vec<Rendition>,
    /// How many renditions the stream lists.
    pub listed: usize,
    /// A rule that would make two viewers' URLs the same, and what it makes of one of them.
    pub proposed: Option<(identity::Options, String)>,
    /// What could not be looked at, each as a sentence.
    pub unseen: Vec<String>,
}

/// What was observed of one rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// What people know it by.
    pub name: String,
    /// Whether and how it grows.
    pub kind: Kind,
    /// Its peak rate, where the stream says.
    pub bit_rate: Option<BitsPerSecond>,
    /// How long each segment plays that could be shared, in order.
    pub durations: Vec<Duration>,
    /// Whether two viewers call the same things the same; `None`: there was only one.
    pub names: Option<Names>,
    /// Segments that were asked for.
    pub samples: Vec<Sample>,
    /// How its segments are encrypted.
    pub encryption: Vec<Encryption>,
    /// Whether it lists parts of segments (low-latency HLS).
    pub low_latency: bool,
}

impl Rendition {
    /// What the playlist holds, in time.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.durations.iter().sum()
    }

    /// How long a segment plays, on average; zero when there is none.
    #[must_use]
    pub fn segment(&self) -> Duration {
        self.window() / self.durations.len().max(1) as u32
    }
}

/// What two viewers, each with cookies and connections of its own, call the same segments, after identity rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The same.
    Same,
    /// The playlist or its segments have other URLs for each viewer.
    Different,
    /// The same URLs, and other numbers (EXT-X-MEDIA-SEQUENCE).
    Renumbered,
    /// They were listed no segment in common.
    Apart,
}

/// What is known of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its length; `None`: the origin did not say.
    pub bytes: Option<u64>,
    /// Whether a request for one byte was answered with that byte (206).
    pub ranges: Option<bool>,
    /// Whether two viewers got the same bytes.
    pub same: Option<bool>,
    /// Whether the origin forbids sharing it (`Cache-Control: private`, `no-store`).
    pub private: Option<bool>,
}

/// How good or bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Peers help less than they could.
    Advice,
    /// Peers can't help.
    Blocker,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to change; `None` when nothing has to be.
    pub advice: Option<String>,
}

/// What is to be said of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was found, in the order in which it is to be read.
    pub findings: Vec<Finding>,
    /// Whether viewers can share it: enough was looked at, and nothing stands in the way.
    pub fit: bool,
}

/// What one thing about a rendition amounts to; `None`: nothing is known of it.
type Aspect<'a> = dyn Fn(&Rendition) -> Option<Finding> + 'a;

/// Judges what was observed. Same facts, same report.
#[must_use]
pub fn judge(facts: &Facts) -> Report {
    let aspects: [&Aspect<'_>; 8] =
        [&window, &length, &size, &|it| names(it, facts), &bytes, &ranges, &encryption, &latency];
    let mut findings: Vec<Finding> = aspects.iter().flat_map(|aspect| gathered(facts, aspect)).collect();
    findings.extend(offer(facts));
    findings.extend(facts.unseen.iter().map(|what| {
        advise(what.clone(), "check again when it can be looked at; nothing is known of this part")
    }));
    let blocked = findings.iter().any(|finding| finding.severity == Severity::Blocker);
    // One rendition that two viewers were listed, and of which a segment was seen, is the least to go by.
    let known = facts.renditions.iter().any(|it| it.names.is_some() && !it.samples.is_empty());
    Report { findings, fit: known && !blocked }
}

/// One aspect of all renditions; what is found of some only names them.
fn gathered(facts: &Facts, aspect: &Aspect<'_>) -> Vec<Finding> {
    let mut found: Vec<(Finding, Vec<&str>)> = Vec::new();
    for rendition in &facts.renditions {
        let Some(finding) = aspect(rendition) else { continue };
        match found.iter_mut().find(|(known, _)| *known == finding) {
            Some((_, of)) => of.push(&rendition.name),
            None => found.push((finding, vec![&rendition.name])),
        }
    }
    let several = found.len() > 1 || found.iter().any(|(_, of)| of.len() < facts.renditions.len());
    let named = |(mut finding, of): (Finding, Vec<&str>)| {
        if several {
            finding.what = format!("{} ({})", finding.what, of.join(", "));
        }
        finding
    };
    found.into_iter().map(named).collect()
}

fn good(what: impl Into<String>) -> Finding {
    Finding { severity: Severity::Good, what: what.into(), advice: None }
}

fn advise(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { severity: Severity::Advice, what: what.into(), advice: Some(advice.into()) }
}

fn block(what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { severity: Severity::Blocker, what: what.into(), advice: Some(advice.into()) }
}

fn window(it: &Rendition) -> Option<Finding> {
    let count = it.durations.len();
    let segments = if count == 1 { "segment" } else { "segments" };
    let holds = format!(
        "{:.0} s, {count} {segments} of {:.1} s",
        it.window().as_secs_f64(),
        it.segment().as_secs_f64()
    );
    let segment = it.segment().as_secs_f64().max(0.001);
    let enough = (WINDOW.as_secs_f64() / segment).ceil() as usize;
    Some(match it.kind {
        _ if count == 0 => block(
            "the playlist lists no segment that can be shared",
            "list whole segments with http or https URLs and durations",
        ),
        Kind::Vod => good(format!("complete recording of {holds}")),
        Kind::Event => good(format!("recording that grows, so far {holds}")),
        Kind::Live if count == 1 => block(
            format!("window {holds}: viewers never have a segment ahead that a peer could bring"),
            format!("keep at least 30 s in the playlist, {enough} segments of this length"),
        ),
        Kind::Live if it.window() < WINDOW => advise(
            format!("window {holds}: little time for a segment to reach a viewer through others"),
            format!("keep at least 30 s in the playlist, {enough} segments of this length"),
        ),
        Kind::Live if !COUNT.contains(&count) => advise(
            format!("window {holds}"),
            "list 10 to 20 segments: enough to take turns on, few enough to share at once",
        ),
        Kind::Live => good(format!("window {holds}")),
    })
}

fn length(it: &Rendition) -> Option<Finding> {
    let length = it.segment();
    let said = format!("segments play {:.1} s", length.as_secs_f64());
    match length {
        Duration::ZERO => None,
        short if short < *LENGTH.start() => Some(advise(
            said,
            "make them about 4 s long: each costs requests and messages, however short it is",
        )),
        long if long > *LENGTH.end() => Some(advise(
            said,
            "make them about 4 s long: the longer they are, the later the next viewer has one",
        )),
        _ => Some(good(said)),
    }
}

fn size(it: &Rendition) -> Option<Finding> {
    let largest = it.samples.iter().filter_map(|sample| sample.bytes).max()?;
    let said = format!("segments of up to {:.2} MB", largest as f64 / 1e6);
    Some(if largest > u64::from(PieceGrid::MAX_LENGTH) {
        block(said, "cut them shorter: segments of more than 64 MiB are not shared")
    } else if largest == 0 {
        block("segments are empty", "list segments that have content")
    } else if largest >= SIZE {
        let factor = largest as f64 / SIZE as f64;
        let shorter = it.segment().as_secs_f64() / factor;
        advise(
            said,
            if shorter >= LENGTH.start().as_secs_f64() {
                format!(
                    "keep them under 1 MB, as with segments of {shorter:.1} s: small ones pass from viewer to viewer sooner"
                )
            } else {
                "keep them under 1 MB, as with a lower bit rate: small ones pass from viewer to viewer sooner"
                    .to_owned()
            },
        )
    } else {
        good(said)
    })
}

fn names(it: &Rendition, facts: &Facts) -> Option<Finding> {
    Some(match (it.names?, &facts.proposed) {
        (Names::Same, _) => good("two viewers see the same URLs, queries aside"),
        (Names::Different, Some((rule, shown))) => {
            let part = if rule.hosts.is_empty() {
                "path, where this has a `*`"
            } else {
                "host, where this has one of several"
            };
            block(
                format!("each viewer gets URLs of its own, which differ in the {part}: {shown}"),
                "make the URLs stable (tokens go into the query or a cookie), or give every viewer the [[identity]] rule below",
            )
        }
        (Names::Different, None) => block(
            "each viewer gets URLs of its own, and no rule tells which are the same",
            "give a segment one path for all viewers; tokens go into the query or a cookie",
        ),
        (Names::Renumbered, _) => block(
            "two viewers see the same URLs under different media sequence numbers",
            "number segments the same for all viewers (EXT-X-MEDIA-SEQUENCE)",
        ),
        (Names::Apart, _) => block(
            "two viewers were listed no segment in common",
            "list the same segments to all viewers at the same time",
        ),
    })
}

/// What the origin sends, and whether others may have it.
fn bytes(it: &Rendition) -> Option<Finding> {
    let any =
        |of: fn(&Sample) -> Option<bool>, is: bool| it.samples.iter().any(|sample| of(sample) == Some(is));
    if any(|sample| sample.same, false) {
        return Some(block(
            "two viewers got different bytes for the same segment",
            "send all viewers the same bytes: no watermark, advertisement or encryption of a viewer's own",
        ));
    }
    if any(|sample| sample.private, true) {
        return Some(block(
            "the origin forbids sharing segments (Cache-Control: private or no-store)",
            "answer segments with `Cache-Control: public, max-age=…`",
        ));
    }
    any(|sample| sample.same, true).then(|| good("two viewers got the same bytes for the same segment"))
}

fn ranges(it: &Rendition) -> Option<Finding> {
    let answers: Vec<bool> = it.samples.iter().filter_map(|sample| sample.ranges).collect();
    Some(match answers.iter().all(|&yes| yes) {
        _ if answers.is_empty() => return None,
        true => good("the origin answers Range requests"),
        false => advise(
            "the origin does not answer Range requests",
            "let it answer them with 206: else whoever lacks one piece has to load the whole segment",
        ),
    })
}

fn encryption(it: &Rendition) -> Option<Finding> {
    if it.encryption.is_empty() {
        return Some(good("not encrypted"));
    }
    let mut methods: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in &it.encryption {
        methods.entry(&kind.method).or_default().extend(kind.keys.as_deref());
    }
    let said = methods.iter().map(|(method, keys)| match &keys[..] {
        [] => (*method).to_owned(),
        keys => format!("{method}, keys at {}", keys.join(", ")),
    });
    let said = format!("encrypted: {}; segments are shared as they are", said.collect::<Vec<_>>().join("; "));
    let open =
        it.encryption.iter().any(|kind| kind.keys.as_ref().is_some_and(|at| at.starts_with("http://")));
    Some(if open {
        advise(said, "serve keys over https: peers never pass them on, but anyone on the way can read them")
    } else {
        good(format!("{said}, keys and licences only ever come from there"))
    })
}

fn latency(it: &Rendition) -> Option<Finding> {
    it.low_latency.then(|| {
        advise(
            "low-latency parts are listed",
            "nothing to change if latency matters most: parts always come from the origin, only whole segments are shared",
        )
    })
}

/// How many renditions there are to choose from.
fn offer(facts: &Facts) -> Option<Finding> {
    let rates = || facts.renditions.iter().filter_map(|it| it.bit_rate).filter(|rate| rate.0 > 0);
    let mega = |rate: BitsPerSecond| rate.0 as f64 / 1e6;
    let rates = match (rates().min(), rates().max()) {
        (Some(low), Some(high)) if low == high => format!(", {:.1} Mbit/s", mega(low)),
        (Some(low), Some(high)) => format!(", {:.1} to {:.1} Mbit/s", mega(low), mega(high)),
        _ => String::new(),
    };
    let what = match facts.listed {
        0 => return None,
        1 => format!("one rendition{rates}"),
        count => format!("{count} renditions{rates}: viewers share with those of the same one"),
    };
    Some(if facts.listed > RENDITIONS {
        advise(what, "offer fewer: each splits the viewers further")
    } else {
        good(what)
    })
}
