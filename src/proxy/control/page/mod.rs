//! The dashboard: a page and what it loads, all of it in the binary. It runs nothing that is not one of these files.

use http::{HeaderValue, Response, header};

use crate::proxy::answer::{Body, full};
use crate::proxy::headers;

/// What the page may do: load from here, and nothing else.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What is asked for after `/-/`, its media type and its bytes.
const FILES: [(&str, &str, &str); 9] = [
    ("", HTML, include_str!("index.html")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("app.css", STYLE, include_str!("app.css")),
    ("app.js", SCRIPT, include_str!("app.js")),
    ("stream.js", SCRIPT, include_str!("stream.js")),
    ("chart.js", SCRIPT, include_str!("chart.js")),
    ("words.js", SCRIPT, include_str!("words.js")),
    ("uplot.js", SCRIPT, include_str!("vendor/uPlot.iife.min.js")),
    ("uplot.css", STYLE, include_str!("vendor/uPlot.min.css")),
];

/// A file of the page; `None` when there is none of that name.
pub(super) fn file(name: &str) -> Option<Response<Body>> {
    let (_, kind, text) = FILES.iter().find(|(known, ..)| *known == name)?;
    let mut answer = Response::new(full(*text));
    let fields = answer.headers_mut();
    headers::make_inert(fields);
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // Another version of the daemon has another page.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::account::Reason;

    fn text(name: &str) -> &'static str {
        FILES.iter().find(|(known, ..)| *known == name).unwrap().2
    }

    #[test]
    fn every_reason_has_words() {
        for reason in Reason::ALL {
            let word = format!("'{}': ", reason.as_str());
            assert!(text("words.js").contains(&word), "{word}");
        }
    }

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let page = text("");
        for inline in ["<style", " style=", "onclick", "<script>", "javascript:", "http://", "https://"] {
            assert!(!page.contains(inline), "{inline}");
        }
        let loaded = page.split("=\"/-/").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        let loaded: Vec<_> = loaded.collect();
        assert!(loaded.len() >= 4 && loaded.iter().all(|name| file(name).is_some()), "{loaded:?}");
    }

    #[test]
    fn what_was_not_written_here_has_its_licence() {
        assert!(include_str!("vendor/LICENSE").contains("The MIT License"));
        assert!(text("uplot.js").contains("uPlot (v1.6.32)"));
    }
}
