//! The Node as a whole: driven by hand, and by chance.

mod budget;
mod contests;
mod holds;
mod late;
mod lengths;
mod living;
mod meeting;
mod memory;
mod mirror;
mod properties;
mod resting;
mod rig;
mod rules;
mod short;
mod silence;
mod switching;
mod trackers;
mod turns;
mod twice;
mod universe;
