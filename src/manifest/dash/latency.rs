//! Streams that are made to be played close to the edge.

use dash_mpd_core as mpd;

/// Whether the MPD says what latency it is for (ServiceDescription, ISO/IEC 23009-1 Annex K), or that segments are there
/// before they end (availabilityTimeOffset).
pub(super) fn is_low(mpd: &mpd::MPD) -> bool {
    let told = |of: &[mpd::ServiceDescription]| of.iter().any(|of| !of.Latency.is_empty());
    told(&mpd.ServiceDescription)
        || bases(&mpd.base_url)
        || mpd.periods.iter().any(|period| {
            told(&period.service_description)
                || bases(&period.BaseURL)
                || template(&period.SegmentTemplate)
                || period.adaptations.iter().any(adaptation)
        })
}

fn adaptation(set: &mpd::AdaptationSet) -> bool {
    let representation = |of: &mpd::Representation| bases(&of.BaseURL) || template(&of.SegmentTemplate);
    bases(&set.BaseURL) || template(&set.SegmentTemplate) || set.representations.iter().any(representation)
}

fn bases(here: &[mpd::BaseURL]) -> bool {
    here.iter().any(|base| early(base.availability_time_offset))
}

fn template(here: &Option<mpd::SegmentTemplate>) -> bool {
    here.as_ref().is_some_and(|here| early(here.availabilityTimeOffset))
}

fn early(offset: Option<f64>) -> bool {
    offset.is_some_and(|offset| offset > 0.0)
}
