use super::*;
use crate::manifest::dash::rewrite;

fn refused(text: &[u8], limits: &Limits) -> Error {
    let error = parse(&url(BASE), text, limits, &Rules::default()).unwrap_err();
    let rewritten = rewrite::mpd(&url(BASE), text, None, &mut |_, _| None);
    if let Ok(same) = rewritten {
        assert_eq!(same, text);
    }
    error
}

#[test]
fn what_is_no_mpd_is_refused_in_a_sentence() {
    let deep = "<a>".repeat(100_000);
    let bomb_text = "<?xml version=\"1.0\"?>\n<!DOCTYPE MPD [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>\n<MPD><BaseURL>&b;</BaseURL></MPD>";
    for (text, expected) in [
        (bomb_text, "line 2: entities are declared, and no manifest needs any"),
        (
            "<!DOCTYPE MPD SYSTEM \"file:///etc/passwd\"><MPD/>",
            "line 1: a document type declaration is not read",
        ),
        (&deep, "line 1: more than 32 nested elements"),
        ("<MPD>\n<Period>\n", "line 3: not well-formed XML in UTF-8"),
        ("<MPD><Period></MPD>", "line 1: not well-formed XML in UTF-8"),
        ("<MPD", "line 1: not well-formed XML in UTF-8"),
        ("", "line 1: not well-formed XML in UTF-8"),
        ("no XML", "line 1: not well-formed XML in UTF-8"),
        ("<html><MPD/></html>", "not a DASH manifest: the root element is not MPD"),
        ("<mpd/>", "not a DASH manifest: the root element is not MPD"),
    ] {
        let error = refused(text.as_bytes(), &Limits::default()).to_string();
        assert!(error.starts_with(expected), "{error}: {:.60}", text);
        let rewritten = rewrite::mpd(&url(BASE), text.as_bytes(), None, &mut |_, _| None);
        let bomb = rewritten.is_err_and(|error| error.is_bomb());
        assert_eq!(bomb, text == bomb_text || text == deep, "{:.60}", text);
    }
    for text in [
        "<MPD mediaPresentationDuration=\"long\"/>",
        "<MPD><Period><AdaptationSet><SegmentTemplate startNumber=\"-1\"/></AdaptationSet></Period></MPD>",
        "<MPD a=\"1\" a=\"2\"/>",
        "<MPD><Period start=\"P999999999999W\"/></MPD>",
    ] {
        let error = refused(text.as_bytes(), &Limits::default());
        assert!(matches!(error, Error::Mpd { .. } | Error::NotXml { .. }), "{error}: {text}");
        assert!(error.to_string().len() < 300);
    }
    assert_eq!(
        refused(b"<MPD>\n<Period start='PT1S' duration='PT999999999999999H'/></MPD>", &Limits::default())
            .to_string(),
        "the MPD could not be read: line 2: duration is longer than can be counted"
    );
    assert_eq!(refused(b"<MPD>\xff</MPD>", &Limits::default()), Error::NotXml { line: 1 });
    assert_eq!(refused(b"\xff\xfe<\0M\0", &Limits::default()), Error::NotXml { line: 1 });
}

#[test]
fn what_is_too_much_is_refused() {
    let limits = Limits { bytes: 1000, segments: 10, renditions: 2, ..Limits::default() };
    let long = recording(8.0, &" ".repeat(1000));
    assert_eq!(refused(long.as_bytes(), &limits), Error::TooLong { bytes: long.len(), most: 1000 });
    let many = format!("<MPD>{}</MPD>", "<a/>".repeat(100));
    assert_eq!(refused(many.as_bytes(), &limits), Error::TooMany { line: 1, what: "elements", most: 40 });
    let base = rewrite::mpd(&url(BASE), many.as_bytes(), None, &mut |_, _| Some("/".to_owned())).unwrap();
    assert!(
        base.starts_with(b"<MPD><BaseURL>/</BaseURL><a/>"),
        "what is too much to list is rewritten all the same"
    );
    let text = recording(8.0, r#"<SegmentTemplate media="$Number$" duration="4"/>"#);
    let again =
        r#"<Representation id="x"><SegmentTemplate media="x$Number$" duration="4"/></Representation>"#;
    let text =
        text.replace("</AdaptationSet>", &format!("{again}{}</AdaptationSet>", again.replace('x', "y")));
    let read = parse(&url(BASE), text.as_bytes(), &limits, &Rules::default()).unwrap();
    assert_eq!((read.representations().len(), read.left_out), (2, 1), "as many as are allowed");
    for (kind, kept) in [("static", ["0/v", "19/v"]), ("dynamic", ["5/v", "24/v"])] {
        let period = |n: usize| {
            format!(
                r#"<Period id="{n}" start="PT{n}S"><AdaptationSet><SegmentTemplate media="{n}-$Number$" duration="1"/>\
                <Representation id="v"/></AdaptationSet></Period>"#
            )
        };
        let text = format!(r#"<MPD type="{kind}">{}</MPD>"#, (0..25).map(period).collect::<String>());
        let limits = Limits { renditions: 2, ..Limits::default() };
        let read = parse(&url(BASE), text.as_bytes(), &limits, &Rules::default()).unwrap();
        let names: Vec<&str> = read.representations().iter().map(|of| of.name.as_str()).collect();
        assert_eq!((names.len(), read.left_out), (20, 5), "{kind}");
        assert_eq!([names[0], names[19]], kept, "{kind}: in order, and of what is live the newest");
    }
    // Few bytes that stand for many segments, and for as many again in each Representation.
    let limits = Limits { segments: 10, ..Limits::default() };
    let timeline = r#"<SegmentTemplate media="$RepresentationID$/$Time$"><SegmentTimeline><S d="2" r="9"/></SegmentTimeline></SegmentTemplate>"#;
    let each: String = (0..30).map(|n| format!("<Representation id=\"{n}\"/>")).collect();
    let text = format!(
        "<MPD type=\"static\"><Period><AdaptationSet>{timeline}{each}</AdaptationSet></Period></MPD>"
    );
    let read = parse(&url(BASE), text.as_bytes(), &limits, &Rules::default()).unwrap();
    assert_eq!((read.representations().len(), read.spelled()), (10, 100));
    let attributes: String = (0..101).map(|n| format!(" a{n}='1'")).collect();
    let error = refused(format!("<MPD>\n<Period{attributes}/></MPD>").as_bytes(), &Limits::default());
    assert_eq!(error.to_string(), "line 2: more than 100 attributes of one element");
    let entities = "<MPD><BaseURL>&b;</BaseURL></MPD>";
    assert!(parse(&url(BASE), entities.as_bytes(), &limits, &Rules::default()).is_err());
}
