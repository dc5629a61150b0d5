//! The tracker's page: who is there, and what it saves, all of it in the binary.

use http::Response;

use super::answer::{Body, full};
use crate::page::{self, File, HTML, SCRIPT, STYLE};

/// What is asked for after `/` or `/-/`, besides what all pages share.
const FILES: [File; 3] = [
    ("", HTML, include_str!("index.html")),
    ("tracker.css", STYLE, include_str!("tracker.css")),
    ("tracker.js", SCRIPT, include_str!("tracker.js")),
];

/// A file of the page; `None` when there is none of that name.
pub fn file(name: &str) -> Option<Response<Body>> {
    page::answer(name, &FILES).map(|answer| answer.map(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_but_itself() {
        assert_eq!(page::complaints(&FILES), Vec::<String>::new());
    }
}
