//! What a player of an HLS master chooses from, and what it plays beside that.
//!
//! | playlist | is played in place of |
//! |---|---|
//! | of a variant, also one of sound alone and a redundant one | those of the other variants |
//! | of sound (EXT-X-MEDIA) | all other sound: the group that a variant names only says what goes with it |
//! | of subtitles | all other subtitles |
//! | of pictures, such as another camera | all others of them; the variant may be needed beside it for its sound |
//! | of I-frames | all others of them: they are looked at while the variant plays |
//!
//! A playlist has one place, though several variants name it: sound or subtitles first, as where a variant of sound alone has
//! the playlist that is the sound of the others.
//!
//! A group is known by the first of its playlists in the order of their identities, not by its master: two masters of a stream
//! that name some of the same, as one without the highest, agree where they have that one in common.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::hls::{Content, Master};
use super::identity::Rules;
use crate::model::ids::Group;
use crate::model::timeline::Choice;

/// What its player has to choose from at each playlist of a master, for which that is anything.
#[must_use]
pub fn choices<'a>(master: &'a Master, rules: &Rules) -> Vec<(&'a Url, Choice)> {
    // Also where all have one playlist: then it is the sound that is adapted.
    let adaptive = master.variants.len() > 1;
    let mut seen = BTreeSet::new();
    let mut kinds: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut named = Vec::new();
    for (url, kind) in by_kind(master).filter(|(url, _)| seen.insert(url.as_str())) {
        let identity = rules.identity(url);
        let (size, least) = kinds.entry(kind).or_insert_with(|| (0, identity.clone()));
        *size += 1;
        if identity < *least {
            *least = identity;
        }
        named.push((url, kind));
    }
    let choice = |kind: &str| {
        let several = kinds.get(kind).filter(|(size, _)| !kind.is_empty() && *size > 1);
        Choice { group: several.map(|(_, least)| Group::of(least, kind)), adaptive }
    };
    let all = named.into_iter().map(|(url, kind)| (url, choice(kind)));
    all.filter(|(_, choice)| *choice != Choice::default()).collect()
}

/// Its playlists and what kind each is of, those first whose word goes; of what is not known it can't be told.
fn by_kind(master: &Master) -> impl Iterator<Item = (&Url, &'static str)> {
    let of = |content: Content, kind: &'static str| {
        let those = master.renditions.iter().filter(move |rendition| rendition.content == content);
        those.map(move |rendition| (&rendition.url, kind))
    };
    of(Content::Audio, "audio")
        .chain(of(Content::Subtitles, "subtitles"))
        .chain(master.variants.iter().map(|variant| (&variant.url, "variants")))
        .chain(of(Content::Video, "video"))
        .chain(of(Content::Other, ""))
        .chain(master.iframes.iter().map(|url| (url, "iframes")))
}
