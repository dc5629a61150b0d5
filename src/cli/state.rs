//! The file of `p2p.state`: what is kept over a restart.
//!
//! It is there whole or not at all: written beside its place and moved there. What can't be read is said once and started
//! without; what can't be written is said once and tried again with the next change.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Config;
use crate::delivery::policy::Options;
use crate::engine::Handle;
use crate::engine::steering::Kept;
use crate::model::units::Size;

/// The longest file that is read, in bytes: far more than is ever written.
const LONGEST: u64 = 64 * 1024;
/// While something is watched, what was uploaded is noted this often; so much of it a power cut takes.
const EVERY: Duration = Duration::from_secs(60);

/// The file.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// What is in it, as far as we know.
    written: Option<Kept>,
    /// That it can't be written was said already.
    complained: bool,
}

impl StateFile {
    /// The file that the configuration names, if it does; a budget without one is worth a warning.
    #[must_use]
    pub fn of(options: &Options) -> Option<Self> {
        if forgets(options) {
            tracing::warn!(
                "every restart begins with a fresh upload budget: p2p.state, where what is spent would be kept, is not set"
            );
        }
        let path = &options.state;
        (!path.is_empty()).then(|| Self { path: path.into(), written: None, complained: false })
    }

    /// What was kept; nothing when there is no file or it can't be used.
    pub fn read(&mut self) -> Kept {
        match read(&self.path) {
            Ok(kept) => {
                self.written.clone_from(&kept);
                kept.unwrap_or_default()
            }
            Err(error) => {
                tracing::warn!(
                    "nothing is taken over from before: {} (p2p.state) can't be used ({error}); remove it, or \
                     put a good copy there before the next start: it is written anew with the next change",
                    self.path.display()
                );
                Kept::default()
            }
        }
    }

    /// Writes down what is to be kept whenever that changes; never ends.
    pub async fn keep(&mut self, handle: &Handle) {
        self.keep_each(EVERY, handle).await;
    }

    async fn keep_each(&mut self, every: Duration, handle: &Handle) {
        let (mut steered, mut watched) = (handle.steered(), handle.watched());
        // Who watches may upload, and who just left, for a moment. Nobody else is woken.
        let (mut watches, mut may_upload) = (false, false);
        loop {
            let pause = async {
                if !may_upload {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(every).await;
            };
            let changed = tokio::select! {
                changed = steered.changed() => changed,
                changed = watched.changed() => changed,
                () = pause => Ok(()),
            };
            if changed.is_err() {
                // The engine has ended: nothing changes any more.
                std::future::pending::<()>().await;
            }
            let watched_before = std::mem::replace(&mut watches, *watched.borrow_and_update());
            may_upload = watches || watched_before;
            self.update(handle).await;
        }
    }

    /// Writes down what is to be kept now, if it is not there yet.
    pub async fn update(&mut self, handle: &Handle) {
        let Some(kept) = handle.kept().await else { return };
        if self.written.as_ref() == Some(&kept) {
            return;
        }
        let (path, text) = (self.path.clone(), serde_json::to_vec_pretty(&kept).unwrap_or_default());
        let done = tokio::task::spawn_blocking(move || write(&path, &text)).await;
        match done.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(()) => (self.written, self.complained) = (Some(kept), false),
            Err(error) if !self.complained => {
                self.complained = true;
                tracing::warn!(
                    "what is switched is not kept over a restart: {} (p2p.state) can't be written ({error}); \
                     its folder must be there and be ours",
                    self.path.display()
                );
            }
            Err(_) => {}
        }
    }
}

/// Says of each switch of an earlier run that it goes before the configuration, where the two differ.
pub fn tell(kept: &Kept, config: &Config) {
    for (key, switched, configured) in over(kept, config) {
        tracing::info!(
            "{key} = {switched} was switched in an earlier run and kept (p2p.state); it goes before the configuration, which \
             says {configured}. A reload (SIGHUP, `systemctl reload paceline`) undoes all that was switched"
        );
    }
}

/// What was switched to something else than is configured: the key, what holds, and what would hold.
fn over(kept: &Kept, config: &Config) -> Vec<(String, String, String)> {
    let p2p = &config.p2p;
    let number = |size: Option<Size>| size.map(|size| size.0.to_string());
    let flag = |on: Option<bool>| on.map(|on| on.to_string());
    let mut all = vec![
        ("p2p.enabled".to_owned(), flag(kept.p2p), p2p.enabled.to_string()),
        (
            "p2p.upload".to_owned(),
            kept.upload.map(|mode| mode.as_str().to_owned()),
            p2p.upload.as_str().to_owned(),
        ),
        (
            "p2p.upload_limit".to_owned(),
            kept.upload_limit.map(|limit| limit.to_string()),
            p2p.upload_limit.0.to_string(),
        ),
        ("p2p.upload_daily".to_owned(), number(kept.upload_daily), p2p.upload_daily.0.to_string()),
        ("p2p.upload_monthly".to_owned(), number(kept.upload_monthly), p2p.upload_monthly.0.to_string()),
    ];
    for (name, channel) in &config.channels {
        let switched = kept.channels.get(name).copied().unwrap_or_default();
        all.push((format!("channels.{name}.p2p"), flag(switched.p2p), channel.p2p.to_string()));
        all.push((format!("channels.{name}.upload"), flag(switched.upload), channel.upload.to_string()));
    }
    let differs = |(key, switched, configured): (_, Option<String>, String)| {
        Some((key, switched.filter(|switched| *switched != configured)?, configured))
    };
    all.into_iter().filter_map(differs).collect()
}

/// A budget is set that nobody keeps account of over a restart.
fn forgets(options: &Options) -> bool {
    options.state.is_empty() && (options.upload_daily.0 > 0 || options.upload_monthly.0 > 0)
}

fn read(path: &Path) -> Result<Option<Kept>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| error.to_string())
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&beside, path)).inspect_err(|_| drop(fs::remove_file(&beside)))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use http::HeaderMap;
    use url::Url;

    use super::*;
    use crate::cli::serve;
    use crate::engine::origin::{Caller, Reach, ViewerKey};
    use crate::engine::steering::Change;
    use crate::model::address::Address;
    use crate::model::ids::{SegmentId, SwarmId};
    use crate::model::timeline::{Choice, Kind, Listing, Place, Segment, Timeline};

    #[test]
    fn what_is_written_is_read_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(read(&path), Ok(None), "no file is no mistake");
        for p2p in [true, false] {
            let kept = Kept { p2p: Some(p2p), ..Kept::default() };
            write(&path, &serde_json::to_vec(&kept).unwrap()).unwrap();
            assert_eq!(read(&path), Ok(Some(kept)));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// A playlist of one segment, as somebody loads it who plays it.
    fn listing() -> Listing {
        let id = SegmentId(7);
        let segment = Segment { id, sequence: 7, duration: Duration::from_secs(4) };
        let timeline = Timeline {
            swarm: SwarmId([1; 20]),
            kind: Kind::Vod,
            target: Duration::from_secs(4),
            choice: Choice::default(),
            segments: vec![segment].into(),
        };
        let url = Address::of("http://o.example/7.ts");
        let manifest = Url::parse("http://o.example/index.m3u8").unwrap();
        Listing { manifest, rendition: String::new(), timeline, places: vec![Place { url, range: None }] }
    }

    #[tokio::test]
    async fn what_is_kept_is_noted_now_and_then_while_something_is_watched_and_not_otherwise() {
        const EACH: Duration = Duration::from_millis(20);
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.proxy.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let daemon = serve::start(config, Kept::default()).await.unwrap();
        let keep = |path: &Path| {
            let mut file = StateFile { path: path.into(), written: None, complained: false };
            let handle = daemon.handle.clone();
            tokio::spawn(async move { file.keep_each(EACH, &handle).await })
        };
        let written = async |path: &Path| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while !path.exists() && Instant::now() < deadline {
                tokio::time::sleep(EACH).await;
            }
            path.exists()
        };
        let path = dir.path().join("idle.json");
        let idle = keep(&path);
        tokio::time::sleep(EACH * 10).await;
        assert!(!path.exists(), "nothing has changed");
        daemon.handle.switch(Change { p2p: Some(false), ..Change::default() }).await.unwrap();
        assert!(written(&path).await, "it was switched");
        idle.abort();

        let folder = dir.path().join("later");
        let busy = keep(&folder.join("state.json"));
        let caller = Caller {
            viewer: ViewerKey(1),
            headers: HeaderMap::new(),
            own_browser: true,
            reach: Reach::Public,
        };
        daemon.handle.listed(listing(), &caller, None).await;
        assert!(*daemon.handle.watched().borrow());
        tokio::time::sleep(EACH * 5).await;
        fs::create_dir(&folder).unwrap();
        assert!(written(&folder.join("state.json")).await, "it is watched");
        busy.abort();
        daemon.stop().await;
    }

    #[test]
    fn what_was_switched_against_the_configuration_is_told() {
        let config: Config = toml::from_str(
            "[p2p]\nupload_limit = 8\n[channels.news]\nurl = \"http://o.example/\"\np2p = false\n",
        )
        .unwrap();
        assert_eq!(over(&Kept::default(), &config), []);
        let kept = r#"{"p2p": true, "upload": "never", "upload_limit": 8, "upload_daily": 5,
            "channels": {"news": {"p2p": true, "upload": true}, "gone": {"p2p": false}}}"#;
        let told = over(&serde_json::from_str(kept).unwrap(), &config);
        let expected = [
            ("p2p.upload", "never", "auto"),
            ("p2p.upload_daily", "5", "0"),
            ("channels.news.p2p", "true", "false"),
        ];
        let expected = expected.map(|(key, is, was)| (key.to_owned(), is.to_owned(), was.to_owned()));
        assert_eq!(told, expected, "what is as configured, and of no channel, is nothing to tell");
    }

    #[test]
    fn a_budget_that_nobody_keeps_is_noticed() {
        for (daily, monthly, state, forgotten) in
            [(0, 0, "", false), (1, 0, "", true), (0, 1, "", true), (1, 1, "state.json", false)]
        {
            let options = Options {
                upload_daily: Size(daily),
                upload_monthly: Size(monthly),
                state: state.to_owned(),
                ..Options::default()
            };
            assert_eq!(forgets(&options), forgotten, "{daily} {monthly} {state:?}");
        }
    }

    #[test]
    fn what_can_not_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        for (text, why) in [
            ("{\"p2p\": tr".to_owned(), "line 1"),
            (String::new(), "EOF"),
            ("7".to_owned(), "invalid type"),
            (" ".repeat(70_000), "longer than 65536 bytes"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(read(dir.path()).is_err(), "a folder");
    }

    #[test]
    fn a_file_that_can_not_be_written_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write(&path, b"{}").unwrap();
        fs::create_dir(dir.path().join("state.json.new")).unwrap();
        assert!(write(&path, b"{\"p2p\": true}").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"{}");
        assert!(write(&dir.path().join("nowhere/state.json"), b"{}").is_err());
    }
}
