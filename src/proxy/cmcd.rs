//! What players tell caches of themselves in the query (CTA-5004, Common Media Client Data): another text with each request for the
//! same file. The origin is asked with it as the player asks; what is known of a file is known without.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::borrow::Cow;

use url::Url;

use super::query;

/// What the pair in the query begins with.
const NAME: &str = "CMCD=";

/// The URL as a manifest names it.
#[must_use]
pub fn without(url: &Url) -> Cow<'_, Url> {
    query::without(url, is_one)
}

fn is_one(pair: &str) -> bool {
    pair.starts_with(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_whatever_a_player_tells_of_itself() {
        for (asked, named) in [
            ("http://o.example/a.ts", "http://o.example/a.ts"),
            ("http://o.example/a.ts?CMCD=br%3D3200%2Cot%3Dv", "http://o.example/a.ts"),
            ("http://o.example/a.ts?t=%2F&CMCD=bl%3D1&x", "http://o.example/a.ts?t=%2F&x"),
            ("http://o.example/a.ts?CMCD=a&CMCD=b&", "http://o.example/a.ts?"),
            ("http://o.example/a.ts?xCMCD=1&cmcd=2&CMCDx=3", "http://o.example/a.ts?xCMCD=1&cmcd=2&CMCDx=3"),
            ("http://o.example/CMCD=1?x=CMCD=1#CMCD=1", "http://o.example/CMCD=1?x=CMCD=1#CMCD=1"),
        ] {
            assert_eq!(without(&Url::parse(asked).unwrap()).as_str(), named);
        }
    }
}
