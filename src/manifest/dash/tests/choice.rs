//! Which Representations are played in place of each other.

use super::*;

const SWITCHING: &str = "urn:mpeg:dash:adaptation-set-switching:2016";

fn set(attributes: &str, ids: &str, inside: &str) -> String {
    let of = |id| format!("<Representation id=\"{id}\"/>");
    let representations: String = ids.split(' ').map(of).collect();
    format!(
        "<AdaptationSet {attributes}>{inside}<SegmentTemplate media=\"$RepresentationID$/$Number$\" duration=\"4\"/>\
         {representations}</AdaptationSet>"
    )
}

/// Periods of 8 s with these sets; what each of their Representations is a number for, the same in each group, 0 in none.
fn groups(periods: &[&[String]]) -> Vec<usize> {
    let period = |sets: &&[String]| format!("<Period duration=\"PT8S\">{}</Period>", sets.concat());
    let text: String = periods.iter().map(period).collect();
    let read = read(&format!("<MPD>{text}</MPD>"));
    let mut met = Vec::new();
    let number = |of: &super::super::Representation| {
        of.choice.group.map_or(0, |group| {
            met.iter().position(|&other| other == group).unwrap_or_else(|| {
                met.push(group);
                met.len() - 1
            }) + 1
        })
    };
    read.representations().iter().map(number).collect()
}

fn switches(to: &str) -> String {
    format!("<SupplementalProperty schemeIdUri=\"{SWITCHING}\" value=\"{to}\"/>")
}

#[test]
fn a_set_is_a_group_and_what_is_played_beside_it_is_not() {
    let video = || set("mimeType=\"video/mp4\"", "v1 v2 v3", "");
    let sound = || set("mimeType=\"audio/mp4\" lang=\"en\"", "a1", "");
    let languages = || set("mimeType=\"audio/mp4\" lang=\"fr\"", "b1 b2", "");
    assert_eq!(groups(&[&[video(), sound()]]), [1, 1, 1, 0]);
    assert_eq!(groups(&[&[video(), languages()]]), [1, 1, 1, 2, 2]);
    assert_eq!(groups(&[&[video(), set("mimeType=\"video/mp4\"", "w1 w2", "")]]), [1, 1, 1, 2, 2]);
    assert_eq!(groups(&[&[sound()]]), [0], "nothing to choose");
}

#[test]
fn sets_that_may_be_switched_between_are_one_group() {
    let one = |id: &str, of: &str, to: &str| set(&format!("id=\"{id}\""), of, &switches(to));
    let plain = |id: &str, of: &str| set(&format!("id=\"{id}\""), of, "");
    assert_eq!(groups(&[&[one("1", "v1", "2"), one("2", "v2", "1"), plain("3", "v3")]]), [1, 1, 0]);
    assert_eq!(groups(&[&[plain("1", "v1"), plain("2", "v2"), one("3", "v3", "1, 2")]]), [1, 1, 1]);
    let chain = [one("1", "v1", "2"), plain("2", "v2"), one("3", "v3", "4"), one("4", "v4", "2")];
    assert_eq!(groups(&[&chain]), [1, 1, 1, 1]);
    assert_eq!(
        groups(&[&[one("1", "v1", "7,,1"), plain("2", "v2")]]),
        [0, 0],
        "with itself, and one that is not there"
    );
}

#[test]
fn a_set_goes_on_in_the_next_period() {
    let id = |id: &str, of: &str| set(&format!("id=\"{id}\""), of, "");
    assert_eq!(
        groups(&[&[id("1", "v w"), id("2", "a b")], &[id("2", "c d"), id("1", "x y")]]),
        [1, 1, 2, 2, 2, 2, 1, 1]
    );
    let kind = |kind: &str, of: &str| set(&format!("contentType=\"{kind}\""), of, "");
    let advertised = [kind("audio", "c d"), kind("video", "x y")];
    assert_eq!(
        groups(&[&[kind("video", "v w"), kind("audio", "a b")], &advertised]),
        [1, 1, 2, 2, 2, 2, 1, 1]
    );
}

#[test]
fn what_is_played_beside_a_choice_is_adapted_to_as_well() {
    let text =
        format!("<MPD><Period duration=\"PT8S\">{}{}</Period></MPD>", set("", "v w", ""), set("", "a", ""));
    let adaptive =
        |text: &str| read(text).representations().iter().map(|of| of.choice.adaptive).collect::<Vec<_>>();
    assert_eq!(adaptive(&text), [true; 3]);
    assert_eq!(adaptive(&text.replace("<Representation id=\"w\"/>", "")), [false; 2]);
    let elsewhere = read_at("https://cdn.example/live/b/stream.mpd", &text).unwrap();
    assert_ne!(elsewhere.representations()[0].choice, read(&text).representations()[0].choice);
}

/// An advertisement numbers its sets anew.
#[test]
fn sets_of_the_same_id_that_are_of_another_kind_are_another_choice() {
    let of = |kind: &str, id: &str, of: &str| set(&format!("id=\"{id}\" contentType=\"{kind}\""), of, "");
    assert_eq!(
        groups(&[
            &[of("video", "0", "v w"), of("audio", "1", "a b")],
            &[of("audio", "0", "c d"), of("video", "1", "x y")]
        ]),
        [1, 1, 2, 2, 3, 3, 4, 4]
    );
}
