//! The commands in the blocks of the README and of docs/ are run, in the order in which somebody follows the document: daemons
//! have to say that they are ready and stop when told to, players have to play, the others have to end well. What is not run,
//! and whatever else has to be typed and stands within a sentence, is listed with its reason.

#[path = "readme/blocks.rs"]
mod blocks;
#[path = "common/browser.rs"]
mod browser;
mod common;
#[path = "readme/programs.rs"]
mod programs;
#[path = "readme/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::path::Path;

use blocks::{blocks, inline};
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

/// Commands within a sentence, none of which is run, and why.
const WITHIN: [(&str, &str); 19] = [
    ("sudo apt install vlc", "installs into this machine"),
    ("export PATH=$PATH:~/.cargo/bin", "changes a shell that is nobody's here"),
    ("tests/package/run", "boots a machine of its own, for minutes"),
    ("man -l target/man/paceline.1", "tests/manual.rs shows every page that way"),
    ("cargo bench --bench proxy", "measures for minutes"),
    ("cargo bench --bench soak", "goes on for an hour"),
    (
        "rustup target add x86_64-unknown-linux-musl",
        "changes the Rust of this machine; the text says that it is untested",
    ),
    (
        "rustup target add aarch64-unknown-linux-gnu",
        "changes the Rust of this machine; the text says that it is untested",
    ),
    (
        "cargo build --release --locked --target x86_64-unknown-linux-musl",
        "builds everything again; the text says that it is untested",
    ),
    (
        "cargo build --release --locked --target aarch64-unknown-linux-gnu",
        "builds everything again; the text says that it is untested",
    ),
    ("export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc", "of the same build"),
    ("chgrp ssl-cert", "changes files of this machine"),
    ("chmod 640", "changes files of this machine"),
    ("systemctl edit paceline.socket", "asks for an editor"),
    ("systemctl edit paceline-tracker", "asks for an editor"),
    ("systemctl restart paceline", "speaks to this machine's service manager; tests/package/guest runs it"),
    ("systemctl reload paceline", "speaks to this machine's service manager; tests/package/guest runs it"),
    ("systemctl reload paceline-tracker", "as the one before; tests/service.rs sends the signal"),
    ("systemctl restart paceline.socket", "speaks to this machine's service manager"),
];

/// What commands begin with that a sentence may hold, so that one is not overlooked. Names of files of tests are none.
const PROGRAMS: [&str; 10] =
    ["cargo", "rustup", "systemctl", "sudo", "apt", "man", "chgrp", "chmod", "export", "tests/"];

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

/// The commands that stand within the sentences of a document.
fn within(document: &str) -> Vec<String> {
    let is_command = |code: &String| {
        let first = code.split(' ').next().unwrap_or_default();
        let file =
            first.starts_with("tests/") && Path::new(first).extension().is_none_or(|kind| kind != "rs");
        file || PROGRAMS.contains(&first) && code.contains(' ')
    };
    inline(document).into_iter().filter(is_command).collect()
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
    let inline: BTreeSet<String> = DOCUMENTS.iter().flat_map(|document| within(document)).collect();
    let named: BTreeSet<String> = WITHIN.iter().map(|(line, _)| (*line).to_owned()).collect();
    assert_eq!(inline, named, "what is typed and not run has its reason, and nothing else has one");
    let all: Vec<_> = DOCUMENTS.iter().flat_map(|document| blocks(document)).collect();
    for (line, why) in NOT_RUN {
        let named = all.iter().any(|block| block.language == "sh" && block.commands().any(|is| is == line));
        assert!(named, "`{line}` ({why}) is in no document any more");
    }
}
