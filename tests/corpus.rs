//! What `tests/fuzz` has found worth keeping, told once more to the same checks: no fuzzer is needed for this.

#[path = "fuzz/targets/hls.rs"]
mod hls;
#[path = "fuzz/targets/mpd.rs"]
mod mpd;
#[path = "fuzz/targets/node.rs"]
mod node;
#[path = "fuzz/targets/tracker.rs"]
mod tracker;
#[path = "fuzz/targets/wire.rs"]
mod wire;

use std::path::Path;

/// A target: its name, which is also its folder's, and what it checks.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 5] = [
    ("hls", hls::check),
    ("mpd", mpd::check),
    ("node", node::check),
    ("tracker", tracker::check),
    ("wire", wire::check),
];

#[test]
fn what_was_found_once_holds() {
    for (name, check) in TARGETS {
        let folder = Path::new("tests/fuzz/corpus").join(name);
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "nothing to begin with for {name}");
        for file in files {
            // Printed only if the check panics.
            println!("{}", file.display());
            check(&std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_is_replayed() {
    let mut targets: Vec<_> =
        std::fs::read_dir("tests/fuzz/targets").unwrap().collect::<Result<_, _>>().unwrap();
    targets.sort_by_key(std::fs::DirEntry::file_name);
    let names = targets.iter().map(|file| file.path().file_stem().unwrap().to_str().unwrap().to_owned());
    assert_eq!(names.collect::<Vec<_>>(), TARGETS.map(|(name, _)| name));
}
