//! The Representations of a DASH manifest as one viewer sees them now, by the clock of this computer.
//!
//! Where there are several Periods, the one that holds most is looked at: what is before, between and after it is
//! mostly advertisement, and every Period names its segments in the same way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::viewer::{Got, Viewer};
use crate::manifest::Limits;
use crate::manifest::dash::sidx::subsegments;
use crate::manifest::dash::{Presentation, Wall, parse};
use crate::manifest::identity::Rules;
use crate::manifest::remarks::Encryption;
use crate::model::timeline::Listing;
use crate::model::units::BitsPerSecond;
use crate::viewer::player::told;

/// What was seen of one Representation.
#[derive(Debug)]
pub struct Seen {
    /// Its segments: of a live one, those of the window.
    pub listing: Listing,
    /// Its rate, where the manifest says.
    pub bit_rate: Option<BitsPerSecond>,
    /// How it is encrypted.
    pub encryption: Vec<Encryption>,
}

/// What the manifest `got` lists, at most `most` Representations, with how many there are; and what could not be seen.
///
/// # Errors
/// One sentence, when it can't be read.
pub async fn seen(
    viewer: &Viewer,
    got: &Got,
    most: usize,
    rules: &Rules,
) -> Result<(Vec<Seen>, usize, Vec<String>), String> {
    let read = parse(&got.url, &got.bytes, &Limits::default(), rules);
    let read = read.map_err(|error| format!("{}: {error}", told(&got.url)))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Wall(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
    let chosen = chosen(&read, now, rules);
    let mut unseen = Vec::new();
    if chosen.is_empty() {
        let why = "is a DASH manifest without segments that could be shared, as far as it is understood";
        unseen.push(format!("{} {why}", told(&got.url)));
    }
    if chosen.len() > most {
        unseen.push(format!("{} of {} renditions were left out", chosen.len() - most, chosen.len()));
    }
    let mut seen = Vec::new();
    for &index in chosen.iter().take(most) {
        let of = &read.representations()[index];
        let listing = match read.listing(index, 0, now, rules) {
            Some(listing) => Ok(window(listing, read.window())),
            None => indexed(viewer, got, &read, index, rules).await,
        };
        match listing {
            Ok(listing) => {
                let bit_rate = Some(BitsPerSecond(of.bandwidth)).filter(|rate| rate.0 > 0);
                seen.push(Seen { listing, bit_rate, encryption: of.encryption.clone() });
            }
            Err(why) => unseen.push(why),
        }
    }
    Ok((seen, chosen.len(), unseen))
}

/// The Representations of the Period that holds most; of several, the last.
fn chosen(read: &Presentation, now: Wall, rules: &Rules) -> Vec<usize> {
    let held = |index| {
        let listing = read.listing(index, 0, now, rules)?;
        Some(listing.timeline.segments.iter().map(|segment| segment.duration).sum::<Duration>())
    };
    let all = read.representations();
    // A file whose index is not known holds all of its Period.
    let longest = (0..all.len()).max_by_key(|&index| held(index).unwrap_or(Duration::MAX));
    let period = longest.map(|index| all[index].period);
    (0..all.len()).filter(|&index| Some(all[index].period) == period).collect()
}

/// The newest segments, as many as the window is said to hold.
fn window(mut listing: Listing, depth: Option<Duration>) -> Listing {
    let Some(depth) = depth else { return listing };
    let mut held = Duration::ZERO;
    let segments = listing.timeline.segments.iter().rev();
    let kept = segments
        .take_while(|segment| {
            held += segment.duration;
            held <= depth
        })
        .count();
    let gone = listing.places.len() - kept;
    listing.places.drain(..gone);
    listing.timeline.segments = listing.timeline.segments[gone..].into();
    listing
}

/// The segments of a Representation that is one file, by its index.
async fn indexed(
    viewer: &Viewer,
    got: &Got,
    read: &Presentation,
    index: usize,
    rules: &Rules,
) -> Result<Listing, String> {
    let name = &read.representations()[index].name;
    let why = || format!("{}: {name}: the index of its file is not understood", told(&got.url));
    let (file, head) = read.file(index, 0).ok_or_else(why)?;
    let bytes = viewer.part(file, got.reach, head.clone()).await?;
    let found = subsegments(&bytes, head.start, Limits::default().segments).ok_or_else(why)?;
    read.indexed(index, 0, &found, rules).ok_or_else(why)
}
