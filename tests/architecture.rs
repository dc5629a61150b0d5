//! The laws of the house, held over the sources: arrows, purity, sizes, names.

use std::path::{Path, PathBuf};

/// Top-level modules in the order in which a request meets them. An import may only point to the right.
const ORDER: [&str; 12] = [
    "cli",
    "config",
    "simulator",
    "viewer",
    "proxy",
    "tracker",
    "page",
    "engine",
    "delivery",
    "manifest",
    "wire",
    "model",
];
/// Imports that point to the right and are not allowed all the same.
const FORBIDDEN: [(&str, &str); 15] = [
    ("simulator", "engine"),
    ("simulator", "proxy"),
    ("viewer", "proxy"),
    ("viewer", "engine"),
    ("proxy", "wire"),
    ("proxy", "tracker"),
    ("tracker", "engine"),
    ("tracker", "delivery"),
    ("engine", "manifest"),
    // A page is files and how they are answered; it knows nobody.
    ("page", "engine"),
    ("page", "delivery"),
    ("page", "manifest"),
    ("page", "wire"),
    ("page", "model"),
    ("viewer", "page"),
];
/// The one submodule by which an import may point to the right where it otherwise may not.
const ONLY: [(&str, &str, &str); 2] =
    [("simulator", "tracker", "swarms"), ("simulator", "viewer", "playout")];
/// Files and folders without tasks, sockets, files, clocks and chance of their own.
const PURE: [&str; 26] = [
    "src/model/",
    "src/wire/",
    "src/manifest/",
    "src/delivery/",
    "src/simulator/",
    "src/tracker/accounts.rs",
    "src/tracker/expiries.rs",
    "src/tracker/names.rs",
    "src/tracker/networks.rs",
    "src/tracker/swarms.rs",
    "src/viewer/playout.rs",
    "src/viewer/picture.rs",
    "src/viewer/ts.rs",
    "src/engine/filter.rs",
    "src/engine/map.rs",
    "src/engine/memory.rs",
    "src/engine/report.rs",
    "src/engine/origin/reach.rs",
    "src/proxy/address.rs",
    "src/proxy/addressed.rs",
    "src/proxy/directives.rs",
    "src/proxy/query.rs",
    "src/proxy/range.rs",
    "src/proxy/headers.rs",
    "src/config/place.rs",
    "src/config/reject.rs",
];
/// What those may not even mention. Clippy sees what a name hides (see [`DENY`]), this sees what clippy has no name for.
const IMPURE: [&str; 22] = [
    "tokio::",
    "hyper::",
    "webrtc::",
    "async ",
    ".await",
    "Instant::now",
    "SystemTime",
    ".elapsed()",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "thread_rng",
    "rand::",
    "getrandom",
    "HashMap",
    "HashSet",
    "RandomState",
    "println!",
];
/// Heads of modules that hold the lints which see what this test can't.
const DENY: &str =
    "#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]";
const NAMES: [&str; 6] = ["prelude", "utils", "util", "common", "types", "helpers"];
/// Lines of a file.
const LONGEST: usize = 800;
/// Lines of a `mod.rs`, which is a door and not a room.
const DOOR: usize = 200;
/// Lines of code in a function.
const FUNCTION: usize = 60;
/// What is larger than it should be: the number only goes down, and the entry goes once the law is kept.
const RATCHET: [(&str, usize); 2] = [("src/engine/mod.rs", 226), ("src/engine/fetch.rs: fn follow", 71)];

#[test]
fn the_sources_keep_the_laws() {
    let mut broken = Vec::new();
    let mut sizes = Vec::new();
    for file in sources(Path::new("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        sizes.push(text.lines().count());
        broken.extend(violations(&file.display().to_string(), &text));
    }
    let mut excused = Vec::new();
    broken.retain(|violation| {
        let excuse = RATCHET.iter().find(|(what, most)| {
            let size = violation.strip_prefix(what).and_then(|rest| rest.strip_prefix(": "));
            size.and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok())
                .is_some_and(|size| size <= *most)
        });
        excused.extend(excuse);
        excuse.is_none()
    });
    for (what, _) in RATCHET.iter().filter(|entry| !excused.contains(entry)) {
        broken.push(format!("{what} keeps the law by now: take it off the ratchet"));
    }
    for place in PURE.iter().filter(|place| **place != "src/simulator/" && !Path::new(place).exists()) {
        broken.push(format!("{place}: called pure here, and not there"));
    }
    for file in sources(Path::new("tests")) {
        let text = std::fs::read_to_string(&file).unwrap();
        broken.extend(too_long(&file.display().to_string(), &text));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    sizes.sort_unstable();
    let at = |part: f64| sizes[(sizes.len() as f64 * part) as usize];
    assert!(
        at(0.5) <= 250 && at(0.9) <= 480,
        "files grow: median {}, nine of ten within {}",
        at(0.5),
        at(0.9)
    );
}

#[test]
fn a_broken_law_is_seen() {
    for (file, text, word) in [
        ("src/delivery/x.rs", "use crate::engine::Handle;", "may not know"),
        ("src/viewer/x.rs", "use crate::engine::Handle;", "may not know"),
        ("src/engine/x.rs", "use crate::config::Config;", "may not know"),
        ("src/delivery/x.rs", "let now = std::time::Instant::now();", "pure"),
        ("src/wire/x.rs", "async fn f() {}", "pure"),
        ("src/delivery/x.rs", "use std::collections::HashMap;", "pure"),
        ("src/proxy/x.rs", "use super::*;", "use super::*"),
        ("src/proxy/x.rs", "use super::super::y;", "super::super"),
        ("src/proxy/x.rs", "use crate::{a, b};", "defining module"),
        ("src/delivery/x.rs", "use std::net::{IpAddr, UdpSocket};", "pure"),
        ("src/delivery/x.rs", "let now = before.unwrap_or_else(Instant::now);", "pure"),
        ("src/engine/memory.rs", "let t = clock.elapsed();", "pure"),
        ("src/simulator/x.rs", "use crate::tracker::connection::Connection;", "may not know"),
        ("src/simulator/x.rs", "use crate::viewer::player::Player;", "may not know"),
        ("src/proxy/utils.rs", "", "says nothing"),
        ("src/error.rs", "", "says nothing"),
        ("src/proxy/x.rs", "let a = b.unwrap();", "may fail"),
        ("src/proxy/x.rs", "let a = b.expect(\"a reason\");", "may fail"),
        ("src/engine/x.rs", "let (a, b) = mpsc::unbounded_channel();", "bound"),
        ("src/engine/x.rs", "    tokio::spawn(forgotten());", "owner"),
        ("src/lib.rs", "pub use model::time::Time;", "map"),
        ("src/engine/x.rs", "const A: Duration = Duration::from_secs(1);", "policy"),
        ("src/model/mod.rs", "//! No lints.", "lints"),
    ] {
        let found = violations(file, text);
        assert!(found.iter().any(|v| v.contains(word)), "{file}: {text:?} gave {found:?}");
    }
    assert!(!too_long("src/x.rs", &"x\n".repeat(LONGEST + 1)).is_empty());
    let door = format!("{}\n", DENY) + &"x\n".repeat(DOOR);
    assert!(violations("src/model/mod.rs", &door).iter().any(|v| v.contains("are allowed")));
    let long = format!(
        "    pub async fn f(\n        a: u8,\n    ) {{\n{}    }}\n",
        "        g();\n".repeat(FUNCTION)
    );
    assert_eq!(violations("src/proxy/x.rs", &long), ["src/proxy/x.rs: fn f: 64 lines, 60 are allowed"]);
    for text in [
        "use crate::tracker::swarms::Swarms;\nuse crate::viewer::playout::Playout;\n",
        "let a = b.unwrap_or_default();\nassembly.expect(ask);\nlet task = tokio::spawn(f());\n",
        "fn f() {\n    // `unwrap()` and tokio::spawn( in words\n}\n",
    ] {
        assert_eq!(violations("src/simulator/x.rs", &text.replace("tokio::", "t::")), Vec::<String>::new());
    }
    assert_eq!(
        violations("src/proxy/x.rs", "use crate::engine::Handle;\n// tokio::\n"),
        Vec::<String>::new()
    );
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn violations(file: &str, text: &str) -> Vec<String> {
    let mut found = too_long(file, text);
    if !file.contains("/tests") {
        found.extend(long_functions(file, text));
    }
    let module = module_of(file);
    let pure = PURE.iter().any(|place| file.starts_with(place));
    let stem = file.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    // Each module has its own Error; one for the whole crate would tie them all together.
    if NAMES.contains(&stem) || file == "src/error.rs" {
        found.push(format!("{file}: `{stem}` says nothing about what is in it"));
    }
    let twin = file.trim_end_matches(".rs");
    if file != "src/lib.rs" && Path::new(twin).is_dir() {
        found.push(format!("{file}: stands beside its folder; it belongs into {twin}/mod.rs"));
    }
    let head = pure && file.matches('/').count() == 2 && file.ends_with("/mod.rs");
    if head && !text.contains(DENY) {
        found.push(format!("{file}: the lints of pure modules are not denied at its head"));
    }
    // Tests of a file stand at its end.
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let test = file.contains("/tests");
    for (number, line) in production.lines().enumerate() {
        let at = format!("{file}:{}", number + 1);
        let code = line.split("//").next().unwrap_or_default();
        if !test {
            found.extend(imports(&at, module, code));
        }
        if pure && !test {
            let word = IMPURE.iter().find(|word| code.contains(*word));
            found.extend(word.map(|word| format!("{at}: `{word}` in a pure file")));
        }
        if !test && (code.contains(".unwrap()") || code.contains(".expect(\"")) {
            found.push(format!("{at}: may fail: answer for it, or show in its place that it can't"));
        }
        if !test && code.contains("unbounded") {
            found.push(format!("{at}: every queue has a bound"));
        }
        if !test && code.trim_start().starts_with("tokio::spawn(") {
            found.push(format!("{at}: a task without an owner that ends it"));
        }
        let word = code.trim_start();
        if file == "src/lib.rs"
            && !(word.is_empty()
                || word.starts_with("pub mod ")
                || word.starts_with("#[")
                || word.starts_with("#!["))
        {
            found.push(format!("{at}: lib.rs is the map and defines nothing"));
        }
        let constant = code.contains("const ") && code.contains("Duration");
        if module == "engine" && !test && constant && code.contains("Duration::from_") {
            found.push(format!("{at}: a duration is policy: it belongs into delivery or an Options"));
        }
    }
    found
}

fn imports(at: &str, module: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    if code.contains("use super::*") {
        found.push(format!("{at}: use super::* hides what is meant"));
    }
    if code.contains("super::super") {
        found.push(format!("{at}: super::super: import from the defining module"));
    }
    if code.contains("use crate::{") {
        found.push(format!("{at}: import from the defining module, not from the root"));
    }
    for target in code.split("crate::").skip(1) {
        let way: Vec<&str> = target.splitn(3, "::").collect();
        let target: String = target.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let (Some(from), Some(to)) = (rank(module), rank(&target)) else { continue };
        let aside = ONLY.iter().any(|(from, to, by)| {
            (*from, *to) == (module, &target[..]) && way.get(1).is_none_or(|word| !word.starts_with(by))
        });
        if from > to || aside || FORBIDDEN.contains(&(module, target.as_str())) {
            found.push(format!("{at}: `{module}` may not know `{target}`"));
        }
    }
    found
}

fn too_long(file: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let most = if file.ends_with("/mod.rs") && !file.starts_with("tests") { DOOR } else { LONGEST };
    (lines > most).then(|| format!("{file}: {lines} lines, {most} are allowed")).into_iter().collect()
}

/// Functions of too many lines of code, by the indentation that rustfmt gives them.
fn long_functions(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (first, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let mut words = code
            .split(' ')
            .skip_while(|word| matches!(*word, "const" | "async" | "unsafe") || word.starts_with("pub"));
        if words.next() != Some("fn") || code.ends_with(['}', ';']) {
            continue;
        }
        let name: String = words
            .next()
            .unwrap_or_default()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let body = lines[first..].iter().take_while(|line| **line != end);
        let size =
            1 + body.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).count();
        if size > FUNCTION {
            found.push(format!("{file}: fn {name}: {size} lines, {FUNCTION} are allowed"));
        }
    }
    found
}

fn module_of(file: &str) -> &str {
    file.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs")
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}
