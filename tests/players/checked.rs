//! `paceline check` of every stream that the players play: what it says of each is right.

use std::process::Command;

use serde_json::Value;

use crate::common::Nginx;
use crate::media::{self, DASH, HLS, OPEN, SECONDS, manifest};
use crate::recordings;

/// Exit status and the one document.
fn checked(url: &str) -> (Option<i32>, Value) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_paceline")).args(["check", "--json", url]).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn says(document: &Value, what: &str) -> bool {
    let findings = document["findings"].as_array().unwrap();
    findings.iter().any(|finding| finding["what"].as_str().unwrap().contains(what))
}

#[test]
fn recordings_are_fit() {
    let origin = Nginx::serve(recordings(), OPEN);
    for format in HLS.iter().chain(&DASH) {
        let (status, document) = checked(&origin.url(&format!("{format}/{}", manifest(format))));
        let what = format!("{format}: {document:#}");
        assert_eq!(
            (status, &document["fit"], document["kind"].as_str()),
            (Some(0), &true.into(), Some("vod")),
            "{what}"
        );
        let renditions = document["renditions"].as_array().unwrap();
        // Picture and sound are apart in DASH; in the one with variants two pictures are looked at, and one sound or two.
        let expected = match *format {
            "variants" => 2..5,
            format if DASH.contains(&format) => 2..3,
            _ => 1..2,
        };
        assert!(expected.contains(&renditions.len()), "{what}");
        for one in renditions {
            let (window, segments) = (one["window_s"].as_f64().unwrap(), one["segments"].as_u64().unwrap());
            assert!((window - f64::from(SECONDS)).abs() < 2.1 && (4..=6).contains(&segments), "{what}");
            assert_eq!(one["same_urls"], true, "{what}");
        }
        // Segments of up to three renditions are loaded, those of more are taken for the like.
        let same = renditions.iter().filter(|one| one["same_bytes"] == true).count();
        assert_eq!(same, renditions.len().min(3), "{what}");
        assert_eq!(says(&document, "encrypted: AES-128"), *format == "aes", "{what}");
        assert_eq!(says(&document, "not encrypted"), *format != "aes", "{what}");
        assert!(says(&document, "the origin answers Range requests"), "{what}");
    }
}

#[test]
fn growing_streams_are_known_as_such() {
    for (format, kind) in
        [("live", "live"), ("event", "event"), ("live-number", "live"), ("live-timeline", "live")]
    {
        let dir = tempfile::tempdir().unwrap();
        let origin = Nginx::serve(dir.path(), OPEN);
        let _writer = media::growing(dir.path(), format, 60);
        let (status, document) = checked(&origin.url(manifest(format)));
        let what = format!("{format}: {document:#}");
        // A window of some seconds is short, and no reason not to share; an EVENT keeps all that it ever had.
        assert_eq!(
            (status, &document["fit"], document["kind"].as_str()),
            (Some(0), &true.into(), Some(kind)),
            "{what}"
        );
        let short = document["findings"].as_array().unwrap().iter().any(|finding| {
            finding["severity"] == "advice" && finding["advice"].as_str().unwrap().contains("30 s")
        });
        assert_eq!(short, kind == "live", "{what}");
        assert!(
            document["renditions"].as_array().unwrap().iter().all(|one| one["same_urls"] == true),
            "{what}"
        );
    }
}
