//! The file of `p2p.state`: what is kept over a restart.
//!
//! It is there whole or not at all: written beside its place and moved there. What can't be read is said once and started
//! without; what can't be written is said once and tried again with the next change.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::delivery::policy::Options;
use crate::engine::Handle;
use crate::engine::steering::Kept;

/// The longest file that is read, in bytes: far more than is ever written.
const LONGEST: u64 = 64 * 1024;
/// What was uploaded is noted this often; so much of it a power cut takes.
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
        let mut steered = handle.steered();
        loop {
            if let Ok(Err(_)) = tokio::time::timeout(EVERY, steered.changed()).await {
                // The engine has ended: nothing changes any more.
                std::future::pending::<()>().await;
            }
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
    use super::*;

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

    #[test]
    fn a_budget_that_nobody_keeps_is_noticed() {
        use crate::model::units::Size;
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
