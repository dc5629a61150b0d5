//! Looks at a stream with two viewers at once, and puts down what they saw.
//!
//! Every rendition's facts come from its `Listing`, whatever manifest that was read from. What fails on the way is
//! noted and left out; only a stream of which nothing is to be seen is a failure.

use std::collections::BTreeMap;

use url::Url;

use super::compare::{compared, labels, proposed, spread};
use super::dash::{self, Seen};
use super::viewer::{Got, Viewer};
use crate::engine::origin::Reach;
use crate::manifest::fitness::{Facts, Rendition, Sample};
use crate::manifest::hls::{self, Content, Master, Media, Playlist};
use crate::manifest::identity::Rules;
use crate::manifest::remarks::{Remarks, remarks};
use crate::manifest::variables::Variables;
use crate::manifest::{Error, Format, Limits, is_manifest};
use crate::model::timeline::{Kind, Listing};
use crate::model::units::BitsPerSecond;
use crate::viewer::player::told;

/// The most renditions whose playlists are loaded.
const LISTED: usize = 20;
/// The most renditions whose segments are asked for.
const SAMPLED: usize = 3;
/// The segments of a rendition that are asked for.
const SEGMENTS: usize = 3;

/// What one viewer was told of a stream.
#[derive(Debug, Default)]
struct Stream {
    /// By their place in the manifest.
    renditions: BTreeMap<usize, Told>,
    /// How many the manifest lists.
    listed: usize,
    unseen: Vec<String>,
}

/// What one viewer was told of one rendition.
#[derive(Debug)]
struct Told {
    listing: Listing,
    /// How private its segments may be.
    reach: Reach,
    bit_rate: Option<BitsPerSecond>,
    remarks: Remarks,
    /// Its name, where its manifest is not its own.
    name: Option<String>,
}

impl Told {
    fn new(got: &Got, media: Media) -> Self {
        let remarks = remarks(&got.url, &got.bytes);
        Self { listing: media.listing, reach: got.reach, bit_rate: None, remarks, name: None }
    }
}

/// Looks at what is behind `url`, with names as `rules` have them.
///
/// # Errors
/// One sentence, when it is no manifest or can't be loaded.
pub async fn look(viewers: &[Viewer; 2], url: &Url, rules: &Rules) -> Result<Facts, String> {
    let (ours, theirs) = tokio::join!(stream(&viewers[0], url, rules), stream(&viewers[1], url, rules));
    let ours = ours?;
    let mut unseen = ours.unseen;
    let theirs = theirs.unwrap_or_else(|why| {
        unseen.push(format!("a second viewer saw nothing: {why}"));
        Stream::default()
    });
    let pairs: Vec<(&Told, Option<&Told>)> =
        ours.renditions.iter().map(|(index, one)| (one, theirs.renditions.get(index))).collect();
    let names = labels(&pairs.iter().map(|(one, _)| &one.listing.manifest).collect::<Vec<_>>());
    let chosen = spread(pairs.len(), SAMPLED);
    let mut renditions = Vec::new();
    for (index, ((one, other), name)) in pairs.iter().zip(names).enumerate() {
        let mut seen = Vec::new();
        if chosen.contains(&index) {
            seen = samples(viewers, one, *other, &mut unseen).await;
        }
        let name = one.name.clone().unwrap_or(name);
        renditions.push(rendition(one, *other, name, seen, rules));
    }
    let listings = pairs.iter().filter_map(|(one, other)| Some((&one.listing, &other.as_ref()?.listing)));
    let proposed = proposed(&listings.collect::<Vec<_>>(), rules);
    Ok(Facts { renditions, listed: ours.listed, proposed, unseen })
}

/// What one viewer is told.
async fn stream(viewer: &Viewer, url: &Url, rules: &Rules) -> Result<Stream, String> {
    let limits = Limits::default();
    let got = viewer.get(url, Reach::Loopback, limits.bytes).await?;
    let refused = |error: Error| format!("{}: {error}", told(&got.url));
    if is_manifest(got.content_type.as_deref(), &got.url, &got.bytes) == Some(Format::Dash) {
        return dash(viewer, &got, rules).await;
    }
    match hls::parse(&got.url, &got.bytes, &limits, rules).map_err(refused)? {
        Playlist::Media(media) => {
            let only = BTreeMap::from([(0, Told::new(&got, media))]);
            Ok(Stream { renditions: only, listed: 1, unseen: Vec::new() })
        }
        Playlist::Master(master) => Ok(renditions(viewer, master, got.reach, rules).await),
    }
}

/// The Representations of a DASH manifest.
async fn dash(viewer: &Viewer, got: &Got, rules: &Rules) -> Result<Stream, String> {
    let (seen, listed, unseen) = dash::seen(viewer, got, LISTED, rules).await?;
    let renditions = seen.into_iter().map(|Seen { listing, bit_rate, encryption }| {
        let name = Some(listing.rendition.clone());
        let remarks = Remarks { encryption, low_latency: false };
        Told { listing, reach: got.reach, bit_rate, remarks, name }
    });
    Ok(Stream { renditions: renditions.enumerate().collect(), listed, unseen })
}

/// The renditions of a master playlist, but for those without sound or pictures. What it defines they may import.
async fn renditions(viewer: &Viewer, master: Master, reach: Reach, rules: &Rules) -> Stream {
    let variables = master.variables;
    let variants = master.variants.into_iter().map(|variant| (variant.url, Some(variant.bandwidth)));
    let others = master.renditions.into_iter();
    let others = others.filter(|it| matches!(it.content, Content::Audio | Content::Video));
    let mut all: Vec<(Url, Option<BitsPerSecond>)> = Vec::new();
    for (url, rate) in variants.chain(others.map(|it| (it.url, None))) {
        // One playlist may be named several times, with other sound each time.
        if all.iter().all(|(known, _)| *known != url) {
            all.push((url, rate.filter(|rate| rate.0 > 0)));
        }
    }
    let mut stream = Stream { listed: all.len(), ..Stream::default() };
    if all.is_empty() {
        stream.unseen.push("the master playlist lists nothing to play".to_owned());
    }
    if all.len() > LISTED {
        stream.unseen.push(format!("{} of {} renditions were left out", all.len() - LISTED, all.len()));
    }
    for (index, (url, bit_rate)) in all.into_iter().take(LISTED).enumerate() {
        match media(viewer, &url, reach, rules, &variables).await {
            Ok(told) => drop(stream.renditions.insert(index, Told { bit_rate, ..told })),
            Err(why) => stream.unseen.push(why),
        }
    }
    stream
}

async fn media(
    viewer: &Viewer,
    url: &Url,
    reach: Reach,
    rules: &Rules,
    imported: &Variables,
) -> Result<Told, String> {
    let limits = Limits::default();
    let got = viewer.get(url, reach, limits.bytes).await?;
    let read = hls::parse_importing(&got.url, &got.bytes, &limits, rules, imported);
    match read.map_err(|error| format!("{}: {error}", told(url)))? {
        Playlist::Media(media) => Ok(Told::new(&got, media)),
        Playlist::Master(_) => Err(format!("{} is a master playlist inside a master playlist", told(url))),
    }
}

fn rendition(
    one: &Told,
    other: Option<&Told>,
    name: String,
    samples: Vec<Sample>,
    rules: &Rules,
) -> Rendition {
    let timeline = &one.listing.timeline;
    Rendition {
        name,
        kind: timeline.kind,
        bit_rate: one.bit_rate,
        durations: timeline.segments.iter().map(|segment| segment.duration).collect(),
        names: other.and_then(|other| compared(&one.listing, &other.listing, rules)),
        samples,
        encryption: one.remarks.encryption.clone(),
        low_latency: one.remarks.low_latency,
    }
}

/// Asks for some segments: all for a byte, the last of them as a whole and by both viewers.
async fn samples(
    viewers: &[Viewer; 2],
    one: &Told,
    other: Option<&Told>,
    unseen: &mut Vec<String>,
) -> Vec<Sample> {
    let [first, second] = viewers;
    let Listing { timeline, places, .. } = &one.listing;
    let chosen = match timeline.kind {
        Kind::Vod => spread(places.len(), SEGMENTS),
        // The newest: the oldest may leave the window meanwhile.
        Kind::Live | Kind::Event => (places.len().saturating_sub(SEGMENTS)..places.len()).collect(),
    };
    let mut seen = Vec::new();
    for &index in &chosen {
        match first.probe(&places[index], one.reach).await {
            Ok(probe) => {
                seen.push(Sample { bytes: probe.bytes, ranges: Some(probe.ranges), ..Sample::default() });
            }
            Err(why) => unseen.push(why),
        }
    }
    // Both were listed this one.
    let shared = chosen.iter().rev().find_map(|&index| {
        let (other, sequence) = (other?, timeline.segments[index].sequence);
        let at = other.listing.timeline.segments.iter().position(|it| it.sequence == sequence)?;
        Some((index, Some((&other.listing.places[at], other.reach))))
    });
    let Some((index, theirs)) = shared.or_else(|| Some((*chosen.last()?, None))) else { return seen };
    let load = async {
        match theirs {
            Some((place, reach)) => Some(second.load(place, reach).await),
            None => None,
        }
    };
    match tokio::join!(first.load(&places[index], one.reach), load) {
        (Ok(whole), theirs) => {
            let same = match theirs {
                Some(Ok(theirs)) => Some((theirs.bytes, theirs.hash) == (whole.bytes, whole.hash)),
                Some(Err(why)) => {
                    unseen.push(format!("a second viewer could not load {why}"));
                    None
                }
                None => None,
            };
            let bytes = places[index].range.is_none().then_some(whole.bytes);
            seen.push(Sample { bytes, ranges: None, same, private: Some(whole.private) });
        }
        (Err(why), _) => unseen.push(why),
    }
    seen
}
