//! The synthetic channel and the headless player, against ffmpeg and against each other.

mod common;

use std::process::Command;

use common::{Daemon, ffmpeg};
use paceline::viewer::channel::{Channel, Options};
use tokio::net::TcpListener;

async fn recording(segments: u64) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Channel::start(listener, Options { recording: Some(segments), ..Options::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_decodes_the_channel_without_a_complaint() {
    let channel = recording(3).await;
    let url = channel.url();
    let decoded = tempfile::NamedTempFile::new().unwrap();
    let path = decoded.path().display().to_string();
    let said = tokio::task::spawn_blocking(move || {
        ffmpeg(&["-v", "warning", "-y", "-i", &url, "-c", "copy", "-f", "framecrc", &path])
            + &ffmpeg(&["-v", "warning", "-i", &url, "-f", "null", "-"])
    });
    assert_eq!(said.await.unwrap().trim(), "");
    let text = std::fs::read_to_string(decoded.path()).unwrap();
    let stamps: Vec<i64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(',').nth(1).unwrap().trim().parse().unwrap())
        .collect();
    assert_eq!(stamps.len(), 60, "three segments of four seconds at five pictures a second");
    assert!(stamps.windows(2).all(|pair| pair[1] - pair[0] == stamps[1] - stamps[0]), "{stamps:?}");
    channel.stop().await;
}

fn watch(args: &[&str]) -> serde_json::Value {
    let output =
        Command::new(env!("CARGO_BIN_EXE_paceline")).arg("watch").args(args).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("exactly one JSON document")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_plays_in_real_time_and_gets_the_same_bytes_through_a_daemon() {
    let channel = recording(4).await;
    let (url, played) = (channel.url(), 16.0);
    let both = tokio::task::spawn_blocking(move || {
        let daemon = Daemon::start(&[], &[]);
        let via = daemon.address.to_string();
        std::thread::scope(|scope| {
            let direct = scope.spawn(|| watch(&[&url]));
            let through = scope.spawn(|| watch(&[&url, "--via", &via]));
            (direct.join().unwrap(), through.join().unwrap())
        })
    });
    let (direct, through) = both.await.unwrap();
    assert_eq!(direct["sha256"], through["sha256"]);
    for outcome in [&direct, &through] {
        assert_eq!((&outcome["segments"], &outcome["stalls"]), (&4.into(), &0.into()), "{outcome}");
        assert_eq!(outcome["played_s"].as_f64(), Some(played), "{outcome}");
        assert_eq!(outcome["ended"], true);
    }
    channel.stop().await;
}

#[test]
fn the_demo_sums_up_in_one_document() {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline"))
        .args(["demo", "--viewers", "3", "--seconds", "30", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let summary: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("exactly one JSON document");
    assert_eq!((&summary["viewers"], &summary["mismatches"]), (&3.into(), &0.into()), "{summary}");
    assert_eq!((&summary["stalls"], &summary["errors"]), (&0.into(), &0.into()), "{summary}");
    assert!(summary["p2p_bytes"].as_u64().unwrap() > 1_000_000, "{summary}");
    assert_eq!(summary["origin_bytes"], summary["http_bytes"], "both ends count the same");
    for key in [
        "peer_efficiency",
        "peer_efficiency_steady",
        "ceiling",
        "startup_ms_p50",
        "startup_ms_p99",
        "stall_ms",
    ] {
        assert!(summary[key].is_number(), "{key}");
    }
}
