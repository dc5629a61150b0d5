//! What a file is by its name and type: for us, before it is looked into, and for players, which go by it.

use http::header;
use url::Url;

use crate::engine::origin::Response;
use crate::manifest::Format;
use crate::manifest::rewrite::Use;
use crate::model::address::Address;

/// File names that players take for segments; others get one of these appended.
const SEGMENT_NAMES: [&str; 22] = [
    "ts", "m4s", "mp4", "m4a", "m4v", "aac", "mp3", "ac3", "ec3", "eac3", "vtt", "webvtt", "cmfa", "cmfv",
    "mov", "mpg", "mpegts", "m2ts", "mts", "3gp", "html", "wav",
];

/// Types of what is never a playlist, whatever else is said of it.
const MEDIA: [&str; 6] = ["video/", "audio/mp4", "audio/aac", "audio/ogg", "image/", "font/"];

fn named_playlist(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    path.ends_with(".m3u8") || path.ends_with(".m3u")
}

/// Whether the name is a manifest's.
#[must_use]
pub fn named_manifest(url: &Url) -> bool {
    named_playlist(url) || url.path().to_ascii_lowercase().ends_with(".mpd")
}

fn kind(response: &Response) -> String {
    let kind = response.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default().to_ascii_lowercase()
}

/// Whether the name or the type says playlist.
fn says_playlist(response: &Response) -> bool {
    kind(response).contains("mpegurl") || named_playlist(&response.url)
}

/// What the name or the type says it is.
#[must_use]
pub fn named_format(response: &Response) -> Option<Format> {
    if says_playlist(response) {
        return Some(Format::Hls);
    }
    let dash = kind(response).contains("dash+xml") || named_manifest(&response.url);
    dash.then_some(Format::Dash)
}

/// Whether nothing speaks against a manifest; segments and media are never looked into.
#[must_use]
pub fn may_be_manifest(response: &Response) -> bool {
    let kind = kind(response);
    says_playlist(response) || kind.contains("dash+xml") || !MEDIA.iter().any(|media| kind.starts_with(media))
}

/// The extension to append so that a player takes the file for what it is; `None` when its own will do.
#[must_use]
pub fn extension(url: &Address, what: Use, fragments: bool) -> Option<&'static str> {
    let name = url.place().rsplit('/').next().unwrap_or_default();
    let own = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    match what {
        Use::Playlist => (!matches!(own.as_str(), "m3u8" | "m3u")).then_some("m3u8"),
        Use::Segment if SEGMENT_NAMES.contains(&own.as_str()) => None,
        Use::Segment => Some(if fragments { "m4s" } else { "ts" }),
        Use::Map => (!SEGMENT_NAMES.contains(&own.as_str())).then_some("mp4"),
        Use::Key | Use::Aside | Use::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_get_an_extension_that_players_take() {
        for (url, what, fragments, expected) in [
            ("http://o/a.ts", Use::Segment, false, None),
            ("http://o/a.TS?x=1", Use::Segment, false, None),
            ("http://o/a.php?x=a.ts", Use::Segment, false, Some("ts")),
            ("http://o/seg", Use::Segment, true, Some("m4s")),
            ("http://o/init", Use::Map, true, Some("mp4")),
            ("http://o/list", Use::Playlist, false, Some("m3u8")),
            ("http://o/list.m3u8", Use::Playlist, false, None),
            ("http://o/key.bin", Use::Key, false, None),
        ] {
            assert_eq!(extension(&Address::of(url), what, fragments), expected, "{url}");
        }
    }
}
