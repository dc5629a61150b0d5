//! What is steered while a daemon runs, by command line and by `/-/p2p`: budgets, channels, what is kept over a restart, and
//! what a metered connection does by itself.

mod common;
#[path = "common/scripted.rs"]
mod scripted;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{
    Daemon, Nginx, PATIENCE, Process, Tracker, complaints, get, live, player, raw, recording, until,
};
use scripted::{Scripted, respond};
use serde_json::Value;

/// Runs `paceline` against a daemon and answers its line.
fn paceline(daemon: &Daemon, args: &[&str]) -> String {
    let via = daemon.address.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let said = command.args(args).args(["--via", &via]).output().unwrap();
    assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// What `paceline upload` complains of.
fn warned(daemon: &Daemon, args: &[&str]) -> String {
    let via = daemon.address.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let said = command.arg("upload").args(args).args(["--via", &via]).output().unwrap();
    assert!(said.status.success(), "{args:?}");
    String::from_utf8(said.stderr).unwrap()
}

fn post(daemon: &Daemon, change: &str) -> (u16, Value) {
    let (host, length) = (daemon.address, change.len());
    let head = format!(
        "POST /-/p2p HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nContent-Type: application/json\r\n\
         X-Paceline: 1\r\n\r\n"
    );
    let reply = raw(host, &format!("{head}{change}")).unwrap();
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
}

fn stop(mut daemon: Daemon) -> String {
    daemon.process.signal("-TERM");
    assert!(daemon.process.wait(PATIENCE), "{}", daemon.process.log());
    daemon.process.log()
}

#[test]
fn a_spent_budget_ends_uploads_until_there_is_more_and_what_was_spent_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json").display().to_string();
    let media = dir.path().join("media");
    std::fs::create_dir(&media).unwrap();
    recording(&media, 400, &[]);
    let origin = Nginx::serve(&media, "");
    let (tracker, url) = (Tracker::start(), origin.url("index.m3u8"));
    let kept = [("PACELINE_P2P_STATE", state.as_str()), ("PACELINE_P2P_UPLOAD_DAILY", "600kB")];
    let gives = Daemon::start(&["--tracker", &tracker.url()], &kept);
    let takes = Daemon::with_tracker(&tracker.url());
    let mut first = player(&gives.prefix(&url), 400, &[]);
    until("the first viewer is ahead", || (gives.total("http_bytes") > 1_500_000).then_some(()));
    let mut second = player(&takes.prefix(&url), 400, &[]);

    let withheld =
        until("the budget is spent", || gives.stats()["upload_withheld"].as_str().map(str::to_owned));
    assert!(withheld.starts_with("the daily upload budget of 0.6 MB is spent until 2"), "{withheld}");
    let stats = gives.stats();
    assert_eq!(stats["upload"], false);
    let used = stats["upload_budget"]["daily"]["used_bytes"].as_u64().filter(|&used| used > 0).unwrap();
    let used = format!("\npaceline_upload_budget_used_bytes{{period=\"daily\"}} {used}\n");
    let metrics = get(gives.address, "/-/metrics").unwrap().text();
    assert!(metrics.contains(&used), "no {used} in {metrics}");
    let given = gives.total("uploaded_bytes");
    assert!(0 < given && given <= 600_000, "{given} bytes of 600,000");
    let before = takes.total("http_bytes");
    until("the other goes on without it", || (takes.total("http_bytes") > before + 300_000).then_some(()));
    assert_eq!(gives.total("uploaded_bytes"), given, "nothing is uploaded any more");
    let said = paceline(&gives, &["upload"]);
    assert!(said.starts_with("upload auto (not now: the daily upload budget"), "{said}");
    assert!(paceline(&gives, &["stats"]).contains("daily upload budget 0.6 MB: "), "the table tells it, too");

    assert_eq!(paceline(&gives, &["p2p", "on"]), "p2p on");
    assert!(paceline(&takes, &["stats"]).contains(" segments: "), "why they came as they did");
    assert_eq!(gives.stats()["upload_withheld"], withheld, "other switches do not touch it");

    let said = paceline(&gives, &["upload", "--daily", "1GB", "--monthly", "20GB"]);
    assert_eq!(said, "upload auto, no limit, 1.0 GB a day, 20.0 GB a month");
    assert_eq!(gives.stats()["upload_withheld"], Value::Null);
    let more = until("uploads go on", || Some(gives.total("uploaded_bytes")).filter(|&bytes| bytes > given));
    for player in [&mut first, &mut second] {
        assert!(player.running(), "a player ended:\n{}", player.log());
        assert_eq!(complaints(&player.log()), Vec::<&str>::new(), "budgets are not seen by a player");
    }
    drop((first, second));
    assert_eq!(paceline(&gives, &["p2p", "off"]), "p2p off");
    stop(gives);
    let again = Daemon::start(&["--tracker", &tracker.url()], &kept);
    let stats = again.stats();
    assert_eq!(stats["p2p"], false, "what was switched is kept");
    let daily = &stats["upload_budget"]["daily"];
    assert_eq!(daily["limit_bytes"], 1_000_000_000);
    assert!(daily["used_bytes"].as_u64().unwrap() >= more, "{daily}, and {more} bytes were sent");
    assert_eq!(stats["upload_budget"]["monthly"]["limit_bytes"], 20_000_000_000_u64);
    again.process.signal("-HUP");
    until("the configuration to be read again", || (again.stats()["p2p"] == true).then_some(()));
    assert_eq!(again.stats()["upload_budget"]["daily"]["limit_bytes"], 600_000);
    stop(again);
    let switched = Daemon::start(&["--tracker", &tracker.url()], &kept);
    assert_eq!(switched.stats()["p2p"], true, "reading the configuration again is kept, too");
    let forgetful = Daemon::start(&["--tracker", &tracker.url()], &[]);
    assert_eq!(forgetful.stats()["upload_budget"]["daily"]["used_bytes"], 0);
}

#[test]
fn without_a_file_nothing_is_kept_and_a_bad_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    let file = path.display().to_string();
    let env = [("PACELINE_P2P_STATE", file.as_str())];
    let tracker = ["--tracker", "ws://127.0.0.1:1/"];
    let daemon =
        Daemon::start(&[], &[("PACELINE_P2P_UPLOAD_LIMIT", "3M"), ("PACELINE_P2P_UPLOAD_MONTHLY", "2GB")]);
    assert_eq!(post(&daemon, "{}").1["upload_limit"], 3_000_000);
    assert_eq!(post(&daemon, "{\"upload_limit\": \"2.5M\"}").1["upload_limit"], 2_500_000);
    let said = "p2p on, but no tracker is configured: nobody can be met";
    assert_eq!(paceline(&daemon, &["p2p", "on"]), said);
    let log = stop(daemon);
    assert_eq!(log.matches("p2p.state, where what is spent would be kept, is not set").count(), 1, "{log}");
    let daemon = Daemon::start(&tracker, &[]);
    paceline(&daemon, &["upload", "off", "--limit", "2M"]);
    assert_eq!(
        warned(&daemon, &["--limit", "2M", "--daily", "0"]),
        "",
        "of no budget there is nothing to keep"
    );
    for budget in ["--daily", "--monthly"] {
        let said = warned(&daemon, &[budget, "2GB"]);
        assert!(
            said.contains("a restart of the daemon forgets this budget") && said.contains("p2p.state"),
            "{said}"
        );
    }
    stop(daemon);
    let daemon = Daemon::start(&tracker, &env);
    assert_eq!(post(&daemon, "{}").1["upload_mode"], "auto");
    paceline(&daemon, &["upload", "off", "--limit", "2M"]);
    // A power cut, once it is written: the next start finds it whole.
    until("it is written", || path.exists().then_some(()));
    drop(daemon);
    let daemon = Daemon::start(&tracker, &env);
    let (_, now) = post(&daemon, "{}");
    assert_eq!((&now["upload_mode"], &now["upload_limit"]), (&"never".into(), &2_000_000.into()));
    let says = |daemon: &Daemon| {
        let log = daemon.process.log();
        ["p2p.upload = never", "p2p.upload_limit = 2000000"]
            .map(|switch| log.contains(&format!("{switch} was switched in an earlier run")))
    };
    assert_eq!(says(&daemon), [true; 2], "{}", daemon.process.log());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(warned(&daemon, &["--daily", "2GB", "--monthly", "40GB"]), "", "it is kept");
    // As it is said there.
    daemon.process.signal("-HUP");
    until("it is undone", || (post(&daemon, "{}").1["upload_mode"] == "auto").then_some(()));
    stop(daemon);
    let daemon = Daemon::start(&tracker, &env);
    assert_eq!(says(&daemon), [false; 2], "{}", daemon.process.log());
    stop(daemon);

    for bad in ["{\"upload\": \"nev", "\0\0\0\0"] {
        std::fs::write(&path, bad).unwrap();
        let daemon = Daemon::start(&tracker, &env);
        assert_eq!(post(&daemon, "{}").1["upload_mode"], "auto", "it starts all the same");
        let log = stop(daemon);
        assert!(log.contains("WARN") && log.contains(&file) && log.contains("remove it"), "{log}");
    }
    let nowhere = dir.path().join("nowhere/state.json").display().to_string();
    let daemon = Daemon::start(&tracker, &[("PACELINE_P2P_STATE", &nowhere)]);
    paceline(&daemon, &["p2p", "off"]);
    paceline(&daemon, &["p2p", "on"]);
    let log = stop(daemon);
    assert_eq!(log.matches(&nowhere).count(), 1, "it is said once:\n{log}");
}

#[test]
fn an_argument_goes_before_what_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.json");
    std::fs::write(&file, "{\"p2p\": true, \"upload\": \"always\"}").unwrap();
    let env = [("PACELINE_P2P_STATE", file.to_str().unwrap())];
    let daemon = Daemon::start(&["--tracker", "ws://127.0.0.1:1/", "--no-p2p", "--no-upload"], &env);
    let (_, now) = post(&daemon, "{}");
    assert_eq!((&now["p2p"], &now["upload_mode"]), (&false.into(), &"never".into()));
}

#[test]
fn a_change_is_made_whole_or_refused_with_what_would_be_right() {
    let env = [("PACELINE_CHANNELS_NEWS", "http://127.0.0.1:1/news.m3u8")];
    let daemon = Daemon::start(&["--tracker", "ws://127.0.0.1:1/"], &env);
    for (change, status, key, value) in [
        ("{\"upload\": false}", 200, "upload_mode", Value::from("never")),
        ("{\"upload\": true}", 200, "upload_mode", "always".into()),
        ("{\"upload\": \"auto\", \"upload_daily\": \"2GB\"}", 200, "upload_mode", "auto".into()),
        ("{\"upload_monthly\": 7}", 200, "upload_monthly", 7.into()),
        ("{\"channel\": \"news\", \"upload\": false}", 200, "upload_daily", 2_000_000_000_u64.into()),
        ("{\"channel\": \"films\", \"upload\": false}", 404, "", Value::Null),
        ("{\"channel\": \"news\", \"upload_daily\": 1}", 400, "", Value::Null),
        ("{\"channel\": \"news\", \"upload\": \"auto\"}", 400, "", Value::Null),
        ("{\"upload\": \"perhaps\"}", 400, "", Value::Null),
        ("{\"upload_daily\": \"lots\"}", 400, "", Value::Null),
    ] {
        let (got, now) = post(&daemon, change);
        assert_eq!(got, status, "{change}");
        assert_eq!(now.get(key).unwrap_or(&Value::Null), &value, "{change}");
    }
    assert_eq!(paceline(&daemon, &["p2p", "off", "--channel", "news"]), "p2p off for news");
    assert_eq!(paceline(&daemon, &["upload", "on", "--channel", "news"]), "upload on for news");
    let now = post(&daemon, "{}").1;
    assert_eq!(now["channels"]["news"], serde_json::json!({"p2p": false, "upload": true}));
    assert_eq!((&now["p2p"], &now["upload"]), (&true.into(), &true.into()), "the others are as they were");
}

#[test]
fn a_channel_is_switched_for_all_who_play_it_by_whichever_way() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let (tracker, url) = (Tracker::start(), origin.url("index.m3u8"));
    let config = dir.path().join("paceline.toml");
    std::fs::write(&config, format!("[channels.news]\nurl = \"{url}\"\nprefetch_s = 12.0\n")).unwrap();
    let daemon = Daemon::start(&["--tracker", &tracker.url(), "--config", config.to_str().unwrap()], &[]);
    let other = Daemon::with_tracker(&tracker.url());
    let mut players = [
        // By prefix: it is the channel's stream all the same.
        player(&daemon.prefix(&url), 500, &[]),
        player(&other.prefix(&url), 500, &[]),
    ];
    other.await_neighbours(1);
    let stream = |daemon: &Daemon| daemon.stats()["streams"][0].clone();
    let now = stream(&daemon);
    assert_eq!(
        (&now["channel"], &now["prefetch_s"], &now["p2p"]),
        (&"news".into(), &12.0.into(), &true.into())
    );
    assert_eq!(stream(&other)["channel"], Value::Null);

    paceline(&daemon, &["p2p", "off", "--channel", "news"]);
    until("the other sees it leave", || (stream(&other)["neighbours"] == 0).then_some(()));
    let now = stream(&daemon);
    assert_eq!((&now["p2p"], &daemon.stats()["p2p"]), (&false.into(), &true.into()));
    let alone = || stream(&daemon)["segments"].as_array()?.last()?["reason"].as_str().map(|r| r == "p2p-off");
    until("its segments are not from peers", || alone().filter(|&alone| alone));

    paceline(&daemon, &["upload", "off", "--channel", "news"]);
    paceline(&daemon, &["p2p", "on", "--channel", "news"]);
    until("it is back", || (stream(&other)["neighbours"] == 1).then_some(()));
    let (given, taken) = (daemon.total("uploaded_bytes"), daemon.total("p2p_bytes"));
    until("it takes", || (daemon.total("p2p_bytes") > taken).then_some(()));
    assert_eq!(daemon.total("uploaded_bytes"), given, "and gives nothing");
    paceline(&daemon, &["upload", "on", "--channel", "news"]);
    // Who sees each segment first may take all first copies; who gives nothing takes none.
    paceline(&other, &["upload", "off"]);
    until("it gives again", || (daemon.total("uploaded_bytes") > given).then_some(()));
    for player in &mut players {
        assert!(player.running(), "a player ended:\n{}", player.log());
        assert_eq!(complaints(&player.log()), Vec::<&str>::new(), "switching is not seen by a player");
    }

    // The file says otherwise by now, and is read again.
    std::fs::write(&config, format!("[channels.news]\nurl = \"{url}\"\np2p = false\n")).unwrap();
    daemon.process.signal("-HUP");
    until("the configuration to be read again", || (stream(&daemon)["p2p"] == false).then_some(()));
    assert!(!daemon.process.log().contains("waits for"), "{}", daemon.process.log());
}

/// What NetworkManager would say.
struct Manager {
    metered: u32,
}

#[zbus::interface(name = "org.freedesktop.NetworkManager")]
impl Manager {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.metered
    }
}

/// A message bus that nobody else uses.
fn bus(dir: &Path) -> (Process, String) {
    let (config, socket) = (dir.join("bus.conf"), dir.join("bus"));
    let address = format!("unix:path={}", socket.display());
    let text = format!(
        "<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
         <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy>\
         </busconfig>"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("dbus-daemon");
    command.arg("--nofork").arg(format!("--config-file={}", config.display()));
    let process = Process::spawn("dbus-daemon", &mut command);
    until("the bus is there", || socket.exists().then_some(()));
    (process, address)
}

#[test]
fn a_metered_connection_pauses_uploads_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, address) = bus(dir.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let env = [("DBUS_SYSTEM_BUS_ADDRESS", address.as_str())];
    let daemon = Daemon::start(&["--tracker", "ws://127.0.0.1:1/"], &env);
    let withheld = |what: Option<&str>| {
        until(&format!("{what:?}"), || {
            let stats = daemon.stats();
            let why = &stats["upload_withheld"];
            let is = what.map_or(why.is_null(), |what| why.as_str().is_some_and(|why| why.contains(what)));
            (is && stats["upload"] == what.is_none()).then_some(())
        });
    };
    withheld(None);
    // It comes after the daemon, and goes before it.
    let (manager, change) = runtime.block_on(async {
        let manager = zbus::connection::Builder::address(address.as_str())
            .unwrap()
            .serve_at("/org/freedesktop/NetworkManager", Manager { metered: 1 })
            .unwrap()
            .name("org.freedesktop.NetworkManager")
            .unwrap()
            .build()
            .await
            .unwrap();
        let change = manager.object_server().interface::<_, Manager>("/org/freedesktop/NetworkManager");
        let change = change.await.unwrap();
        (manager, change)
    });
    let say = |metered: u32| {
        runtime.block_on(async {
            change.get_mut().await.metered = metered;
            change.get().await.metered_changed(change.signal_emitter()).await.unwrap();
        });
    };
    withheld(Some("on a metered connection (NetworkManager)"));
    for (metered, why) in
        [(4, None), (3, Some("guesses to be metered")), (2, None), (0, None), (1, Some("on a metered"))]
    {
        say(metered);
        withheld(why);
    }
    assert_eq!(paceline(&daemon, &["upload", "on"]), "upload on, no limit");
    withheld(None);
    let said = paceline(&daemon, &["upload", "auto"]);
    assert!(said.starts_with("upload auto"), "{said}");
    withheld(Some("on a metered connection"));
    drop(change);
    runtime.block_on(manager.close()).unwrap();
    withheld(None);
    let log = stop(daemon);
    assert!(!["WARN", "ERROR", "zbus"].iter().any(|word| log.contains(word)), "{log}");
}

#[test]
fn what_was_said_of_the_connection_holds_while_the_bus_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, address) = bus(dir.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _manager = runtime.block_on(async {
        zbus::connection::Builder::address(address.as_str())
            .unwrap()
            .serve_at("/org/freedesktop/NetworkManager", Manager { metered: 1 })
            .unwrap()
            .name("org.freedesktop.NetworkManager")
            .unwrap()
            .build()
            .await
            .unwrap()
    });
    let daemon =
        Daemon::start(&["--tracker", "ws://127.0.0.1:1/"], &[("DBUS_SYSTEM_BUS_ADDRESS", address.as_str())]);
    let withheld = || daemon.stats()["upload_withheld"].as_str().map(str::to_owned);
    let metered = || withheld().filter(|why| why == "on a metered connection (NetworkManager)");
    until("it is asked", metered);
    drop(bus);
    std::thread::sleep(Duration::from_secs(2));
    assert!(metered().is_some(), "{:?}", withheld());
}

/// A bus that takes connections and says nothing.
#[test]
fn nothing_is_uploaded_before_somebody_could_say_that_the_connection_is_metered() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("bus");
    let _bus = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let address = format!("unix:path={}", socket.display());
    let began = Instant::now();
    let daemon =
        Daemon::start(&["--tracker", "ws://127.0.0.1:1/"], &[("DBUS_SYSTEM_BUS_ADDRESS", address.as_str())]);
    let withheld = || daemon.stats()["upload_withheld"].as_str().map(str::to_owned);
    let why = until("it is asked", withheld);
    assert_eq!(why, "until NetworkManager has said whether the connection is metered");
    assert_eq!(daemon.stats()["upload"], false);
    until("it is waited for no longer", || withheld().is_none().then_some(()));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let log = stop(daemon);
    assert!(!log.contains("upload"), "nobody needs to know: {log}");
}

#[test]
fn without_a_bus_there_is_no_reason_and_no_word() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = format!("unix:path={}", dir.path().join("bus").display());
    let folder = tempfile::tempdir().unwrap();
    let (_bus, empty) = bus(folder.path());
    for address in [nowhere, empty] {
        let env = [("DBUS_SYSTEM_BUS_ADDRESS", address.as_str())];
        let daemon = Daemon::start(&["--tracker", "ws://127.0.0.1:1/"], &env);
        until("it has run for a while", || (daemon.stats()["uptime_s"].as_f64()? > 2.0).then_some(()));
        assert_eq!(
            (&daemon.stats()["upload"], &daemon.stats()["upload_withheld"]),
            (&true.into(), &Value::Null)
        );
        let log = stop(daemon);
        assert!(!log.contains("NetworkManager") && !log.contains("zbus") && !log.contains("bus"), "{log}");
    }
}

/// Runs the test of this name again, as the child, in a network namespace of its own.
fn in_a_network_of_its_own(name: &str) {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net"]).arg(std::env::current_exe().unwrap());
    let output = command.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

const CHILD: &str = "CONTROL_CHILD";

/// While nothing plays it is looked at every ten minutes, and while something does every half minute.
#[test]
fn the_line_is_looked_at_once_something_plays() {
    if std::env::var_os(CHILD).is_none() {
        return in_a_network_of_its_own("the_line_is_looked_at_once_something_plays");
    }
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        let status = status.unwrap_or_else(|e| panic!("ip ({e}); install it: apt-get install iproute2"));
        assert!(status.success(), "ip {arguments}");
    };
    ip("link set lo up");
    for arguments in [
        "link add wwan0 type veth peer name other",
        "address add 10.7.0.5/24 dev wwan0",
        "link set wwan0 up",
        "link set other up",
        "route add default dev wwan0",
    ] {
        ip(arguments);
    }
    let dir = tempfile::tempdir().unwrap();
    let origin = Scripted::start(|_, head, stream| {
        let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXT-X-ENDLIST\n";
        let body = if head.contains(".m3u8") { playlist.into() } else { vec![0x47; 188 * 1000] };
        respond(stream, "200 OK", "", &body);
    });
    let nowhere = format!("unix:path={}", dir.path().join("bus").display());
    let daemon =
        Daemon::start(&["--tracker", "ws://127.0.0.1:1/"], &[("DBUS_SYSTEM_BUS_ADDRESS", nowhere.as_str())]);
    let withheld = || daemon.stats()["upload_withheld"].as_str().map(str::to_owned);
    assert_eq!(until("it has looked", withheld), "over a cellular line (wwan0)");
    ip("link delete wwan0");
    std::thread::sleep(Duration::from_secs(1));
    assert!(withheld().is_some(), "nothing plays, and it has not looked again");
    let began = Instant::now();
    for path in ["index.m3u8", "a.ts"] {
        assert_eq!(daemon.get(&origin.url(path)).status, 200, "{path}");
    }
    until("it has looked again", || withheld().is_none().then_some(()));
    assert!(began.elapsed() < Duration::from_secs(25), "no sooner than by the clock: {:?}", began.elapsed());
}
