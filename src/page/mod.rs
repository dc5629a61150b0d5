//! What the pages of daemon and tracker share: how files of the binary are answered, style, small scripts, and the library
//! that draws. A page runs nothing but its own files and these, and loads nothing from elsewhere.

use http::{HeaderValue, Response, header};

/// What a page may do: load from where it came, and nothing else.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// A file: what it is asked for by, its media type and its text.
pub type File = (&'static str, &'static str, &'static str);

/// The media type of a page.
pub const HTML: &str = "text/html; charset=utf-8";
/// The media type of a style sheet.
pub const STYLE: &str = "text/css; charset=utf-8";
/// The media type of a script.
pub const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What every page may load besides its own.
const SHARED: [File; 6] = [
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("base.css", STYLE, include_str!("base.css")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("graph.js", SCRIPT, include_str!("graph.js")),
    ("uplot.js", SCRIPT, include_str!("vendor/uPlot.iife.min.js")),
    ("uplot.css", STYLE, include_str!("vendor/uPlot.min.css")),
];

/// The answer with the file of this name, one of the page's own or a shared one; `None` when there is none.
#[must_use]
pub fn answer(name: &str, own: &[File]) -> Option<Response<&'static str>> {
    let (_, kind, text) = own.iter().chain(&SHARED).find(|(known, ..)| *known == name)?;
    let mut answer = Response::new(*text);
    let fields = answer.headers_mut();
    for (field, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_TYPE, *kind),
        // Another version has another page.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        fields.insert(field, HeaderValue::from_static(value));
    }
    fields.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    Some(answer)
}

/// What is wrong with a page that is to need nothing but itself; for the tests of those that have one.
#[cfg(test)]
pub fn complaints(own: &[File]) -> Vec<String> {
    let page = own.iter().find(|(name, ..)| name.is_empty()).map_or("", |(.., text)| text);
    let inline = ["<style", " style=", "onclick", "<script>", "javascript:", "http://", "https://"];
    let mut found: Vec<String> =
        inline.iter().filter(|word| page.contains(**word)).map(|word| format!("inline {word}")).collect();
    let loaded = page.split("=\"/-/").skip(1).filter_map(|rest| rest.split('"').next());
    let imported = own.iter().chain(&SHARED).filter(|(name, ..)| name.ends_with(".js"));
    let imported = imported
        .flat_map(|(.., text)| text.split("from './").skip(1))
        .filter_map(|rest| rest.split('\'').next());
    let names: Vec<&str> = loaded.chain(imported).collect();
    if names.len() < 5 {
        found.push(format!("loads only {names:?}"));
    }
    let missing = names.iter().filter(|name| answer(name, own).is_none());
    found.extend(missing.map(|name| format!("{name} is missing")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_here_has_its_licence() {
        assert!(include_str!("vendor/LICENSE").contains("The MIT License"));
        let (.., uplot) = SHARED.iter().find(|(name, ..)| *name == "uplot.js").unwrap();
        assert!(uplot.contains("uPlot (v1.6.32)"));
    }

    #[test]
    fn what_is_missing_is_seen() {
        let own: [File; 1] = [("", HTML, "<script src=\"/-/none.js\"></script><style>")];
        assert!(complaints(&own).len() >= 2, "{:?}", complaints(&own));
    }
}
