//! What the origin was asked to bring of one segment, what it still has to be asked for, and whether it shows any life.

use super::FetchId;
use super::pieces::{Pieces, ones};
use super::policy::SILENCE;
use crate::model::time::Time;
use crate::model::timeline::PieceGrid;

/// An origin fetch under way; offsets are bytes of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Its name.
    pub id: FetchId,
    /// Where it begins.
    pub from: u32,
    /// Where it ends; `None`: at the segment's end.
    pub to: Option<u32>,
    /// Up to where its bytes are in memory.
    pub got: u32,
    /// When it was asked for.
    pub started: Time,
    /// When its head came.
    pub head: Option<Time>,
    /// When it last showed life.
    pub stirred: Time,
    /// It has shown none for too long: neighbours are asked meanwhile.
    pub silent: bool,
    /// How far ahead of the player it may run, where that is limited.
    pub allowed: Option<u32>,
}

impl Pieces {
    /// The stretches of `from..to` that are neither here nor on their way from the origin, in order.
    ///
    /// An open end stands for the segment's end; while the length is unknown the answer ends with an open stretch.
    #[must_use]
    pub fn missing(&self, from: u32, to: Option<u32>) -> Vec<(u32, Option<u32>)> {
        let end = to.or(self.grid.map(PieceGrid::length));
        let mut gaps = Vec::new();
        let mut at = from;
        while end.is_none_or(|end| at < end) {
            let on_its_way = self
                .fetches
                .iter()
                .filter(|f| f.from <= at)
                .map(|f| f.to.or(end))
                .max_by_key(|to| to.unwrap_or(u32::MAX));
            match on_its_way {
                Some(None) => return gaps,
                Some(Some(to)) if to > at => {
                    at = to;
                    continue;
                }
                _ => {}
            }
            let readable = self.readable(at);
            if readable > at {
                at = readable;
                continue;
            }
            let stop = self.next_present(at, end);
            gaps.push((at, stop));
            match stop {
                Some(stop) => at = stop,
                None => return gaps,
            }
        }
        gaps
    }

    /// Where, after `at`, something begins that is here or on its way; `end` when nothing does.
    fn next_present(&self, at: u32, end: Option<u32>) -> Option<u32> {
        let starts = self.fetches.iter().map(|f| f.from).chain(self.loose.iter().map(|l| l.start));
        let held = self
            .grid
            .and_then(|grid| ones(self.held()).map(|piece| grid.span(piece).start).find(|&s| s > at));
        starts.filter(|&start| start > at).chain(held).chain(end).min()
    }

    /// An origin fetch is over; what it brought of unfinished pieces stays readable.
    pub fn end_fetch(&mut self, id: FetchId) -> Option<Fetch> {
        let index = self.fetches.iter().position(|f| f.id == id)?;
        let fetch = self.fetches.swap_remove(index);
        if fetch.got > fetch.from {
            self.loose.push(fetch.from..fetch.got);
        }
        self.tidy();
        Some(fetch)
    }

    /// Pieces that origin fetches under way will complete.
    #[must_use]
    pub fn coming(&self, grid: PieceGrid) -> u64 {
        self.brought_by(grid, |_| true)
    }

    /// Of those, the ones whose fetches show life.
    #[must_use]
    pub fn arriving(&self, grid: PieceGrid) -> u64 {
        self.brought_by(grid, |fetch| !fetch.silent)
    }

    /// Notes which fetches have shown no life for `SILENCE`; answers when the next one will be due, where a neighbour has
    /// what it is to bring. One that we keep from reading on is not silent.
    pub fn listen(&mut self, now: Time) -> Option<Time> {
        if self.fetches.is_empty() {
            return None;
        }
        let elsewhere = self.words.anywhere() & !self.held() != 0;
        let mut next: Option<Time> = None;
        for fetch in self.fetches.iter_mut().filter(|f| f.allowed.is_none_or(|allowed| f.got < allowed)) {
            let due = fetch.stirred + SILENCE;
            fetch.silent = due <= now;
            if elsewhere && !fetch.silent {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        next
    }

    /// Ends the fetches of a silent origin once everything is here without them.
    pub fn end_needless(&mut self) -> Vec<FetchId> {
        let needless = self.fetches.iter().filter(|fetch| fetch.silent).map(|fetch| fetch.id);
        let needless: Vec<_> = if self.complete() { needless.collect() } else { Vec::new() };
        for fetch in &needless {
            self.end_fetch(*fetch);
        }
        needless
    }

    /// A player asks, who would be asking the origin now: it is not left alone any longer for having failed before. One that
    /// has no such segment is: some players ask for it hundreds of times in a second.
    pub fn ask_anew(&mut self, now: Time) {
        if !self.missing {
            self.retry_at = self.retry_at.min(now);
            self.failures = self.failures.min(1);
        }
    }

    fn brought_by(&self, grid: PieceGrid, which: impl Fn(&Fetch) -> bool) -> u64 {
        let mut bits = 0;
        for fetch in self.fetches.iter().filter(|fetch| which(fetch)) {
            let end = fetch.to.unwrap_or(grid.length());
            for piece in ones(grid.all() & !self.held()) {
                let span = grid.span(piece);
                if fetch.from < span.end && span.start < end {
                    bits |= 1 << piece;
                }
            }
        }
        bits
    }
}
