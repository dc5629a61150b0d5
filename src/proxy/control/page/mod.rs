//! The dashboard: a page and what it loads, all of it in the binary. It runs nothing that is not one of these files.

use http::Response;

use crate::page::{self, File, HTML, SCRIPT, STYLE};
use crate::proxy::answer::{Body, full};

/// What is asked for after `/-/`, besides what all pages share.
const FILES: [File; 7] = [
    ("", HTML, include_str!("index.html")),
    ("app.css", STYLE, include_str!("app.css")),
    ("app.js", SCRIPT, include_str!("app.js")),
    ("stream.js", SCRIPT, include_str!("stream.js")),
    ("chart.js", SCRIPT, include_str!("chart.js")),
    ("switches.js", SCRIPT, include_str!("switches.js")),
    ("words.js", SCRIPT, include_str!("words.js")),
];

/// A file of the page; `None` when there is none of that name.
pub(super) fn file(name: &str) -> Option<Response<Body>> {
    page::answer(name, &FILES).map(|answer| answer.map(full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::account::Reason;

    #[test]
    fn every_reason_has_words() {
        let (.., words) = FILES.iter().find(|(name, ..)| *name == "words.js").unwrap();
        for reason in Reason::ALL {
            let word = format!("'{}': ", reason.as_str());
            assert!(words.contains(&word), "{word}");
        }
    }

    #[test]
    fn the_page_needs_nothing_but_itself() {
        assert_eq!(page::complaints(&FILES), Vec::<String>::new());
    }
}
