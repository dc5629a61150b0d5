//! Which number the first file of a SegmentList has (SegmentList@startNumber): the parser leaves it out.
//!
//! Of a live list, whose first files go, nothing else tells it, and viewers who have loaded the MPD at different times have to
//! call a file the same. A list is found again by its first file; where two that begin alike say different numbers, none is known.

use std::collections::BTreeMap;

use dash_mpd_core as mpd;

use super::xml::{self, Element};

/// The number of each list that says one.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    known: BTreeMap<First, Option<u64>>,
    /// The list that has begun and whose first file is still to come: its depth and number.
    open: Option<(usize, Option<u64>)>,
}

/// A list's first file: SegmentURL@media, @mediaRange and @index.
type First = [Option<String>; 3];

impl Numbers {
    /// To be called for each element, in the order of the document.
    pub fn note(&mut self, depth: usize, element: &Element<'_>) {
        let value = |name: &str| element.attribute(name).and_then(|attribute| xml::value(attribute.value));
        if element.name == "SegmentList" {
            self.open = Some((depth, value("startNumber").and_then(|number| number.trim().parse().ok())));
        } else if element.name == "SegmentURL"
            && let Some((_, number)) = self.open.take_if(|(list, _)| *list + 1 == depth)
        {
            let first = ["media", "mediaRange", "index"].map(value);
            let known = self.known.entry(first).or_insert(number);
            *known = known.filter(|known| Some(*known) == number);
        }
    }

    /// That of the list with these files.
    pub fn of(&self, files: &[mpd::SegmentURL]) -> Option<u64> {
        let first = files.first()?;
        let first = [&first.media, &first.mediaRange, &first.index].map(Clone::clone);
        self.known.get(&first).copied().flatten()
    }
}
