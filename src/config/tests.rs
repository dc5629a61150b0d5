use super::*;

fn read(text: &str, variables: &[(&str, &str)], flags: &[Flag]) -> Result<Config, Error> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, text).unwrap();
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Ok(Loaded::read(Some(&file), variables, flags)?.config)
}

fn load(text: &str) -> Result<Config, Error> {
    read(text, &[], &[])
}

#[test]
fn nothing_is_a_configuration_and_what_is_written_is_read_back() {
    assert_eq!(load("").unwrap(), Config::default());
    let config =
        load("[channels.news]\nurl = \"https://o.example/live.m3u8\"\n[memory]\nlimit = \"64MiB\"").unwrap();
    assert_eq!(config.memory.limit, Size(64 << 20));
    assert_eq!(load(&config.to_toml()).unwrap(), config);
}

#[test]
fn a_limit_is_written_as_the_command_takes_it() {
    for (text, limit) in [("2000000", 2_000_000), ("\"2M\"", 2_000_000), ("\"500k\"", 500_000), ("0", 0)] {
        let config = load(&format!("[p2p]\nupload_limit = {text}")).unwrap();
        assert_eq!(config.p2p.upload_limit.0, limit, "{text}");
        assert_eq!(load(&config.to_toml()).unwrap(), config);
    }
}

#[test]
fn mistakes_are_named_with_file_line_and_what_would_be_right() {
    for (text, parts) in [
        ("[p2p]\nmax_neighbors = 3", &["line 2", "`max_neighbors`", "`max_neighbours`"][..]),
        ("[p2pp]\n", &["line 1", "`p2pp`", "`p2p`"]),
        ("[p2p]\n\nenabled = \"yes\"", &["line 3", "boolean"]),
        ("[memory]\nlimit = \"lots\"", &["line 2", "256MiB"]),
        ("[p2p]\nupload = \"maybe\"", &["line 2", "auto"]),
        ("[proxy\n", &["line 1"]),
        ("[p2p]\nupload_daily = \"much\"", &["line 2", "`upload_daily`", "2GB"]),
        ("[p2p]\nupload_limit = \"fast\"", &["line 2", "`upload_limit`", "`fast`", "2M"]),
        ("[p2p]\nupload_limit = -1", &["line 2", "`upload_limit`"]),
        (
            "[channels.news]\nurl = \"http://x/\"\nidentity = \"sequense\"",
            &["line 3", "`sequense`", "`sequence`"],
        ),
        ("[channels.news]\nurl = \"http://x/\"\nuplod = false", &["line 3", "`upload`"]),
        ("[tracker_server]\nnetworks = [\"berlin\"]", &["line 2", "berlin=10.1.0.0/16"]),
        ("[tracker_server]\nstats_from = [\"10/8\"]", &["line 2", "10.1.0.0/16"]),
    ] {
        said(text, parts);
    }
}

#[test]
fn values_that_can_not_be_used_are_named_with_file_line_and_what_would_be_right() {
    for (text, parts) in [
        ("[channels.news]\nurl = \"ftp://x/\"", &["line 2", "channels.news.url", "http"][..]),
        ("[channels.\"a/b\"]\nurl = \"http://x/\"", &["line 1", "channels.a/b", "letters"]),
        (
            "[channels.news]\nurl = \"http://x/\"\nprefetch_s = -1.0",
            &["line 3", "channels.news.prefetch_s", "0 to 600 seconds"],
        ),
        (
            "[channels.news]\nurl = \"https://ann:secret@o.example/\"",
            &["line 2", "channels.news.url", "user name", "Authorization"],
        ),
        (
            "[tracker]\nurls = [\n\"ws://x\",\n\"http://x\"]",
            &["line 4", "tracker.urls", "`http://x`", "ws://"],
        ),
        ("[tracker]\nurls = [\"ws://a:b@x/\"]", &["line 2", "tracker.urls", "user name", "tracker.token"]),
        ("\n[proxy]\nlisten = \"0.0.0.0:7223\"", &["line 3", "proxy.listen", "allowed_hosts"]),
        ("[[identity]]\npattern = \"a\"\n[[identity]]\npattern = \"(\"", &["line 3", "identity", "entry 2"]),
        ("[tracker_server]\ninterval_s = 9", &["line 2", "tracker_server.interval_s", "10 to 3600"]),
        (
            "[ice]\nturn = [\"turn:a:b@t.example\",\n\"bogus\"]",
            &["line 3", "ice.turn", "number 2", "turn:user:secret@"],
        ),
        ("[ice]\nstun = [\"stun.example\"]", &["line 2", "ice.stun", "number 1", "stun:stun.example:3478"]),
        ("[ice]\nudp_port = 65441", &["line 2", "ice.udp_port", "65440"]),
        ("[p2p]\nmax_neighbours = 16", &["line 2", "p2p.max_neighbours"]),
        ("[p2p]\ncritical_s = 61.0", &["line 2", "p2p.critical_s", "0 to 60 seconds"]),
        ("[p2p]\nprefetch_s = inf", &["line 2", "p2p.prefetch_s", "0 to 600 seconds"]),
        ("[origin]\nproxy = \"http://ann:secret@p.example\"", &["line 2", "origin.proxy", "user name"]),
        ("[origin]\nproxy = \"p.example:3128\"", &["line 2", "origin.proxy", "http://proxy.example:3128"]),
        (
            "[origin]\nheaders = [\"A: 1\",\n\"Token secret\"]",
            &["line 3", "origin.headers", "number 2", "Name: value"],
        ),
        ("[origin]\nheaders = [\"Host: secret\"]", &["line 2", "origin.headers", "`host`", "connection"]),
        ("[origin]\nidle_timeout_s = 0", &["line 2", "origin.idle_timeout_s", "1 to 3600"]),
        ("[log]\nlevel = \"warning\"", &["line 2", "log.level", "did you mean `warn`?"]),
        ("log.level = \"loud\"", &["line 1", "log.level", "`loud`", "warn, info"]),
    ] {
        said(text, parts);
    }
}

fn said(text: &str, parts: &[&str]) {
    let message = read(text, &[], &[]).unwrap_err().to_string();
    for part in parts.iter().chain([&"c.toml, line "]) {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    assert!(!message.replace("user:secret", "").contains("secret"), "{message}");
}

#[test]
fn a_mistake_is_laid_to_who_made_it() {
    let good = "[tracker]\nurls = [\"ws://x/\"]\n[[identity]]\npattern = \"a\"\n[log]\nlevel = \"info\"\n";
    let open = "[proxy]\nlisten = \"0.0.0.0:7223\"\n";
    let flag = |name, key, value: &str| [Flag { name, key, value: value.to_owned() }];
    let tracker = flag("--tracker", "tracker_urls", "[\"http://y/?token=secret\"]");
    let listen = flag("--listen", "proxy_listen", "0.0.0.0:1");
    let environment = "environment variable ";
    for (text, variables, flags, start, part) in [
        (good, &[][..], &tracker[..], "--tracker: tracker.urls: ", "`http://y/`"),
        (good, &[("PACELINE_TRACKER_URLS", "nonsense")], &tracker, "--tracker: ", "`http://y/`"),
        (good, &[], &listen, "--listen: proxy.listen: ", "allowed_hosts"),
        (good, &[("PACELINE_TRACKER_URLS", "ws://x/,http://y/")], &[], environment, "_URLS: tracker.urls: "),
        (
            good,
            &[("PACELINE_IDENTITY_1_REPLACE", "/"), ("PACELINE_IDENTITY_2_PATTERN", "(")],
            &[],
            environment,
            "PACELINE_IDENTITY_2_PATTERN: identity: ",
        ),
        (good, &[("PACELINE_LOG_LEVEL", "loud")], &[], environment, "PACELINE_LOG_LEVEL: log.level: `loud`"),
        (
            "",
            &[("PACELINE_PROXY_LISTEN", "0.0.0.0:1")],
            &[],
            environment,
            "PACELINE_PROXY_LISTEN: proxy.listen",
        ),
        ("[log]\nlevel = \"loud\"", &[("PACELINE_LOG_LEVEL", "info")], &[], "/", "c.toml, line 2: log.level"),
        (open, &[("PACELINE_LOG_LEVEL", "info")], &[], "/", "c.toml, line 2: proxy.listen"),
    ] {
        let message = read(text, variables, flags).unwrap_err().to_string();
        assert!(message.starts_with(start) && message.contains(part), "{message:?}: {start:?} {part:?}");
        assert!(!message.contains("secret"), "{message}");
        assert!(start == "/" || !message.contains("c.toml"), "{message:?} names the file");
    }
    let hosts = [("PACELINE_PROXY_ALLOWED_HOSTS", "box.lan:7223")];
    assert!(read(open, &hosts, &[]).is_ok(), "file and environment have one each");
}
