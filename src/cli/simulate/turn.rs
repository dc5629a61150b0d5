//! Turns the world, on all the threads there are.

use std::io::IsTerminal;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

use crate::model::time::Time;
use crate::simulator::{Shard, World};

/// Runs the world to its end. To be called on a thread of the pool, which then works on what no other has taken: a
/// step is short, and waiting for a thread to wake would take longer than most.
pub fn to_the_end(world: &mut World) {
    let bar = bar(world.end());
    let mut each = |shards: &mut [Shard]| shards.par_iter_mut().with_max_len(1).for_each(Shard::work);
    while world.step(&mut each) {
        bar.set_position(tenths(world.now()));
        bar.set_message(format!(
            "{:.0} of {:.0} s, {} viewers, {} events",
            world.now().since(Time::ZERO).as_secs_f64(),
            world.end().since(Time::ZERO).as_secs_f64(),
            HumanCount(world.viewers().into()),
            HumanCount(world.events()),
        ));
    }
    bar.finish_and_clear();
}

/// How far it has come, drawn on a terminal and nowhere else.
fn bar(end: Time) -> ProgressBar {
    let drawn = std::io::stderr().is_terminal();
    let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(tenths(end)), target);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn tenths(time: Time) -> u64 {
    time.as_micros() / 100_000
}
