//! Where a media file is.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use url::Url;

/// An absolute http or https URL as text: what players ask for, compared letter by letter. There are very many, so they
/// are cheap to copy and are not taken apart before one is fetched.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

impl Address {
    /// The address that reads `text`, which has to be a URL in the form that [`Url`] gives it: what other form it is in,
    /// nobody asks for.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.into())
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL to fetch; `None` only for what was none to begin with.
    #[must_use]
    pub fn url(&self) -> Option<Url> {
        Url::parse(&self.0).ok()
    }

    /// What follows the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        let at = memchr::memchr2(b'?', b'#', self.0.as_bytes())?;
        let (mark, rest) = self.0[at..].split_at(1);
        let end = memchr::memchr(b'#', rest.as_bytes()).unwrap_or(rest.len());
        (mark == "?").then_some(&rest[..end])
    }

    /// Whether a name or a password is in it.
    #[must_use]
    pub fn has_user(&self) -> bool {
        let place = self.place().as_ptr() as usize - self.0.as_ptr() as usize;
        !self.0[..place].ends_with("://")
    }

    /// Host, port where it is not the scheme's own, and path.
    #[must_use]
    pub fn place(&self) -> &str {
        let rest = ["https://", "http://"].iter().find_map(|scheme| self.0.strip_prefix(scheme));
        let rest = rest.unwrap_or(&self.0);
        let rest = &rest[..memchr::memchr2(b'?', b'#', rest.as_bytes()).unwrap_or(rest.len())];
        let host = memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len());
        // Names and passwords hold no `@` of their own in this form.
        let user = memchr::memrchr(b'@', &rest.as_bytes()[..host]).map_or(0, |at| at + 1);
        &rest[user..]
    }
}

impl From<&Url> for Address {
    fn from(url: &Url) -> Self {
        Self::of(url.as_str())
    }
}

/// Found by its text: both are compared and hashed letter by letter.
impl Borrow<str> for Address {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_and_knows_its_parts() {
        for (text, place, query) in [
            ("https://CDN.example:443/a/b.ts", "cdn.example/a/b.ts", None),
            ("http://me:p%40ss@cdn.example:8080/a?x=/@?", "cdn.example:8080/a", Some("x=/@?")),
            ("http://:x@h/", "h/", None),
            ("http://@h/", "h/", None),
            ("http://h/a?b#c?d", "h/a", Some("b")),
            ("http://h/a#c?d", "h/a", None),
            ("http://[::1]:81?x", "[::1]:81/", Some("x")),
        ] {
            let url = Url::parse(text).unwrap();
            let address = Address::from(&url);
            assert_eq!((address.place(), address.query()), (place, query), "{text}");
            assert_eq!(address.has_user(), url.username() != "" || url.password().is_some(), "{text}");
            assert_eq!(address.url(), Some(url), "{text}");
        }
    }
}
