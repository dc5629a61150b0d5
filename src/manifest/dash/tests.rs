//! MPDs as packagers write them, and as they should not.
