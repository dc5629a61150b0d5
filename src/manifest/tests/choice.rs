//! Which playlists of a master are played in place of each other.

use super::url;
use crate::manifest::Limits;
use crate::manifest::choice::choices;
use crate::manifest::hls::{Playlist, parse};
use crate::manifest::identity::Rules;
use crate::model::ids::Group;

fn media(kind: &str, group: &str, uri: &str) -> String {
    format!("#EXT-X-MEDIA:TYPE={kind},GROUP-ID=\"{group}\",NAME=\"{uri}\",URI=\"{uri}\"\n")
}

fn variant(attributes: &str, uri: &str) -> String {
    format!("#EXT-X-STREAM-INF:BANDWIDTH=1{attributes}\n{uri}\n")
}

fn iframes(uri: &str) -> String {
    format!("#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"{uri}\"\n")
}

/// In which group a master of these lines, which has an address of its own, has this playlist.
fn group_of(lines: &[String], name: &str) -> Option<Group> {
    let text = format!("#EXTM3U\n{}", lines.concat());
    let base = url(&format!("https://cdn.example/{}.m3u8", lines.len()));
    let playlist = parse(&base, text.as_bytes(), &Limits::default(), &Rules::default()).unwrap();
    let Playlist::Master(master) = playlist else { panic!("a master: {text}") };
    let choices = choices(&master, &Rules::default());
    let of = choices.iter().find(|(url, _)| url.path().trim_start_matches('/') == name);
    of.and_then(|(_, choice)| choice.group)
}

/// The groups that this master has, and whatever else is adapted to, as the last one: `a b|c|` and so on.
fn groups(lines: &[String]) -> String {
    let text = format!("#EXTM3U\n{}", lines.concat());
    let base = url("https://cdn.example/master.m3u8");
    let playlist = parse(&base, text.as_bytes(), &Limits::default(), &Rules::default()).unwrap();
    let Playlist::Master(master) = playlist else { panic!("a master: {text}") };
    let mut groups = Vec::new();
    let (mut names, mut rest): (Vec<Vec<&str>>, Vec<&str>) = (Vec::new(), Vec::new());
    for (url, choice) in choices(&master, &Rules::default()) {
        let name = url.path().trim_start_matches('/');
        let Some(group) = choice.group else {
            assert!(choice.adaptive, "{name}: nothing to choose is not said");
            rest.push(name);
            continue;
        };
        match groups.iter().position(|&other| other == group) {
            Some(at) => names[at].push(name),
            None => {
                groups.push(group);
                names.push(vec![name]);
            }
        }
    }
    names.push(rest);
    names.iter().map(|names| names.join(" ")).collect::<Vec<_>>().join("|")
}

#[test]
fn variants_are_one_group_and_sound_is_played_beside_it() {
    let sound = || [media("AUDIO", "a", "en"), media("AUDIO", "a", "fr")].concat();
    let with = ",AUDIO=\"a\"";
    assert_eq!(groups(&[variant("", "lo"), variant("", "hi")]), "lo hi|");
    assert_eq!(groups(&[sound(), variant(with, "lo"), variant(with, "hi")]), "en fr|lo hi|");
    assert_eq!(groups(&[media("AUDIO", "a", "en"), variant(with, "lo"), variant(with, "hi")]), "lo hi|en");
    assert_eq!(groups(&[sound(), variant(with, "only")]), "en fr|", "one of two languages");
    assert_eq!(groups(&[media("AUDIO", "a", "en"), variant(with, "only")]), "", "nothing to choose");
}

/// Which of them goes with a variant is not another choice: who goes to another variant goes to its sound.
#[test]
fn sound_of_all_qualities_is_one_group() {
    let lines = [
        media("AUDIO", "low", "lo-en"),
        media("AUDIO", "high", "hi-en"),
        variant(",AUDIO=\"low\"", "lo"),
        variant(",AUDIO=\"high\"", "hi"),
    ];
    assert_eq!(groups(&lines), "lo-en hi-en|lo hi|");
    let shared =
        [&lines[..2], &[variant(",AUDIO=\"low\"", "one"), variant(",AUDIO=\"high\"", "one")]].concat();
    assert_eq!(groups(&shared), "lo-en hi-en|one", "one playlist in two variants is none to choose from");
}

#[test]
fn a_variant_of_sound_alone_is_one_unless_it_is_the_sound_of_the_others() {
    let with = ",AUDIO=\"a\"";
    let own = [variant("", "lo"), variant("", "hi"), variant(",CODECS=\"mp4a.40.2\"", "radio")];
    assert_eq!(groups(&own), "lo hi radio|");
    let lines = [
        variant(with, "lo"),
        variant(with, "hi"),
        variant(",CODECS=\"mp4a.40.2\"", "en"),
        media("AUDIO", "a", "en"),
        media("AUDIO", "a", "fr"),
    ];
    assert_eq!(groups(&lines), "en fr|lo hi|", "played beside them by whoever can");
}

#[test]
fn redundant_variants_are_chosen_from_and_the_same_one_twice_is_not() {
    assert_eq!(groups(&[variant("", "hi"), variant("", "backup/hi")]), "hi backup/hi|");
    assert_eq!(groups(&[variant("", "hi"), variant(",CODECS=\"x\"", "hi"), variant("", "lo")]), "hi lo|");
}

#[test]
fn text_cameras_and_iframes_are_groups_of_their_own() {
    let lines = [
        media("SUBTITLES", "s", "en.vtt"),
        media("SUBTITLES", "s", "fr.vtt"),
        media("VIDEO", "c", "left"),
        media("VIDEO", "c", "right"),
        media("VIDEO", "c", "hi"),
        media("OTHER", "o", "what"),
        variant(",VIDEO=\"c\"", "lo"),
        variant(",VIDEO=\"c\"", "hi"),
        iframes("lo-i"),
        iframes("hi-i"),
    ];
    assert_eq!(groups(&lines), "en.vtt fr.vtt|lo hi|left right|lo-i hi-i|what");
    assert_eq!(groups(&[variant("", "lo"), iframes("lo-i")]), "", "one I-frame playlist");
}

/// One player may have loaded several: all renditions, and those that its screen is large enough for.
#[test]
fn masters_that_name_the_same_playlists_agree() {
    let [high, low, mid] = ["hi", "lo", "mid"].map(|name| variant("", name));
    let all = [low.clone(), mid.clone(), high.clone()];
    for name in ["hi", "mid"] {
        assert!(group_of(&all, name).is_some());
        assert_eq!(group_of(&all, name), group_of(&[high.clone(), mid.clone()], name), "{name}");
    }
    assert_eq!(group_of(&all, "lo"), group_of(&all, "hi"));
    assert_ne!(group_of(&all, "lo"), group_of(&[low, mid], "lo"), "another comes first there");
    let sound = [media("AUDIO", "a", "hi"), media("AUDIO", "a", "fr")].concat();
    assert_ne!(group_of(&all, "hi"), group_of(&[sound], "hi"), "sound is not");
}
