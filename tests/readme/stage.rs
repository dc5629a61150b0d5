//! A home for a document's commands: an origin on the air, a tracker, players without a screen, and free ports in the
//! place of those that the document names. Each line runs as it is written but for [`Stage::at_home`] and [`shortened`].

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use paceline::viewer::channel::{self, Channel};
use tokio::net::TcpListener;

use crate::blocks::{Block, parts};
use crate::browser::Page;
use crate::common::{PATIENCE, Process, free_port, get, until};
use crate::programs;

/// The seconds that a page has to play.
const PAGE_S: u32 = 3;

pub struct Stage {
    dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
    origin: Channel,
    tracker: (u16, Option<Process>),
    daemon: (u16, Option<Process>),
    page: Page,
    /// Something has played through the daemon that runs.
    played: bool,
    /// And since the tracker that runs was started.
    followed: bool,
}

/// A command that runs.
struct Running {
    at: String,
    program: String,
    arguments: Vec<String>,
    process: Process,
    out: PathBuf,
}

impl Stage {
    pub fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // VLC runs as somebody else, by a name that is in here.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = channel::Options { window: 10, ..channel::Options::default() };
        let origin = runtime.block_on(async {
            Channel::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), options).unwrap()
        });
        programs::install(&dir.path().join("bin"));
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(dir.path().join("tracker.pem"), certified.cert.pem()).unwrap();
        std::fs::write(dir.path().join("tracker.key"), certified.signing_key.serialize_pem()).unwrap();
        // The README says to copy it.
        std::fs::copy("config.example.toml", dir.path().join("paceline.toml")).unwrap();
        let (tracker, daemon) = ((free_port(), None), (free_port(), None));
        let page = Page::new();
        let mut stage =
            Self { dir, _runtime: runtime, origin, tracker, daemon, page, played: false, followed: false };
        stage.tracker("a tracker to begin with", "paceline tracker --listen 0.0.0.0:7224");
        stage
    }

    /// Text of a document with its hosts and ports here.
    fn at_home(&self, text: &str) -> String {
        let (tracker, daemon) =
            (format!("127.0.0.1:{}", self.tracker.0), format!("127.0.0.1:{}", self.daemon.0));
        let dir = self.dir.path().display();
        text.replace("https://origin.example/live/master.m3u8", &self.origin.url())
            .replace("http://origin.example/live/master.m3u8", &self.origin.url())
            .replace("tracker.example:7224", &tracker)
            .replace("127.0.0.1:7224", &tracker)
            .replace("0.0.0.0:7224", &tracker)
            .replace("127.0.0.1:7223", &daemon)
            .replace("https://player.example", &self.page.origin())
            .replace("/etc/paceline/", &format!("{dir}/"))
    }

    fn spawn(&self, name: &str, line: &str, variables: &[(String, String)]) -> (Process, PathBuf) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let out = self.dir.path().join(format!("out.{number}"));
        // What is started is what is waited for and ended: the shell becomes it.
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("exec env {line} >{}", out.display()));
        let path = std::env::var("PATH").unwrap();
        command.current_dir(self.dir.path()).env("HOME", self.dir.path());
        command.env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()));
        for name in ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
            command.env_remove(name);
        }
        command.env("SSL_CERT_FILE", self.dir.path().join("tracker.pem"));
        command.env("PACELINE_PROXY_LISTEN", format!("127.0.0.1:{}", self.daemon.0));
        command.env("PACELINE_TRACKER_SERVER_LISTEN", format!("127.0.0.1:{}", self.tracker.0));
        if !line.contains("--config") {
            command.env("PACELINE_CHANNELS_NEWS", self.origin.url());
        }
        command.envs(variables.iter().cloned());
        (Process::spawn(name, &mut command), out)
    }

    /// Ends what runs and starts what the document says, which has to say that it is ready.
    fn tracker(&mut self, at: &str, line: &str) {
        self.tracker.1.take().into_iter().for_each(end);
        let (mut process, _) = self.spawn(at, &self.at_home(line), &[]);
        ready(at, &mut process, "tracker ready");
        self.tracker.1 = Some(process);
        self.followed = false;
    }

    fn daemon(&mut self, at: &str, line: &str, variables: &[(String, String)]) {
        self.daemon.1.take().into_iter().for_each(end);
        let (mut process, _) = self.spawn(at, &self.at_home(line), variables);
        ready(at, &mut process, &format!("ready: point a player at http://127.0.0.1:{}/", self.daemon.0));
        let address = ([127, 0, 0, 1], self.daemon.0).into();
        let health = get(address, "/-/health").unwrap();
        assert_eq!(health.status, 200, "{at}: `{line}`");
        self.daemon.1 = Some(process);
        (self.played, self.followed) = (false, false);
    }

    /// Follows a block; `skipped` are the commands that can't be run here.
    pub fn follow(&mut self, block: &Block, skipped: &[&str]) {
        match block.language.as_str() {
            "sh" => self.run(block, skipped),
            "toml" => {
                std::fs::write(self.dir.path().join("paceline.toml"), self.at_home(&block.text)).unwrap();
                self.finish(self.start(&block.at, "paceline serve --config paceline.toml --check"));
            }
            "ini" => self.service(block),
            "systemd" => self.drop_in(block),
            "html" => self.show(block),
            "text" => {}
            other => panic!("{}: nobody knows how to follow {other}", block.at),
        }
    }

    /// A page: the player that it names plays what it names, in Chromium, from the web origin that the document allows.
    fn show(&self, block: &Block) {
        let text = self.at_home(&block.text);
        let url = text.split("loadSource('").nth(1).and_then(|rest| rest.split('\'').next());
        let url = url.unwrap_or_else(|| panic!("{}: the page loads nothing that hls.js knows", block.at));
        let seconds = PAGE_S.to_string();
        let playing = self.page.start("hls.js", url, &["--seconds", &seconds], PATIENCE);
        let (good, report) = playing.report();
        assert!(good && report["played_s"].as_f64() >= Some(f64::from(PAGE_S)), "{}: {report:#}", block.at);
    }

    /// An environment file: what its unit would start with it.
    fn service(&mut self, block: &Block) {
        let variables: Vec<_> = self
            .at_home(&block.text)
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.split_once('=').unwrap_or_else(|| panic!("{}: {line}", block.at)))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.daemon(&block.at, "paceline serve", &variables);
    }

    /// What is added to the tracker's unit, or to the daemon's socket: systemd knows all of it.
    fn drop_in(&self, block: &Block) {
        let units: &[&str] = match block.text.starts_with("[Socket]") {
            true => &["paceline.socket", "paceline.service"],
            false => &["paceline-tracker.service"],
        };
        for unit in units {
            let text = std::fs::read_to_string(Path::new("systemd").join(unit)).unwrap();
            let text = text.replace("/usr/bin/paceline", env!("CARGO_BIN_EXE_paceline"));
            std::fs::write(self.dir.path().join(unit), text).unwrap();
        }
        let unit = self.dir.path().join(units[0]);
        let folder = self.dir.path().join(format!("{}.d", units[0]));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("override.conf"), &block.text).unwrap();
        let mut command = Command::new("systemd-analyze");
        let said = command.args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        let complaints = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success() && !complaints.contains("Unknown"), "{}: {complaints}", block.at);
    }

    /// Programs that take their time begin together and are waited for at the end of the block; the others run in turn.
    fn run(&mut self, block: &Block, skipped: &[&str]) {
        let mut together = Vec::new();
        for line in block.commands().filter(|line| !skipped.contains(line)) {
            let line = line
                .strip_prefix("cargo run --release -- ")
                .map_or(line.to_owned(), |of| format!("paceline {of}"));
            let (_, program, arguments) = parts(&line);
            let checked = arguments.contains(&"--check");
            match (program, arguments.first().copied()) {
                ("paceline", Some("serve")) if !checked => self.daemon(&block.at, &line, &[]),
                ("paceline", Some("tracker")) => self.tracker(&block.at, &line),
                ("paceline", Some("demo" | "watch" | "simulate")) => {
                    self.needs_daemon(&line);
                    together.push(self.start(&block.at, &shortened(&line)));
                }
                ("vlc" | "ffplay" | "mpv", _)
                    if line.contains("http_proxy") || line.contains("http-proxy") =>
                {
                    self.needs_daemon(&line);
                    self.await_all(&mut together);
                    self.proxied(self.start(&block.at, &line));
                }
                ("vlc" | "ffplay" | "mpv", _) => {
                    self.needs_daemon(&line);
                    together.push(self.start(&block.at, &line));
                }
                ("curl", _) if self.followed && line.ends_with("/stats") && line.contains(":7224/") => {
                    until(&format!("{}: the tracker has heard of a viewer", block.at), || {
                        let said = self.finish(self.start(&block.at, &line));
                        let stats: serde_json::Value = serde_json::from_str(&said).unwrap();
                        (stats["announces"].as_u64() > Some(0)).then_some(())
                    });
                }
                ("curl", _) if line.ends_with("/events") => {
                    self.needs_daemon(&line);
                    self.hear(self.start(&block.at, &line));
                }
                ("paceline" | "curl", _) => {
                    self.needs_daemon(&line);
                    self.finish(self.start(&block.at, &line));
                }
                _ => panic!("{}: `{line}` is neither run nor listed with a reason", block.at),
            }
        }
        self.await_all(&mut together);
    }

    fn await_all(&mut self, together: &mut Vec<Running>) {
        for running in together.drain(..) {
            let through = format!(":{}", self.daemon.0);
            let played = running.arguments.iter().any(|word| word.contains(&through));
            self.finish(running);
            self.played |= played;
            self.followed |= played;
        }
    }

    /// A player that is given a proxy and overlooks it would play as well: the daemon has to have served it.
    fn proxied(&mut self, player: Running) {
        let address = ([127, 0, 0, 1], self.daemon.0).into();
        let served = || {
            let stats: serde_json::Value =
                serde_json::from_slice(&get(address, "/-/stats").unwrap().body).unwrap();
            stats["totals"]["served_bytes"].as_u64().unwrap()
        };
        let (at, before) = (player.at.clone(), served());
        self.finish(player);
        assert!(served() > before, "{at} plays past the daemon");
    }

    /// A section that begins with a daemon running is one that somebody reads who has started it.
    fn needs_daemon(&mut self, line: &str) {
        let (_, program, arguments) = parts(line);
        let steered =
            program == "paceline" && matches!(arguments.first(), Some(&("stats" | "p2p" | "upload")));
        if self.daemon.1.is_none() && (steered || line.contains("127.0.0.1:7223")) {
            self.daemon("a daemon to begin with", "paceline serve --tracker ws://tracker.example:7224/", &[]);
        }
    }

    fn start(&self, at: &str, line: &str) -> Running {
        let mut line = self.at_home(line);
        let (_, program, arguments) = parts(&line);
        let program = program.to_owned();
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        if matches!(arguments.first().map(String::as_str), Some("stats" | "p2p" | "upload")) {
            // What these ask when nothing is said is the port that the daemon would have.
            line += &format!(" --via 127.0.0.1:{}", self.daemon.0);
        }
        if program == "curl" {
            // To curl a refusal is an answer as any other.
            line += " --fail";
        }
        let at = format!("{at}: `{line}`");
        let (process, out) = self.spawn(&at, &line, &[]);
        Running { at, program, arguments, process, out }
    }

    /// Events go on for as long as somebody listens: one is enough.
    fn hear(&self, mut of: Running) {
        until(&format!("{}: an event of statistics", of.at), || {
            assert!(of.process.running(), "{} ended:\n{}", of.at, of.process.log());
            std::fs::read_to_string(&of.out).unwrap_or_default().contains("event: stats\n").then_some(())
        });
        of.process.signal("-TERM");
        of.process.wait(PATIENCE);
    }

    /// Waits until it has done what it is for, and answers what it wrote.
    fn finish(&self, mut of: Running) -> String {
        if programs::plays(&of.program, &of.process.log()).is_some() {
            until(&format!("{} plays", of.at), || {
                assert!(of.process.running(), "{} ended:\n{}", of.at, of.process.log());
                (programs::plays(&of.program, &of.process.log()) == Some(true)).then_some(())
            });
            of.process.signal("-TERM");
            of.process.wait(PATIENCE);
            return String::new();
        }
        let good = of.process.wait(PATIENCE);
        let (log, said) = (of.process.log(), std::fs::read_to_string(&of.out).unwrap_or_default());
        assert!(good, "{} failed:\n{said}\n{log}", of.at);
        let has = |word: &str| of.arguments.iter().any(|argument| argument == word);
        match of.program.as_str() {
            "mpv" => assert!(
                said.contains("VO: [null]") && said.contains("(End of file)"),
                "{}:\n{said}\n{log}",
                of.at
            ),
            _ => {
                assert!(!said.trim().is_empty() || has("man"), "{} says nothing:\n{log}", of.at);
                if has("--json") {
                    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
                    assert!(!has("watch") || document["bytes"].as_u64() > Some(0), "{}: {document:#}", of.at);
                }
                let shown = !has("stats") || !self.played || said.contains("/live/index.m3u8");
                assert!(shown, "{} shows nothing of what played:\n{said}", of.at);
                let page = of.arguments.iter().any(|word| word.contains(&self.page.origin()));
                let field = format!("access-control-allow-origin: {}", self.page.origin());
                let allowed = !page || said.to_lowercase().contains(&field);
                assert!(allowed, "{}: the page may not play:\n{said}", of.at);
            }
        }
        said
    }

    /// The end of a document: daemon and tracker stop when they are told to.
    pub fn clear(mut self) {
        self.daemon.1.take().into_iter().chain(self.tracker.1.take()).for_each(end);
    }
}

fn ready(at: &str, process: &mut Process, says: &str) {
    until(&format!("{at}: {says}"), || {
        let running = process.running();
        let said = process.log().contains(says);
        assert!(said || running, "{at} ended:\n{}", process.log());
        said.then_some(())
    });
}

fn end(mut process: Process) {
    process.signal("-TERM");
    assert!(process.wait(PATIENCE), "{}", process.log());
}

/// The same for fewer viewers and a few seconds: what takes minutes, or all cores, is tested for its figures elsewhere.
fn shortened(line: &str) -> String {
    let (_, program, arguments) = parts(line);
    let most: &[(&str, u64)] = match (program, arguments.first().copied()) {
        ("paceline", Some("demo")) => &[("--viewers", 2), ("--seconds", 5)],
        ("paceline", Some("watch")) => &[("--seconds", 4)],
        ("paceline", Some("simulate")) if !line.contains("--list") => &[("--viewers", 40), ("--seconds", 10)],
        _ => &[],
    };
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for (flag, most) in most {
        match words.iter().position(|word| word == flag) {
            Some(at) => words[at + 1] = words[at + 1].parse::<u64>().unwrap().min(*most).to_string(),
            None => words.extend([(*flag).to_owned(), most.to_string()]),
        }
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}
