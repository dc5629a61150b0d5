//! A mistake in the configuration, said so that it can be mended.

use std::path::{Path, PathBuf};

use super::Config;
use super::place::line_at;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file is not there, or not readable.
    #[error("{}: {error}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the system says.
        error: String,
    },
    /// A key or value in the file.
    #[error("{}, line {line}: {why}", .file.display())]
    Line {
        /// Which file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A value that is of the right kind and still can't be used, and that no file, variable or flag has set.
    #[error("{why}")]
    Value {
        /// The key, what is wrong, and what would be right.
        why: String,
    },
    /// An environment variable.
    #[error("environment variable {name}: {why}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A file in `$CREDENTIALS_DIRECTORY`.
    #[error("credential {}: {why}", .file.display())]
    Credential {
        /// Which.
        file: PathBuf,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// An argument of the command line.
    #[error("{flag}: {why}")]
    Flag {
        /// As it is written, such as `--listen`.
        flag: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
}

/// The parser's word, with the line it means and the nearest key that exists.
pub fn explain(error: &toml::de::Error, text: &str, file: &Path) -> Error {
    let line = line_at(text, error.span().map_or(0, |span| span.start));
    let mut why = with_nearest(error.message());
    if let Some(key) = text.lines().nth(line - 1).and_then(key).filter(|key| !why.contains(key)) {
        why = format!("`{key}`: {why}");
    }
    Error::Line { file: file.to_owned(), line, why }
}

/// The key that a line gives a value to.
fn key(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!key.is_empty() && key.chars().all(plain)).then_some(key)
}

/// `unknown field ..., expected one of ...` as a question, for a value as for a key; anything else as it is, but for values
/// of the wrong kind: they may be secrets.
pub fn with_nearest(message: &str) -> String {
    let message = without_value(&message.trim().replace('\n', " "));
    let kinds = [("unknown field `", "key"), ("unknown variant `", "value")];
    let found = kinds.iter().find_map(|(start, what)| Some((message.strip_prefix(start)?, what)));
    let Some((rest, what)) = found else { return message };
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default().to_owned();
    // Every second piece between backticks is a name; the first one was the unknown key.
    let known: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    let here = nearest(&unknown, &known);
    let elsewhere = if *what == "key" { elsewhere(&unknown, here.unwrap_or_default()) } else { None };
    match (here, elsewhere) {
        (Some(name), None) => format!("unknown {what} `{unknown}`; did you mean `{name}`?"),
        (Some(name), Some(key)) => format!("unknown {what} `{unknown}`; did you mean `{name}` or `{key}`?"),
        (None, Some(key)) => {
            format!("unknown {what} `{unknown}`; did you mean `{key}`? Known here are {}", known.join(", "))
        }
        (None, None) => format!("unknown {what} `{unknown}`; known here are {}", known.join(", ")),
    }
}

/// The key of any section that looks most like this one, if it does so more than `here` does: as `section.key`.
fn elsewhere(unknown: &str, here: &str) -> Option<String> {
    let all = toml::Table::try_from(Config::default()).ok()?;
    let keys = all.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?)));
    let keys: Vec<(&str, String)> = keys
        .flat_map(|(section, keys)| keys.keys().map(move |key| (key.as_str(), format!("{section}.{key}"))))
        .collect();
    let names: Vec<&str> = keys.iter().map(|(key, _)| *key).chain([here]).collect();
    let best = nearest(unknown, &names).filter(|name| *name != here)?;
    keys.into_iter().find(|(key, _)| *key == best).map(|(_, path)| path)
}

/// `invalid type: string "…", expected …` and `relative URL without a base: "…"` without what was written.
fn without_value(message: &str) -> String {
    let kinds = ["invalid type: ", "invalid value: "];
    let Some(kind) = kinds.iter().find(|kind| message.starts_with(**kind)) else {
        let quoted = message.split_once(": \"").filter(|_| message.ends_with('"'));
        return quoted.map_or(message, |(before, _)| before).to_owned();
    };
    let rest = &message[kind.len()..];
    match (rest.find(['"', '`']), rest.rfind(", expected ")) {
        (Some(begins), Some(ends)) if begins < ends => {
            format!("{kind}{}{}", rest[..begins].trim_end(), &rest[ends..])
        }
        _ => message.to_owned(),
    }
}

/// The known name that looks most like this one, if any does.
pub fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known.iter().map(|name| (strsim::jaro_winkler(unknown, name), *name));
    best.filter(|(likeness, _)| *likeness > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_section_is_found_there() {
        for (text, said) in [
            (
                "[proxy]\nupload_limit = 1\n",
                "unknown key `upload_limit`; did you mean `p2p.upload_limit`? Known here are listen,",
            ),
            ("[proxy]\nuplaod_limit = 1\n", "unknown key `uplaod_limit`; did you mean `p2p.upload_limit`? "),
            (
                "upload_limit = 1\n",
                "unknown key `upload_limit`; did you mean `p2p.upload_limit`? Known here are proxy,",
            ),
            ("[p2p]\nupload_limits = 1\n", "unknown key `upload_limits`; did you mean `upload_limit`?"),
            ("[proxi]\nlisten = 1\n", "unknown key `proxi`; did you mean `proxy`?"),
            ("[p2p]\nlevel = \"warn\"\n", "unknown key `level`; did you mean `log.level`? "),
            (
                "[channels.news]\nurl = \"http://o/\"\nupload_daily = 1\n",
                "unknown key `upload_daily`; did you mean `upload` or `p2p.upload_daily`?",
            ),
        ] {
            let error = toml::from_str::<Config>(text).unwrap_err();
            let Error::Line { why, .. } = explain(&error, text, Path::new("x")) else { panic!("{error}") };
            assert!(why.starts_with(said), "{why}");
        }
    }

    #[test]
    fn what_was_written_where_it_does_not_belong_is_not_repeated() {
        for (said, told) in [
            (
                r#"invalid type: string "Authorization: Bearer s3cret", expected a sequence"#,
                "invalid type: string, expected a sequence",
            ),
            ("invalid type: integer `12345`, expected a string", "invalid type: integer, expected a string"),
            (
                r#"invalid value: string "a, expected b", expected a rate"#,
                "invalid value: string, expected a rate",
            ),
            (r#"relative URL without a base: "o.example/x?token=s3cret""#, "relative URL without a base"),
            ("invalid type: map, expected a string", "invalid type: map, expected a string"),
            ("missing field `url`", "missing field `url`"),
        ] {
            assert_eq!(with_nearest(said), told);
        }
    }
}
