//! From what a manifest writes to addresses.
//!
//! A manifest names thousands of files next to each other, all spelled plainly. Those are put behind the folder, or the
//! host, that they share with the one before; whatever is spelled in any other way is resolved by the rules of URLs
//! (WHATWG). Both ways lead to the same, which a property test holds.

use url::{Position, Url};

use crate::model::address::Address;

/// Resolves references, one after the other.
pub(super) struct Resolver<F> {
    slow: F,
    /// Up to the last slash of the page's path, where that is an address.
    folder: Option<String>,
    /// How the last absolute reference spelled scheme and host, slash included, and what that is in an address.
    host: Option<(String, String)>,
    text: String,
}

impl<F: FnMut(&str) -> Option<Url>> Resolver<F> {
    /// Resolves as `slow` does, which gives http and https URLs alone.
    pub fn new(mut slow: F) -> Self {
        let folder = slow("x").and_then(|url| url.as_str().strip_suffix('x').map(str::to_owned));
        Self { slow, folder, host: None, text: String::new() }
    }

    /// Where `reference` leads; `None` where `slow` says so.
    pub fn resolve(&mut self, reference: &str) -> Option<Address> {
        let near = self.folder.as_ref().filter(|_| is_plain(reference.as_bytes(), false));
        let known = near.map(|folder| (folder, reference)).or_else(|| {
            let (spelled, meant) = self.host.as_ref()?;
            let rest = reference.strip_prefix(spelled.as_str())?;
            is_plain(rest.as_bytes(), true).then_some((meant, rest))
        });
        if let Some((before, after)) = known {
            self.text.clear();
            self.text.push_str(before);
            self.text.push_str(after);
            return Some(Address::of(&self.text));
        }
        let url = (self.slow)(reference)?;
        if let Some(spelled) = host_of(reference) {
            self.host = Some((spelled.to_owned(), format!("{}/", &url[..Position::BeforePath])));
        }
        Some(Address::from(&url))
    }
}

/// Scheme and host of an absolute reference up to the slash that begins its path.
fn host_of(reference: &str) -> Option<&str> {
    let begins = ["http://", "https://"].iter().find(|scheme| reference.starts_with(**scheme))?.len();
    let host = reference[begins..].find(['/', '?', '#', '\\'])?;
    let end = begins + host;
    // Without a host the next part of the path would be taken for it. What is not spelled plainly, as a variable of HLS, may
    // stand for more than the host.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    let named = host > 0 && reference[begins..end].bytes().all(plain);
    (named && reference[end..].starts_with('/')).then(|| &reference[..=end])
}

/// Whether this, behind a slash, stands in a URL just as it is written: a path, and a query if any. `rooted`: the slash is
/// the path's first.
fn is_plain(reference: &[u8], rooted: bool) -> bool {
    let (path, query) = match memchr::memchr(b'?', reference) {
        Some(at) => (&reference[..at], &reference[at + 1..]),
        None => (reference, &[][..]),
    };
    // A slash in front would be the root's, or a host's. Names that begin with a dot may be steps.
    if !rooted && (path.is_empty() || path[0] == b'/') {
        return false;
    }
    let mut before = b'/';
    for &byte in path {
        if CLASSES[usize::from(byte)] & PATH == 0 || (byte == b'.' && before == b'/') {
            return false;
        }
        before = byte;
    }
    query.iter().all(|&byte| CLASSES[usize::from(byte)] & QUERY != 0)
}

const PATH: u8 = 1;
const QUERY: u8 = 2;
/// Which bytes stand for themselves in a path, and which in a query. What is not here may too.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let (path, query) = match byte as u8 {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => (true, true),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'(' | b')' => (true, true),
            b'*' | b'+' | b',' | b';' | b'=' | b'@' | b'/' => (true, true),
            // A colon may end a scheme, and an escape may stand for a dot.
            b'%' | b':' | b'?' => (false, true),
            _ => (false, false),
        };
        classes[byte] = path as u8 * PATH + query as u8 * QUERY;
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::lines;

    fn check(base: &str, references: &[String]) {
        let base = Url::parse(base).unwrap();
        let slow = |reference: &str| lines::resolve(&base, reference.as_bytes());
        let mut resolver = Resolver::new(slow);
        for reference in references {
            let expected = slow(reference).map(|url| Address::from(&url));
            assert_eq!(resolver.resolve(reference), expected, "{reference:?} on {base}");
        }
    }

    #[test]
    fn a_variable_in_place_of_a_host_may_hold_a_part_of_the_path() {
        let slow = |reference: &str| Url::parse(&reference.replace("{$v}", "a/b")).ok();
        let mut resolver = Resolver::new(slow);
        for reference in ["https://{$v}.example/k", "https://{$v}.example/k", "https://{$v}.example/l"] {
            assert_eq!(resolver.resolve(reference), slow(reference).map(|url| Address::from(&url)));
        }
    }

    #[test]
    fn the_short_way_leads_where_the_long_one_does() {
        let references = [
            "a.ts",
            "b/c.ts?x=1:2/%3f?",
            "",
            "?x",
            "/a.ts",
            "//a.ts",
            "a//b",
            "./a",
            "a/../b",
            "a/.b",
            "..",
            "a:b",
            "a%2e/b",
            "https://H.example:443/a",
            "https://H.example:443/b?c",
            "https://H.example:443//b",
            "https://H.example:443/../b",
            "https://H.example:443/",
            "https://H.example:443/?q",
            "http://h?x/y",
            "http://h\\x/y",
            "http:///x/y",
            "http://u:p@h/x",
            "http://u:p@h/y",
            "a b",
            "a\tb",
            "ä",
            "a#b",
            "{$x}",
            "a{$x}",
            "skd://x/y",
            "https://[::1]/a",
            "https://[::1]/b",
            "https://./a",
            "https://./b",
            "a'b",
            "a?b'c",
            "a^b",
            "a|b",
            "https://H.example:443/{$x}",
            "@a",
            "a;b=c,d",
            "$x",
            "https://h.example/a?b#c",
        ]
        .map(str::to_owned);
        for base in
            ["https://cdn.example/live/a/p.m3u8?t=/x", "http://u:p@h.example:81", "http://h/a;b/%7b$/?x#y/z"]
        {
            check(base, &references);
        }
        check("file:///a/b", &references);
    }

    proptest! {
        #[test]
        fn any_reference_leads_where_it_should(
            path in "[a-z/.%:@?#;$]{0,12}",
            references in prop::collection::vec(
                "((https?|HTTP)://[aB.:@\\\\/]{0,4}/)?[-a-zA-Z0-9._~!$&'()*+,;=@/?%:#\\\\ {}^|\t\"<>`é]{0,12}", 1..8),
        ) {
            check(&format!("https://h.example/{path}"), &references);
        }
    }
}
