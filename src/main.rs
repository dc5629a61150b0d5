//! The `paceline` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Daemons run for months, and streams come and go: what they held is to be given back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Where the kernel gives them to everybody, as Debian's does, what is let go of in pieces would stay for the rest of each.
    // Where there are none there is nothing to forbid.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    paceline::cli::run()
}
