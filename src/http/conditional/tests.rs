use super::*;
use crate::http::{ParseLimits, parse_request};

const OLDER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const NEWER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

const WHOLE: Precondition = Precondition::Proceed { use_range: false };
const RANGE: Precondition = Precondition::Proceed { use_range: true };

fn against(method: &str, lines: &[(&str, &str)], current: Validators<'_>) -> Precondition {
    let mut text = format!("{method} / HTTP/1.0\r\n");
    for (name, value) in lines {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    let head = parse_request(text.as_bytes(), &ParseLimits::default())
        .unwrap()
        .unwrap()
        .head;
    evaluate(head.method, &head.headers, &current)
}

fn check(method: &str, lines: &[(&str, &str)]) -> Precondition {
    let current = Validators {
        etag: Some(b"\"a,b\""),
        modified_s: Some(784_111_777),
        is_date_strong: true,
    };
    against(method, lines, current)
}

#[test]
fn without_conditions() {
    assert_eq!(check("GET", &[]), WHOLE);
    assert_eq!(check("GET", &[("Range", "bytes=0-")]), RANGE);
    assert_eq!(check("HEAD", &[("Range", "bytes=0-")]), WHOLE);
    assert_eq!(check("PUT", &[("Range", "bytes=0-")]), WHOLE);
}

#[test]
fn if_match_compares_strongly() {
    for (value, holds) in [
        ("*", true),
        ("\"a,b\"", true),
        ("\"x\", \"a,b\"", true),
        (",\"x\" ,\t\"a,b\"", true),
        ("W/\"a,b\"", false),
        ("\"a\"", false),
        ("", false),
        ("a,b", false),
        ("\"x\" \"a,b\"", false),
        ("\"a,b", false),
    ] {
        let wanted = if holds {
            WHOLE
        } else {
            Precondition::PreconditionFailed
        };
        assert_eq!(check("GET", &[("If-Match", value)]), wanted, "{value}");
        assert_eq!(check("PUT", &[("If-Match", value)]), wanted, "{value}");
    }
}

#[test]
fn if_none_match_compares_weakly() {
    for (value, matches) in [
        ("*", true),
        ("\"a,b\"", true),
        ("W/\"a,b\"", true),
        ("\"x\", W/\"a,b\"", true),
        ("\"a\"", false),
        ("w/\"a,b\"", false),
        ("", false),
    ] {
        let wanted = |refusal| if matches { refusal } else { WHOLE };
        let lines = [("If-None-Match", value)];
        assert_eq!(
            check("GET", &lines),
            wanted(Precondition::NotModified),
            "{value}"
        );
        assert_eq!(check("HEAD", &lines), wanted(Precondition::NotModified));
        assert_eq!(
            check("PUT", &lines),
            wanted(Precondition::PreconditionFailed)
        );
    }
    let two_lines = [("If-None-Match", "\"x\""), ("If-None-Match", "\"a,b\"")];
    assert_eq!(check("GET", &two_lines), Precondition::NotModified);
}

#[test]
fn a_weak_current_tag_never_matches_strongly() {
    let current = Validators {
        etag: Some(b"W/\"a\""),
        ..Validators::default()
    };
    assert_eq!(
        against("GET", &[("If-Match", "W/\"a\"")], current),
        Precondition::PreconditionFailed
    );
    assert_eq!(
        against("GET", &[("If-None-Match", "\"a\"")], current),
        Precondition::NotModified
    );
    let lines = [("Range", "bytes=0-"), ("If-Range", "W/\"a\"")];
    assert_eq!(against("GET", &lines, current), WHOLE);
}

#[test]
fn if_modified_since() {
    let with = |method, date| check(method, &[("If-Modified-Since", date)]);
    assert_eq!(with("GET", OLDER), WHOLE);
    assert_eq!(with("GET", SAME), Precondition::NotModified);
    assert_eq!(with("HEAD", NEWER), Precondition::NotModified);
    assert_eq!(
        with("GET", "Sunday, 06-Nov-94 08:49:37 GMT"),
        Precondition::NotModified
    );
    assert_eq!(
        with("GET", "Sun Nov  6 08:49:37 1994"),
        Precondition::NotModified
    );
    assert_eq!(with("GET", "never"), WHOLE);
    assert_eq!(with("PUT", SAME), WHOLE);
    let twice = [("If-Modified-Since", SAME), ("If-Modified-Since", SAME)];
    assert_eq!(check("GET", &twice), WHOLE);
}

#[test]
fn if_unmodified_since() {
    let with = |method, date| check(method, &[("If-Unmodified-Since", date)]);
    assert_eq!(with("GET", OLDER), Precondition::PreconditionFailed);
    assert_eq!(with("PUT", OLDER), Precondition::PreconditionFailed);
    assert_eq!(with("GET", SAME), WHOLE);
    assert_eq!(with("GET", NEWER), WHOLE);
    assert_eq!(with("GET", "never"), WHOLE);
}

#[test]
fn tags_take_precedence_over_dates() {
    assert_eq!(
        check(
            "GET",
            &[("If-None-Match", "\"x\""), ("If-Modified-Since", SAME)]
        ),
        WHOLE
    );
    assert_eq!(
        check(
            "GET",
            &[("If-Match", "\"a,b\""), ("If-Unmodified-Since", OLDER)]
        ),
        WHOLE
    );
}

#[test]
fn a_failed_expectation_comes_before_a_match() {
    assert_eq!(
        check(
            "GET",
            &[("If-Match", "\"x\""), ("If-None-Match", "\"a,b\"")]
        ),
        Precondition::PreconditionFailed
    );
    // One that holds lets the other be looked at.
    assert_eq!(
        check(
            "GET",
            &[("If-Match", "\"a,b\""), ("If-None-Match", "\"a,b\"")]
        ),
        Precondition::NotModified
    );
    assert_eq!(
        check(
            "GET",
            &[("If-Unmodified-Since", SAME), ("If-Modified-Since", SAME)]
        ),
        Precondition::NotModified
    );
}

#[test]
fn if_range() {
    for (value, holds) in [
        ("\"a,b\"", true),
        ("W/\"a,b\"", false),
        ("\"x\"", false),
        (SAME, true),
        (OLDER, false),
        (NEWER, false),
        ("never", false),
        ("", false),
    ] {
        let lines = [("Range", "bytes=0-1"), ("If-Range", value)];
        let wanted = if holds { RANGE } else { WHOLE };
        assert_eq!(check("GET", &lines), wanted, "{value}");
        assert_eq!(check("GET", &lines[1..]), WHOLE);
    }
}

#[test]
fn without_validators_only_a_star_matches() {
    let nothing = Validators::default();
    let with = |name, value| against("GET", &[("Range", "bytes=0-"), (name, value)], nothing);
    assert_eq!(with("If-Match", "*"), RANGE);
    assert_eq!(with("If-Match", "\"a\""), Precondition::PreconditionFailed);
    assert_eq!(with("If-None-Match", "*"), Precondition::NotModified);
    assert_eq!(with("If-None-Match", "\"a\""), RANGE);
    assert_eq!(with("If-Modified-Since", SAME), RANGE);
    assert_eq!(with("If-Unmodified-Since", SAME), RANGE);
    assert_eq!(with("If-Range", "\"a\""), WHOLE);
    assert_eq!(with("If-Range", "never"), WHOLE);
}
