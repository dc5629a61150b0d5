//! What a user sees: at the default level where to point a player, streams joined and left, and warnings that say what
//! to do.
//!
//! A message is a sentence that stands by itself. Under systemd it goes to the journal with its level as priority and
//! what it speaks of as fields (`PACELINE_STREAM`, `PACELINE_TRACKER`, …); elsewhere the sentence goes to standard error.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing_journald::{Layer as Journal, Priority, PriorityMappings};
use tracing_subscriber::fmt::format::{DefaultFields, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::level::{BadLevel, filter};

/// Other people's crates are heard when something breaks, not otherwise.
const QUIET: [&str; 7] = ["webrtc", "rtc", "hyper", "hyper_util", "rustls", "tungstenite", "mio"];

/// Starts logging. A second call changes nothing.
///
/// # Errors
/// When `level` is neither a level nor a filter.
pub fn start(level: &str) -> Result<(), BadLevel> {
    let mut filter = filter(level)?;
    for name in QUIET {
        if !level.contains(name)
            && let Ok(directive) = format!("{name}=error").parse()
        {
            filter = filter.add_directive(directive);
        }
    }
    let searched = level.contains("debug") || level.contains("trace");
    let output = journal().map_or_else(|| standard_error(searched), |journal| journal.boxed());
    let _ = tracing_subscriber::registry().with(output).with(filter).try_init();
    Ok(())
}

/// Lines on standard error; only where a fault is `searched` with module and fields.
fn standard_error(searched: bool) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(searched);
    // The journal stamps each line itself.
    let stamped = std::env::var_os("JOURNAL_STREAM").is_none();
    let sentence = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        _ => Ok(()),
    });
    match (searched, stamped) {
        (true, true) => lines.fmt_fields(DefaultFields::new()).boxed(),
        (true, false) => lines.fmt_fields(DefaultFields::new()).without_time().boxed(),
        (false, true) => lines.fmt_fields(sentence).boxed(),
        (false, false) => lines.fmt_fields(sentence).without_time().boxed(),
    }
}

/// Says on standard error what somebody waits for there and the level hides. A journal has what its level lets through, and
/// nobody waits there.
pub fn aside(sentence: &str) {
    if !leads_to_the_journal() {
        // Whoever closed it does not want to hear it.
        let _ = writeln!(std::io::stderr(), "{sentence}");
    }
}

/// Whether standard error does (systemd.exec(5), `JOURNAL_STREAM`).
fn leads_to_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata());
    stderr.is_ok_and(|stderr| named == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// The journal, where standard error leads to it and it can be reached.
fn journal() -> Option<Journal> {
    if !leads_to_the_journal() {
        return None;
    }
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    Some(Journal::new().ok()?.with_field_prefix(Some("PACELINE".into())).with_priority_mappings(priorities))
}
