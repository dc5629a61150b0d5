//! `paceline completions` and `paceline man`: what a shell and man(1) want to know, made from the clap tree.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

use super::exit::Failure;
use super::output::print;

/// Arguments of `completions`.
#[derive(Debug, ClapArgs)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, ClapArgs)]
pub struct ManArgs {
    /// The folder to write paceline.1 and a page for each command into
    pub folder: PathBuf,
}

/// Prints a completion script.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "paceline", &mut script);
    print(format_args!("{}", String::from_utf8_lossy(&script)))
}

/// Writes the man pages.
pub fn pages(args: &ManArgs, command: Command) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::Running(format!("the man pages can't be written to {}: {error}", args.folder.display()))
    };
    std::fs::create_dir_all(&args.folder).map_err(failed)?;
    clap_mangen::generate_to(command, &args.folder).map_err(failed)
}
