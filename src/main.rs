//! The `paceline` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Daemons run for months, and streams come and go: what they held is to be given back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    paceline::cli::run()
}
