//! What a manifest says is known from here on: what it lists to the engine, its place in its channel, and it is itself.

use std::sync::Arc;

use http::header;
use url::Url;

use super::headers::OF_THE_BYTES;
use super::recent::{Changes, Manifest};
use super::{Shared, coding};
use crate::engine::origin::{Caller, fields};
use crate::manifest::choice::choices;
use crate::manifest::dash::{self as mpd, Presentation};
use crate::manifest::hls::{self, Master, Playlist};
use crate::manifest::identity::by_sequence;
use crate::manifest::{Format, Limits};
use crate::model::shown::shown;

/// Takes in a manifest that was fetched because this caller `asked` for this URL. Call it before it is answered with, so that
/// what it lists is found when the player asks for it.
pub async fn take_in(
    mut manifest: Manifest,
    (asked, caller): (&Url, &Caller),
    shared: &Shared,
) -> Arc<Manifest> {
    if !coding::is_plain(&manifest.headers) {
        for name in OF_THE_BYTES.iter().chain([&header::CONTENT_ENCODING]) {
            manifest.headers.remove(name);
        }
    }
    let manifest = Arc::new(manifest);
    let changes = list(&manifest, (asked, caller), shared).await;
    shared.recent.keep(caller, asked, Arc::clone(&manifest), changes);
    manifest
}

/// Tells the engine what the manifest lists; one that can't be understood is passed on all the same.
async fn list(manifest: &Manifest, (asked, caller): (&Url, &Caller), shared: &Shared) -> Changes {
    let (limits, rules, viewer) = (Limits::default(), &shared.setup.rules, caller.viewer);
    let streams = &shared.streams;
    let channel = streams.channel(asked, rules).or_else(|| streams.channel(&manifest.url, rules));
    let error = match manifest.format {
        Format::Hls => match hls::parse_importing(
            &manifest.url,
            &manifest.text,
            &limits,
            rules,
            &shared.masters.variables(viewer, asked),
        ) {
            Ok(Playlist::Master(master)) => {
                remember(&master, (asked, caller), channel.as_deref(), shared);
                return Changes::default();
            }
            Ok(Playlist::Media(mut media)) => {
                if let Some(rendition) = shared.masters.rendition(viewer, asked) {
                    by_sequence(&mut media.listing, &rendition);
                }
                media.listing.timeline.choice = shared.masters.choice(viewer, asked);
                // What a playlist names is never more private than the host that it came from.
                let named = Caller { reach: manifest.reach, ..told_at(&manifest.url, (asked, caller)) };
                shared.files.list(viewer, &media.listing);
                shared.parts.name(viewer, media.listing.timeline.swarm, media.part_urls);
                shared.engine.listed(media.listing, &named, channel).await;
                return Changes { target: Some(media.target), update: None, grows: !media.ended };
            }
            Err(error) => error,
        },
        Format::Dash => match mpd::parse(&manifest.url, &manifest.text, &limits, rules) {
            Ok(presentation) => {
                let Presentation { target, update, dynamic: grows, left_out, .. } = presentation;
                let url = shown(&manifest.url);
                if left_out > 0 && shared.masters.is_first_complaint(&url) {
                    tracing::warn!(manifest = %url, left_out, "{left_out} Representations of the MPD at {url} are not shared: it has too many");
                }
                shared.presentations.keep(
                    (viewer, manifest.reach),
                    (asked, channel),
                    presentation,
                    &manifest.headers,
                );
                return Changes { target: Some(target), update, grows };
            }
            Err(error) => error,
        },
    };
    let url = shown(&manifest.url);
    if shared.masters.is_first_complaint(&url) {
        tracing::warn!(manifest = %url, why = %error, "the manifest at {url} brings nothing to share: {error}");
    }
    Changes::default()
}

/// Who asked at one place, as another may know him: what was meant for the host that was asked is not for the one that lists.
#[must_use]
pub fn told_at(manifest: &Url, (asked, caller): (&Url, &Caller)) -> Caller {
    let mut caller = caller.clone();
    if manifest.origin() != asked.origin() {
        caller.headers = fields::for_any_host(&caller.headers);
    }
    caller
}

/// What a player chooses from is in the master alone. In a channel whose segments are known by number, each playlist is known
/// by its place.
fn remember(master: &Master, (asked, caller): (&Url, &Caller), belongs: Option<&str>, shared: &Shared) {
    let viewer = caller.viewer;
    for (url, choice) in choices(master, &shared.setup.rules) {
        shared.masters.name(viewer, url, choice);
    }
    let variables = Arc::new(master.variables.clone());
    let variants = master.variants.iter().map(|variant| &variant.url);
    let renditions = master.renditions.iter().map(|rendition| &rendition.url);
    if !variables.is_empty() {
        let playlists = variants.clone().chain(renditions.clone()).chain(&master.iframes);
        playlists.for_each(|url| shared.masters.define(viewer, url, &variables));
    }
    let channel = shared.masters.rendition(viewer, asked);
    for (place, url) in variants.chain(renditions).enumerate() {
        if let Some(name) = belongs {
            shared.streams.name(url, name, &shared.setup.rules);
        }
        if let Some(channel) = &channel {
            shared.masters.number(viewer, url, format!("{channel}\n{place}"));
        }
    }
}
