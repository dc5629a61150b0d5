//! How a URL is shown to people: without what lets somebody in.

use url::Url;

/// The URL without user, password, query and fragment, which may hold tokens.
#[must_use]
pub fn bare(url: &Url) -> Url {
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    // Both fail only for URLs that can't have a user, such as `data:`.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare
}

/// A URL as logs, statistics and sentences show it: [`bare`], as text.
#[must_use]
pub fn shown(url: &Url) -> String {
    bare(url).into()
}

/// The same of a text that was meant to be a URL, and may be none.
#[must_use]
pub fn shown_text(text: &str) -> &str {
    let text = &text[..text.find(['?', '#']).unwrap_or(text.len())];
    // Nobody knows how far a broken URL's authority goes: whatever is before the last `@` may be a password.
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_left_out() {
        for (text, expected) in [
            ("https://ann:s1@o.example/a/b.m3u8?token=s2#s3", "https://o.example/a/b.m3u8"),
            ("https://o.example/a@b", "https://o.example/a@b"),
            ("wss://t.example:7224/", "wss://t.example:7224/"),
        ] {
            assert_eq!(shown(&Url::parse(text).unwrap()), expected);
        }
        for (text, expected) in [
            ("p.example:3128", "p.example:3128"),
            ("htp:/ann:s1/s2@p.example?s3", "p.example"),
            ("http://x/#s1", "http://x/"),
            ("", ""),
        ] {
            assert_eq!(shown_text(text), expected);
        }
    }
}
