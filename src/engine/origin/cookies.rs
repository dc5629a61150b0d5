//! A cookie jar for each viewer, kept here so that one origin's cookies never reach another through the player.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cookie_store::{CookieStore, RawCookie};
use http::{HeaderMap, HeaderValue, header};
use url::Url;

use super::ViewerKey;

/// Jars; the one not used for longest is emptied first.
const VIEWERS: usize = 256;
/// Cookies in one jar; past it new ones are not taken.
const COOKIES: usize = 300;
/// The longest cookie, in bytes; RFC 6265 §6.1 asks for 4,096.
const COOKIE: usize = 8 * 1024;

/// All jars.
#[derive(Debug, Default)]
pub struct Jars {
    jars: Mutex<HashMap<ViewerKey, (u64, CookieStore)>>,
}

impl Jars {
    /// The Cookie header for a request, if the viewer has cookies for it.
    #[must_use]
    pub fn for_request(&self, viewer: ViewerKey, url: &Url) -> Option<HeaderValue> {
        let mut jars = self.jars.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next_turn(&jars);
        let (used, jar) = jars.get_mut(&viewer)?;
        *used = turn;
        let pairs: Vec<String> =
            jar.get_request_values(url).map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }

    /// Keeps what an answer sets.
    pub fn keep(&self, viewer: ViewerKey, url: &Url, headers: &HeaderMap) {
        let set = headers.get_all(header::SET_COOKIE);
        if set.iter().next().is_none() {
            return;
        }
        let mut jars = self.jars.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next_turn(&jars);
        if jars.len() >= VIEWERS
            && !jars.contains_key(&viewer)
            && let Some(oldest) = jars.iter().min_by_key(|(_, (turn, _))| *turn).map(|(viewer, _)| *viewer)
        {
            jars.remove(&oldest);
        }
        let (used, jar) = jars.entry(viewer).or_default();
        *used = turn;
        let cookies = set.iter().filter(|value| value.len() <= COOKIE);
        let cookies = cookies.filter_map(|value| RawCookie::parse(value.to_str().ok()?.to_owned()).ok());
        let room = COOKIES.saturating_sub(jar.iter_any().count());
        jar.store_response_cookies(cookies.take(room), url);
    }
}

fn next_turn(jars: &HashMap<ViewerKey, (u64, CookieStore)>) -> u64 {
    jars.values().map(|(turn, _)| *turn).max().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::SET_COOKIE, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn cookies_stay_with_their_viewer_and_origin() {
        let jars = Jars::default();
        let url = Url::parse("https://a.example/live/index.m3u8").unwrap();
        jars.keep(ViewerKey(1), &url, &set(&["id=7; Path=/", "other=x; Path=/else"]));
        let at = |viewer, url: &str| jars.for_request(ViewerKey(viewer), &Url::parse(url).unwrap());
        assert_eq!(at(1, "https://a.example/live/seg1.ts").unwrap(), "id=7");
        assert_eq!(at(1, "https://b.example/live/seg1.ts"), None);
        assert_eq!(at(2, "https://a.example/live/seg1.ts"), None);
    }

    #[test]
    fn a_jar_and_the_number_of_jars_are_bounded() {
        let jars = Jars::default();
        let url = Url::parse("https://a.example/").unwrap();
        for n in 0..COOKIES + 50 {
            jars.keep(ViewerKey(1), &url, &set(&[&format!("c{n}=1")]));
        }
        let sent = jars.for_request(ViewerKey(1), &url).unwrap();
        assert_eq!(sent.to_str().unwrap().split("; ").count(), COOKIES);
        for viewer in 0..VIEWERS as u64 + 10 {
            jars.keep(ViewerKey(1000 + viewer), &url, &set(&["a=1"]));
        }
        assert_eq!(jars.jars.lock().unwrap().len(), VIEWERS);
        assert_eq!(jars.for_request(ViewerKey(1), &url), None, "the oldest went first");
    }
}
