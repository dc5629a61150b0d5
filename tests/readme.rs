//! Every command of the README and of docs/ is run, in the order in which somebody follows the document: daemons have to
//! say that they are ready and stop when told to, players have to play, the others have to end well.

#[path = "readme/blocks.rs"]
mod blocks;
#[path = "common/browser.rs"]
mod browser;
mod common;
#[path = "readme/programs.rs"]
mod programs;
#[path = "readme/stage.rs"]
mod stage;

use std::path::Path;

use blocks::blocks;
use stage::Stage;

/// What is not run here, and why.
const NOT_RUN: [(&str, &str); 13] = [
    ("tests/run", "this test is a part of it"),
    ("sudo apt install git build-essential rustup", "installs into this machine"),
    ("rustup default stable", "changes the Rust of this machine"),
    (
        "cargo run --release -- demo --keep",
        "goes on until it is ended by hand; tests/viewer.rs starts, plays and ends it",
    ),
    ("cargo install --locked --path .", "builds everything again, in release, for minutes"),
    ("cargo install cargo-deb", "builds another program, for minutes"),
    ("systemd/debian/build", "builds everything again, for release, for minutes"),
    ("sudo apt install ./target/debian/paceline_*.deb", "installs into this machine"),
    (
        "sudo systemd-run --pipe --property EnvironmentFile=/etc/paceline/paceline.env paceline check",
        "speaks to this machine's service manager; tests/package/guest runs it",
    ),
    (
        "sudo systemctl enable --now paceline.socket",
        "speaks to this machine's service manager; tests/sockets.rs hands sockets over",
    ),
    (
        "journalctl -u paceline PACELINE_STREAM=https://origin.example/live/master.m3u8",
        "reads this machine's journal; tests/service.rs reads what is sent there",
    ),
    (
        "cargo bench --bench pictures",
        "draws for minutes; tests/documents.rs holds the pictures against the scenarios",
    ),
    (
        "cargo bench --bench pictures -- efficiency --up-to 440000",
        "simulates 440,000 viewers: minutes and gigabytes",
    ),
];

const DOCUMENTS: [&str; 6] =
    ["README.md", "docs/api.md", "docs/faq.md", "docs/players.md", "docs/publishers.md", "docs/reload.md"];

fn follow(document: &str) {
    let skipped: Vec<&str> = NOT_RUN.iter().map(|(line, _)| *line).collect();
    let mut stage = Stage::set();
    for block in blocks(document) {
        stage.follow(&block, &skipped);
    }
    stage.clear();
}

#[test]
fn the_readme() {
    follow("README.md");
}

#[test]
fn what_programs_ask() {
    follow("docs/api.md");
}

#[test]
fn the_questions() {
    follow("docs/faq.md");
}

#[test]
fn the_lines_for_players() {
    follow("docs/players.md");
}

#[test]
fn the_steps_of_publishers() {
    follow("docs/publishers.md");
}

#[test]
fn the_keys_of_a_reload() {
    follow("docs/reload.md");
}

#[test]
fn every_document_is_followed_and_nothing_is_left_out_that_is_not_there() {
    let mut there: Vec<String> = std::fs::read_dir("docs")
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| Path::new(path).extension().is_some_and(|kind| kind == "md"))
        .chain(["README.md".to_owned()])
        .collect();
    there.sort();
    assert_eq!(there, DOCUMENTS, "each document has a test of its own");
    let all: Vec<_> = DOCUMENTS.iter().flat_map(|document| blocks(document)).collect();
    for (line, why) in NOT_RUN {
        let named = all.iter().any(|block| block.language == "sh" && block.commands().any(|is| is == line));
        assert!(named, "`{line}` ({why}) is in no document any more");
    }
}
