//! MPDs as packagers write them, and as they should not.

use std::time::Duration;

use url::Url;

use super::{Found, Presentation, Wall, When, parse};
use crate::manifest::identity::Rules;
use crate::manifest::{Error, Limits};
use crate::model::timeline::{Choice, Listing};

mod choice;
mod live;
mod recorded;
mod refused;
mod rewrite;

const BASE: &str = "https://cdn.example/live/a/stream.mpd?token=x";

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn read_at(base: &str, text: &str) -> Result<Presentation, Error> {
    parse(&url(base), text.as_bytes(), &Limits::default(), &Rules::default())
}

#[track_caller]
fn read(text: &str) -> Presentation {
    read_at(BASE, text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// By the origin's clock, in seconds.
fn at(seconds: f64) -> Wall {
    Wall((seconds * 1e6).round() as i64)
}

/// One Period with one Representation, `v`.
fn mpd(attributes: &str, inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" {attributes}><Period>\
         <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"v\" bandwidth=\"800000\">{inside}\
         </Representation></AdaptationSet></Period></MPD>"
    )
}

fn recording(seconds: f64, inside: &str) -> String {
    mpd(&format!("type=\"static\" mediaPresentationDuration=\"PT{seconds}S\""), inside)
}

fn listing(of: &Presentation, index: usize, now: Wall) -> Option<Listing> {
    of.listing(index, 0, now, &Rules::default())
}

/// Where segments are, as short as it gets.
fn names(listing: &Listing) -> String {
    let places = listing.places.iter().map(|place| {
        let url = place.url.as_str();
        let name = url.strip_prefix("https://cdn.example/live/a/").unwrap_or(url);
        place.range.as_ref().map_or(name.to_owned(), |range| format!("{name}@{}-{}", range.start, range.end))
    });
    places.collect::<Vec<_>>().join(" ")
}

/// Everything that the only Representation of `text` has.
fn all(text: &str) -> String {
    let read = read(text);
    listing(&read, 0, Wall(0)).map_or("-".to_owned(), |listing| names(&listing))
}

fn find(of: &Presentation, name: &str, now: f64) -> Option<When> {
    find_in(of, name, now, Duration::MAX)
}

/// The same in an MPD that is so old.
fn find_in(of: &Presentation, name: &str, now: f64, age: Duration) -> Option<When> {
    let url = url("https://cdn.example/live/a/").join(name).unwrap();
    of.find(&url, at(now), age).map(|Found { when, .. }| when)
}
