use proptest::prelude::*;

use super::*;
use crate::manifest::dash::rewrite;
use crate::manifest::dash::sidx::Subsegment;
use crate::manifest::rewrite::Use;

const DAEMON: &str = "http://127.0.0.1:7223";

fn rewritten(
    text: &str,
    delay: Option<Duration>,
    map: &mut dyn FnMut(&Url, Use) -> Option<String>,
) -> String {
    let out = rewrite::mpd(&url(BASE), text.as_bytes(), delay, map).unwrap();
    String::from_utf8(out.to_vec()).unwrap()
}

/// Every URL becomes its number; gives the text and the URLs.
#[track_caller]
fn assert_rewritten(text: &str, expected: &str, urls: &[(&str, Use)]) {
    let mut seen = Vec::new();
    let out = rewritten(text, None, &mut |url, usage| {
        seen.push((url.to_string(), usage));
        Some(format!("[{}]", seen.len()))
    });
    assert_eq!(out, expected);
    assert_eq!(seen.iter().map(|(url, usage)| (url.as_str(), *usage)).collect::<Vec<_>>(), urls);
    assert_eq!(rewritten(text, None, &mut |_, _| None), text, "unasked");
}

#[test]
fn what_leads_past_us_is_written_anew() {
    assert_rewritten(
        r#"<MPD><ProgramInformation/><BaseURL>a/</BaseURL><BaseURL serviceLocation="b"> https://b.example/?x=1&amp;y </BaseURL><Location>/new.mpd</Location><PatchLocation ttl="9">patch.mpd</PatchLocation><Period xlink:href="https://ads.example/p" xlink:actuate="onLoad"><BaseURL>c/</BaseURL><BaseURL>/d/</BaseURL><AdaptationSet><SegmentTemplate initialization="init.mp4" media='https://e.example/$Number%05d$.m4s?a&amp;b'/></AdaptationSet><AdaptationSet><SegmentList><Initialization sourceURL="/i"/><SegmentURL media="f" index="/x"/><SegmentURL media="//g.example/1"/></SegmentList></AdaptationSet></Period><UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="https://t.example/1 /2 rel"/><UTCTiming schemeIdUri="urn:mpeg:dash:utc:ntp:2014" value="http://ntp.example"/></MPD>"#,
        r#"<MPD><ProgramInformation/><BaseURL>[1]</BaseURL><BaseURL serviceLocation="b">[2]</BaseURL><Location>[3]</Location><PatchLocation ttl="9">[4]</PatchLocation><Period xlink:href="https://ads.example/p" xlink:actuate="onLoad"><BaseURL>c/</BaseURL><BaseURL>[5]</BaseURL><AdaptationSet><SegmentTemplate initialization="init.mp4" media='[6]'/></AdaptationSet><AdaptationSet><SegmentList><Initialization sourceURL="[7]"/><SegmentURL media="f" index="[8]"/><SegmentURL media="[9]"/></SegmentList></AdaptationSet></Period><UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="[10] [11] rel"/><UTCTiming schemeIdUri="urn:mpeg:dash:utc:ntp:2014" value="http://ntp.example"/></MPD>"#,
        &[
            ("https://cdn.example/live/a/a/", Use::Other),
            ("https://b.example/?x=1&y", Use::Other),
            ("https://cdn.example/new.mpd", Use::Playlist),
            ("https://cdn.example/live/a/patch.mpd", Use::Playlist),
            ("https://cdn.example/d/", Use::Other),
            ("https://e.example/$Number%05d$.m4s?a&b", Use::Segment),
            ("https://cdn.example/i", Use::Map),
            ("https://cdn.example/x", Use::Other),
            ("https://g.example/1", Use::Segment),
            ("https://t.example/1", Use::Aside),
            ("https://cdn.example/2", Use::Aside),
        ],
    );
}

/// By a base URL or by the MPD's own: players differ, so it stays relative where there are both.
#[test]
fn what_an_mpd_names_as_a_part_of_it_is_found() {
    let others = r#"<Period xlink:href="https://ads.example/p"/><Period xlink:href="urn:mpeg:dash:resolve-to-zero:2013"/>"#;
    assert_rewritten(
        &format!(
            r#"<MPD><Period xlink:href="/ads/p.xml?a&amp;b" xlink:actuate="onLoad"/><Period xlink:href="p.xml"/>{others}</MPD>"#
        ),
        &format!(
            r#"<MPD><BaseURL>[3]</BaseURL><Period xlink:href="[1]" xlink:actuate="onLoad"/><Period xlink:href="[2]"/>{others}</MPD>"#
        ),
        &[
            ("https://cdn.example/ads/p.xml?a&b", Use::Aside),
            ("https://cdn.example/live/a/p.xml", Use::Aside),
            ("https://cdn.example/live/a/", Use::Other),
        ],
    );
    assert_rewritten(
        r#"<MPD><BaseURL>https://b.example/</BaseURL><Period><AdaptationSet xlink:href="p.xml"/><AdaptationSet xlink:href="/p.xml"/></Period></MPD>"#,
        r#"<MPD><BaseURL>[1]</BaseURL><Period><AdaptationSet xlink:href="p.xml"/><AdaptationSet xlink:href="[2]"/></Period></MPD>"#,
        &[("https://b.example/", Use::Other), ("https://cdn.example/p.xml", Use::Aside)],
    );
    // Such a part is relative to the MPD that it becomes a part of.
    assert_rewritten(
        r#"<Period><BaseURL>a/</BaseURL><AdaptationSet><SegmentTemplate media="/$Number$" initialization="i"/></AdaptationSet></Period>"#,
        r#"<Period><BaseURL>a/</BaseURL><AdaptationSet><SegmentTemplate media="[1]" initialization="i"/></AdaptationSet></Period>"#,
        &[("https://cdn.example/$Number$", Use::Segment)],
    );
}

#[test]
fn what_is_not_ours_stays() {
    assert_rewritten(
        r#"<MPD><BaseURL>ftp://x.example/</BaseURL><Period><EventStream><Event><BaseURL>https://x.example/</BaseURL><SegmentURL media="/x"/></Event></EventStream><AdaptationSet><ContentProtection schemeIdUri="x"><ms:laurl licenseUrl="https://l.example/"/><BaseURL>/l</BaseURL></ContentProtection><SegmentTemplate x:media="/q" media="https://$RepresentationID$.example/$Number$"/></AdaptationSet></Period></MPD>"#,
        r#"<MPD><BaseURL>ftp://x.example/</BaseURL><Period><EventStream><Event><BaseURL>https://x.example/</BaseURL><SegmentURL media="/x"/></Event></EventStream><AdaptationSet><ContentProtection schemeIdUri="x"><ms:laurl licenseUrl="https://l.example/"/><BaseURL>/l</BaseURL></ContentProtection><SegmentTemplate x:media="/q" media="https://$RepresentationID$.example/$Number$"/></AdaptationSet></Period></MPD>"#,
        &[],
    );
}

#[test]
fn a_base_is_written_down_where_there_is_none() {
    for (text, expected) in [
        ("<MPD><Period/></MPD>", "<MPD><BaseURL>[1]</BaseURL><Period/></MPD>"),
        (
            "<MPD>\n <ProgramInformation><Title>t</Title></ProgramInformation>\n <ServiceDescription/><Period/></MPD>",
            "<MPD>\n <ProgramInformation><Title>t</Title></ProgramInformation>\n <BaseURL>[1]</BaseURL><ServiceDescription/><Period/></MPD>",
        ),
        (
            "<m:MPD xmlns:m='u'><m:Period/></m:MPD>",
            "<m:MPD xmlns:m='u'><m:BaseURL>[1]</m:BaseURL><m:Period/></m:MPD>",
        ),
        (
            "\u{feff}<?xml version='1.0'?><!-- <BaseURL> --><MPD><Period/></MPD>",
            "\u{feff}<?xml version='1.0'?><!-- <BaseURL> --><MPD><BaseURL>[1]</BaseURL><Period/></MPD>",
        ),
    ] {
        assert_rewritten(text, expected, &[("https://cdn.example/live/a/", Use::Other)]);
    }
    assert_rewritten(
        "<MPD><BaseURL><![CDATA[/a&b/]]></BaseURL><Period/></MPD>",
        "<MPD><BaseURL>[1]</BaseURL><Period/></MPD>",
        &[("https://cdn.example/a&b/", Use::Other)],
    );
    assert_rewritten(
        "<MPD><BaseURL><!-- < -->/a<?b <?>&amp;<![CDATA[&b]]> </BaseURL><Period/></MPD>",
        "<MPD><BaseURL>[1]</BaseURL><Period/></MPD>",
        &[("https://cdn.example/a&&b", Use::Other)],
    );
    let escaped = rewritten("<MPD><Period/></MPD>", None, &mut |_, _| Some("/?a=1&b=\"<".to_owned()));
    assert_eq!(escaped, "<MPD><BaseURL>/?a=1&amp;b=&quot;&lt;</BaseURL><Period/></MPD>");
}

#[test]
fn a_name_with_quotes_is_none() {
    // Each is a tag to the reader, and would be another one with a value replaced or with its prefix written down.
    for text in [
        r#"<a":MPD b="c">"x="d"/>"#,
        r#"<MPD><SegmentURL a"b="c" media="/d"e="f"/></MPD>"#,
        r#"<MPD 'a="b'"/>"#,
    ] {
        let copied = rewrite::mpd(&url(BASE), text.as_bytes(), None, &mut |_, _| None);
        assert_eq!(copied, Err(Error::NotXml { line: 1 }), "{text}");
    }
}

#[test]
fn a_delay_is_written_down_when_asked_for() {
    let delay = Some(Duration::from_millis(11_520));
    for (text, expected) in [
        ("<MPD type='dynamic'/>", "<MPD suggestedPresentationDelay=\"PT11.52S\" type='dynamic'/>"),
        ("<a:MPD></a:MPD>", "<a:MPD suggestedPresentationDelay=\"PT11.52S\"></a:MPD>"),
        ("<MPD suggestedPresentationDelay='PT1S'/>", "<MPD suggestedPresentationDelay='PT1S'/>"),
    ] {
        assert_eq!(rewritten(text, delay, &mut |_, _| None), expected);
        assert_eq!(rewritten(text, None, &mut |_, _| None), text);
    }
}

/// A BaseURL, or none: relative, of the host, of another host.
fn base() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(""),
        1 => Just("<BaseURL>r/</BaseURL>"),
        1 => Just("<BaseURL>../u/x?q=1&amp;r</BaseURL>"),
        1 => Just("<BaseURL>/h/</BaseURL>"),
        1 => Just("<BaseURL>//o.example/p/</BaseURL>"),
        1 => Just("<BaseURL> <![CDATA[http://o.example:8080/c?a&b]]></BaseURL>"),
        1 => Just("<BaseURL>r/</BaseURL><BaseURL>/s/</BaseURL><BaseURL>https://t.example/</BaseURL>"),
        1 => Just("<BaseURL><!-- -->r/<!-- b --></BaseURL>"),
    ]
    .prop_map(str::to_owned)
}

fn segments() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("s"),
        Just("/s"),
        Just("https://m.example/é/s"),
        Just("?s=1&amp;n="),
        Just("../s"),
        Just("//n.example/")
    ];
    (name, 0..4).prop_map(|(name, kind)| match kind {
        0 => format!(r#"<SegmentTemplate duration="4" media="{name}$RepresentationID$$$$Number%04d$"/>"#),
        1 => format!(r#"<SegmentTemplate media="{name}$Bandwidth$/$Time$"><SegmentTimeline><S d="4" r="3"/></SegmentTimeline></SegmentTemplate>"#),
        2 => format!(r#"<SegmentList duration="4"><SegmentURL media="{name}1"/><SegmentURL mediaRange="1-2"/></SegmentList>"#),
        _ => r#"<SegmentBase indexRange="10-19"/>"#.to_owned(),
    })
}

proptest! {
    #[test]
    fn a_player_at_the_daemon_finds_every_segment(bases in [base(), base(), base(), base()], segments in segments(), prefix in prop_oneof![Just(""), Just("d:")], bom: bool) {
        let [mpd, period, set, representation] = bases;
        let text = format!(
            "<MPD mediaPresentationDuration=\"PT16S\">{mpd}<Period>{period}<AdaptationSet>{set}<Representation id=\"v w\" bandwidth=\"9\">{representation}{segments}</Representation></AdaptationSet></Period></MPD>"
        );
        let text = text.replace("</", "\u{1}").replace("<!", "\u{2}").replace('<', &format!("<{prefix}"))
            .replace('\u{1}', &format!("</{prefix}")).replace('\u{2}', "<!");
        let text = if bom { format!("\u{feff}{text}") } else { text };
        let out = rewritten(&text, None, &mut |url, _| Some(format!("/{url}")));
        let (before, after) = (read(&text), read_at(&format!("{DAEMON}/{BASE}"), &out).unwrap());
        prop_assert_eq!(before.representations().len(), 1);
        prop_assert_eq!(after.representations().len(), 1);
        let of = |presentation: &Presentation| match listing(presentation, 0, Wall(0)) {
            Some(listing) => listing.places,
            None => {
                let parts = [Subsegment { range: 20..30, duration: Duration::from_secs(4) }];
                presentation.indexed(0, 0, &parts, &Rules::default()).unwrap().places
            }
        };
        let (before, after) = (of(&before), of(&after));
        prop_assert!(!before.is_empty());
        prop_assert_eq!(before.len(), after.len());
        // An MPD that is its own segment is not followed.
        let pairs = before.iter().zip(&after).filter(|(before, _)| before.url.as_str() != BASE);
        for (before, after) in pairs {
            prop_assert_eq!(format!("{DAEMON}/{}", before.url), after.url.as_str(), "{}", out);
            prop_assert_eq!(&before.range, &after.range);
        }
    }

    #[test]
    fn nothing_changes_unasked(text in "(<MPD>|</MPD>|<BaseURL>|</BaseURL>|<S t='|'/>|\"|&amp;|&|<!--|-->|\\PC){0,20}") {
        if let Ok(same) = rewrite::mpd(&url(BASE), text.as_bytes(), None, &mut |_, _| None) {
            prop_assert_eq!(same, text.as_bytes());
        }
        let _ = read_at(BASE, &text);
    }
}
