//! Secrets that a service manager hands over as files (systemd's `LoadCredential=`): each file in `$CREDENTIALS_DIRECTORY` whose
//! name is that of one of our variables stands for it. Such a file is for the service alone, even where its user exists only
//! while it runs; an environment can be read by whoever may see the process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::environment::{By, Given, PREFIX};
use super::reject::Error;

/// Where they are, of these variables.
pub fn folder(variables: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, folder) = variables.iter().find(|(name, _)| name == "CREDENTIALS_DIRECTORY")?;
    (!folder.is_empty()).then(|| folder.into())
}

/// What the files say, without the line end that editors leave; those of other names are other programs', or files that a
/// key names.
///
/// # Errors
/// When the folder or a file that is ours can't be read, or is not UTF-8.
pub fn given(folder: &Path) -> Result<Vec<Given>, Error> {
    let unreadable =
        |error: std::io::Error| Error::Unreadable { file: folder.to_owned(), error: error.to_string() };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let by = By::Credential(folder.join(name));
        let text = std::fs::read_to_string(folder.join(name)).map_err(|error| by.wrong(error.to_string()))?;
        let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        all.push(Given { by, key: name[PREFIX.len()..].to_ascii_lowercase(), text: text.to_owned() });
    }
    Ok(all)
}
