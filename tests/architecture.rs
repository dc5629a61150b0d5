//! The laws of the house, held over the sources: arrows, purity, sizes, names.

use std::path::{Path, PathBuf};

/// Top-level modules in the order in which a request meets them. An import may only point to the right.
const ORDER: [&str; 11] = [
    "cli",
    "config",
    "simulator",
    "viewer",
    "proxy",
    "tracker",
    "engine",
    "delivery",
    "manifest",
    "wire",
    "model",
];
/// Imports that point to the right and are not allowed all the same.
const FORBIDDEN: [(&str, &str); 9] = [
    ("simulator", "engine"),
    ("simulator", "proxy"),
    ("viewer", "proxy"),
    ("viewer", "engine"),
    ("proxy", "wire"),
    ("proxy", "tracker"),
    ("tracker", "engine"),
    ("tracker", "delivery"),
    ("engine", "manifest"),
];
/// Files and folders without tasks, sockets, files, clocks and chance of their own.
const PURE: [&str; 12] = [
    "src/model/",
    "src/wire/",
    "src/manifest/",
    "src/delivery/",
    "src/simulator/",
    "src/tracker/swarms.rs",
    "src/viewer/playout.rs",
    "src/viewer/picture.rs",
    "src/viewer/ts.rs",
    "src/engine/filter.rs",
    "src/engine/memory.rs",
    "src/proxy/address.rs",
];
const IMPURE: [&str; 14] = [
    "tokio::",
    "async fn",
    ".await",
    "Instant::now",
    "SystemTime",
    "std::net::Tcp",
    "std::net::Udp",
    "std::fs",
    "std::thread",
    "std::env",
    "thread_rng",
    "rand::rng",
    "getrandom",
    "HashMap",
];
/// Heads of modules that hold the lints which see what this test can't.
const DENY: &str =
    "#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]";
const NAMES: [&str; 6] = ["prelude", "utils", "util", "common", "types", "helpers"];
const LONGEST: usize = 800;
const DOOR: usize = 400;

#[test]
fn the_sources_keep_the_laws() {
    let mut broken = Vec::new();
    let mut sizes = Vec::new();
    for file in sources(Path::new("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        sizes.push(text.lines().count());
        broken.extend(violations(&file.display().to_string(), &text));
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
        ("src/proxy/utils.rs", "", "says nothing"),
        ("src/engine/x.rs", "const A: Duration = Duration::from_secs(1);", "policy"),
        ("src/model/mod.rs", "//! No lints.", "lints"),
    ] {
        let found = violations(file, text);
        assert!(found.iter().any(|v| v.contains(word)), "{file}: {text:?} gave {found:?}");
    }
    assert!(!too_long("src/x.rs", &"x\n".repeat(LONGEST + 1)).is_empty());
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
    let module = module_of(file);
    let pure = PURE.iter().any(|place| file.starts_with(place));
    let stem = file.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    if NAMES.contains(&stem) {
        found.push(format!("{file}: `{stem}` says nothing about what is in it"));
    }
    let twin = file.trim_end_matches(".rs");
    if file != "src/lib.rs" && Path::new(twin).is_dir() {
        found.push(format!("{file}: stands beside its folder; it belongs into {twin}/mod.rs"));
    }
    let head = matches!(
        file,
        "src/model/mod.rs" | "src/wire/mod.rs" | "src/manifest/mod.rs" | "src/delivery/mod.rs"
    );
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
        let target: String = target.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let (Some(from), Some(to)) = (rank(module), rank(&target)) else { continue };
        if from > to || FORBIDDEN.contains(&(module, target.as_str())) {
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

fn module_of(file: &str) -> &str {
    file.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs")
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}
