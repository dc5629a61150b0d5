//! Where a configuration comes from: a file, the environment over it, and flags over both; and who of them is to blame.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::check::{self, Wrong};
use super::environment::{self, By, Given, Set};
use super::reject::{self, Error};
use super::{Config, credentials, place};

/// What an argument of the command line says of a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As it is written, such as `--listen`.
    pub name: &'static str,
    /// The key as `section_key`.
    pub key: &'static str,
    /// Its value, as in an environment variable.
    pub value: String,
}

/// A configuration, and where each key of it comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    file: Option<(PathBuf, String)>,
    /// What was set by environment and flags, in their order: the last word counts.
    set: Vec<Set>,
}

impl Loaded {
    /// Reads the file, if one is given, and puts the environment over it, with the credentials that it leads to, and the
    /// flags over both. Variables of other programs are left alone.
    ///
    /// # Errors
    /// Which file and line, variable or flag is wrong, which key it is, and what would be right.
    pub fn read(
        file: Option<&Path>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        flags: &[Flag],
    ) -> Result<Self, Error> {
        let mut loaded = Self { config: Config::default(), file: None, set: Vec::new() };
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Error::Unreadable { file: path.to_owned(), error: error.to_string() })?;
            loaded.config = toml::from_str(&text).map_err(|error| reject::explain(&error, &text, path))?;
            loaded.file = Some((path.to_owned(), text));
            // By itself, so that a mistake in it is not laid to what was set elsewhere.
            check::each(&loaded.config).map_err(|wrong| loaded.blame(&wrong))?;
        }
        let flags: Vec<Given> = flags
            .iter()
            .map(|flag| Given { by: By::Flag(flag.name), key: flag.key.to_owned(), text: flag.value.clone() })
            .collect();
        let variables: Vec<_> = variables.collect();
        let secrets =
            credentials::folder(&variables).map(|folder| credentials::given(&folder)).transpose()?;
        let mut given = environment::variables(variables)?;
        // A variable that is there itself needs no file to stand for it.
        let mut secrets = secrets.unwrap_or_default();
        secrets.retain(|secret| !given.iter().any(|variable| variable.key == secret.key));
        given.extend(secrets);
        environment::arrange(&mut given);
        // What a flag speaks of is not looked for in the environment.
        given.retain(|variable| !flags.iter().any(|flag| flag.key == variable.key));
        given.extend(flags);
        (loaded.config, loaded.set) = environment::apply(loaded.config, given)?;
        check::each(&loaded.config)
            .and_then(|()| check::together(&loaded.config))
            .map_err(|wrong| loaded.blame(&wrong))?;
        Ok(loaded)
    }

    /// Says of a value that can't be used where it comes from: the flag or variable that set it, or else its line.
    #[must_use]
    pub fn blame(&self, wrong: &Wrong) -> Error {
        let why = format!("{}: {}", wrong.key(), wrong.why);
        let here = |Set { path, .. }: &&Set| {
            // Of a list of tables each entry has keys of its own.
            let other = path
                .get(wrong.path.len())
                .zip(wrong.entry)
                .is_some_and(|(at, entry)| *at != entry.to_string());
            path.starts_with(&wrong.path) && !other
        };
        if let Some(Set { by, .. }) = self.set.iter().rev().find(here) {
            return by.wrong(why);
        }
        let line = |(file, text): &(PathBuf, String)| {
            Some((file.clone(), place::line(text, &wrong.path, wrong.entry)?))
        };
        match self.file.as_ref().and_then(line) {
            Some((file, line)) => Error::Line { file, line, why },
            None => Error::Value { why },
        }
    }
}
