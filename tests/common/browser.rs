//! A player in headless Chromium as a process; see `tests/browser/play.mjs`.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Process, free_port};

const CHROMIUM: &str = "/usr/bin/chromium";
/// What Chromium may take to start and to end, besides playing, on a loaded machine.
const AROUND: Duration = Duration::from_secs(40);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// The players from npm, once, and again when others are asked for.
pub fn install() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        assert!(Path::new(CHROMIUM).exists(), "{CHROMIUM} is missing: apt-get install chromium");
        let written = |path: &str| folder().join(path).metadata().and_then(|file| file.modified()).ok();
        // npm writes this file last, so a folder that has it is whole.
        if written("node_modules/.package-lock.json") >= written("package-lock.json") {
            return;
        }
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder())
            .output();
        let npm = npm
            .unwrap_or_else(|error| panic!("npm could not be started ({error}): apt-get install nodejs npm"));
        assert!(
            npm.status.success(),
            "npm ci in {}, which needs the npm registry once: {}",
            folder().display(),
            String::from_utf8_lossy(&npm.stderr)
        );
    });
}

/// Starts one of the scripts in `tests/browser`; what it and Chromium write is in the folder.
pub fn script(name: &str, args: &[&str]) -> (Process, tempfile::TempDir) {
    install();
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("node");
    command.arg(folder().join(name)).args(["--chromium", CHROMIUM]).args(args);
    // Chromium's profile goes even if the script is killed.
    command.env("TMPDIR", dir.path());
    (Process::spawn(name, &mut command), dir)
}

/// A page on a port of its own.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    port: u16,
}

impl Page {
    pub fn new() -> Self {
        Self { port: free_port() }
    }

    /// The web origin that the daemon and the origin see.
    pub fn origin(self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts a player ("hls.js" or "dash.js") with further options of `play.mjs`.
    pub fn start(self, player: &str, url: &str, options: &[&str], limit: Duration) -> Playing {
        Self::start_together(player, &[(self, url, None)], options, limit)
    }

    /// Starts several, each with its address and the forward proxy that it asks, in one browser: four of them are less work
    /// for the machine than two with a browser each.
    pub fn start_together(
        player: &str,
        pages: &[(Self, &str, Option<&str>)],
        options: &[&str],
        limit: Duration,
    ) -> Playing {
        let most = limit.as_secs().to_string();
        let ports: Vec<_> = pages.iter().map(|(page, ..)| page.port.to_string()).collect();
        let mut args = vec!["--player", player, "--limit", &most];
        for ((_, url, proxy), port) in pages.iter().zip(&ports) {
            args.extend(["--url", url, "--page-port", port]);
            if pages.len() > 1 || proxy.is_some() {
                args.extend(["--proxy", proxy.unwrap_or_default()]);
            }
        }
        args.extend(options);
        let (process, dir) = script("play.mjs", &args);
        Playing { process, limit, dir }
    }

    /// Plays, and reports how that went.
    pub fn play(self, player: &str, url: &str, options: &[&str]) -> Value {
        self.start(player, url, options, Duration::from_secs(120)).report().1
    }
}

/// What it reports as errors. That it stood still is none: see [`dry`] for when it did for want of media. hls.js says the
/// same of a page that has all of a recording loaded, and a machine that is too busy to decode it.
pub fn errors(report: &Value) -> Vec<&Value> {
    let remarks = ["bufferStalledError", "bufferNudgeOnStall", "bufferSeekOverHole"];
    let is_remark = |error: &&Value| {
        let details = error["details"].as_str().unwrap_or_default();
        error["fatal"] != true && remarks.iter().any(|remark| details.ends_with(remark))
    };
    report["errors"].as_array().unwrap().iter().filter(|error| !is_remark(error)).collect()
}

/// How often it stood still because nothing more was loaded.
pub fn dry(report: &Value) -> u64 {
    report["dry_stalls"].as_u64().unwrap()
}

/// A player that plays. It ends when dropped, and Chromium with it.
pub struct Playing {
    pub process: Process,
    limit: Duration,
    dir: tempfile::TempDir,
}

impl Playing {
    /// Where all that it writes is; Chromium's command line names it.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Waits for the end: whether it played as asked, and its report.
    pub fn report(self) -> (bool, Value) {
        let (good, mut reports) = self.reports();
        (good, reports.pop().unwrap())
    }

    /// The same of several, in the order in which they were started.
    pub fn reports(mut self) -> (bool, Vec<Value>) {
        let good = self.process.wait(self.limit + AROUND);
        let log = self.process.log();
        let reports = log.lines().filter(|line| line.starts_with('{'));
        let reports: Vec<_> = reports.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!reports.is_empty(), "the player reports nothing:\n{log}");
        (good, reports)
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        if self.process.running() {
            self.process.signal("-TERM");
            let began = Instant::now();
            while self.process.running() && began.elapsed() < AROUND {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
