use std::cmp::Ordering;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::text::{Grouped, HumanSize, ToMinute, Utc};
use super::*;
use crate::http::digest::repr_digest;

fn entry(name: &[u8], is_dir: bool, size: u64) -> Entry {
    Entry {
        name: name.to_vec(),
        is_dir,
        size,
        mtime_unix_s: 1_700_000_000,
    }
}

fn listing(entries: Vec<Entry>) -> Listing {
    Listing {
        path: b"/videos/2026/".to_vec(),
        entries,
        truncated: false,
        parent: true,
    }
}

fn html(listing: &Listing) -> String {
    String::from_utf8(render_html(listing)).expect("the page is UTF-8")
}

fn json(listing: &Listing) -> String {
    String::from_utf8(render_json(listing)).expect("the array is UTF-8")
}

/// The page's tags between its list's ends, which names must not be able to add to.
fn tags(page: &str) -> Vec<&str> {
    let list = &page[page.find("<ul>").expect("a list")..page.find("</ul>").expect("its end")];
    list.split('<')
        .skip(1)
        .map(|tag| tag.split([' ', '>']).next().unwrap_or_default())
        .collect()
}

#[test]
fn folders_come_first_and_names_sort_as_people_do() {
    let names = [
        "file10", "File2", "file1", "file02", "b", "É", "a", "é2", "file", "Z",
    ];
    let mut entries: Vec<Entry> = names
        .iter()
        .map(|n| entry(n.as_bytes(), false, 1))
        .collect();
    entries.push(entry(b"z10", true, 0));
    entries.push(entry(b"Z9", true, 0));
    let sorted: Vec<_> = order::sorted(&entries)
        .iter()
        .map(|e| String::from_utf8_lossy(&e.name).into_owned())
        .collect();
    assert_eq!(
        sorted,
        [
            "Z9", "z10", "a", "b", "file", "file1", "File2", "file02", "file10", "Z", "É", "é2"
        ]
    );
}

#[test]
fn numbers_of_any_length_compare_by_value() {
    let order = |a: &str, b: &str| order::natural(a.as_bytes(), b.as_bytes());
    assert_eq!(
        order("99999999999999999999998", "99999999999999999999999"),
        Ordering::Less
    );
    assert_eq!(
        order("x100000000000000000000000", "x99999999999999999999999"),
        Ordering::Greater
    );
    assert_eq!(order("a007b", "a7b"), Ordering::Equal);
    assert_eq!(order("a0", "a00b"), Ordering::Less);
}

#[test]
fn hostile_names_stay_text() {
    let hostile: [&[u8]; 7] = [
        b"<script>alert(1)</script>",
        b"\"><img src=x onerror=alert(1)>",
        b"' onmouseover='alert(1)",
        b"javascript:alert(1)",
        b"</ul></main><h2>gone",
        b"a?b#c&amp;d",
        b"//evil.example",
    ];
    let plain = listing(vec![entry(b"plain", false, 3); hostile.len()]);
    let page = listing(hostile.iter().map(|n| entry(n, false, 3)).collect());
    let text = html(&page);
    assert_eq!(tags(&text), tags(&html(&plain)));
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(text.contains("href=\"javascript%3Aalert%281%29\""));
    assert!(text.contains("href=\"a%3Fb%23c%26amp%3Bd\""));
    assert!(text.contains("href=\"%2F%2Fevil.example\""));

    let folder = Listing {
        path: b"/<b>/\"'/".to_vec(),
        ..Listing::default()
    };
    let text = html(&folder);
    assert!(text.contains("<title>Index of /&lt;b&gt;/&quot;&#39;/</title>"));
    assert!(!text.contains("<b>"));
}

#[test]
fn names_that_are_not_utf8_keep_their_link() {
    let page = listing(vec![
        entry(b"caf\xe9 \xff.mp4", false, 1),
        entry(b"d\xf0", true, 0),
    ]);
    let text = html(&page);
    assert!(text.contains("href=\"caf%E9%20%FF.mp4\""));
    assert!(text.contains("<bdi>caf\u{fffd} \u{fffd}.mp4</bdi>"));
    assert!(text.contains("href=\"d%F0/\""));
    let array = json(&page);
    assert!(array.contains(r#""name":"caf� �.mp4""#));
    assert!(array.contains(r#""href":"caf%E9%20%FF.mp4""#));
    assert!(array.contains(r#""href":"d%F0/""#));
}

#[test]
fn names_cannot_reorder_or_break_a_line() {
    let text = html(&listing(vec![entry(
        "photo\u{202e}gpj.exe\n\u{7f}".as_bytes(),
        false,
        1,
    )]));
    assert!(text.contains("<bdi>photo\u{fffd}gpj.exe\u{240a}\u{2421}</bdi>"));
}

#[test]
fn breadcrumbs_climb_by_relative_links() {
    let text = html(&listing(vec![]));
    assert!(text.contains(
        "<a href=\"../../\"><bdi>Home</bdi></a><i>/</i><a href=\"../\"><bdi>videos</bdi></a>\
         <i>/</i><bdi aria-current=\"page\">2026</bdi>"
    ));
    let root = html(&Listing {
        path: b"/".to_vec(),
        ..Listing::default()
    });
    assert!(root.contains("<h1><bdi aria-current=\"page\">Home</bdi></h1>"));
    assert!(!root.contains("href=\"../\""));
}

#[test]
fn page_says_when_it_is_empty_or_cut() {
    let empty = html(&listing(vec![]));
    assert!(empty.contains("This folder is empty."));
    assert!(!empty.contains("class=\"notice\""));
    let mut cut = listing(vec![entry(b"a", false, 1); 1234]);
    assert!(!html(&cut).contains("class=\"notice\""));
    cut.truncated = true;
    let text = html(&cut);
    assert!(text.contains("more than the 1,234 entries shown"));
    assert!(!text.contains("This folder is empty."));
}

#[test]
fn rows_show_size_and_time_for_people_and_programs() {
    let text = html(&listing(vec![
        entry(b"a.mp4", false, 1_468_006),
        entry(b"d", true, 4096),
    ]));
    assert!(text.contains(
        "<use href=\"#video\"/></svg><bdi>a.mp4</bdi></a>\
         <data value=\"1468006\" title=\"1,468,006 bytes\">1.4 MiB</data>\
         <time datetime=\"2023-11-14T22:13:20Z\">2023-11-14 22:13</time></li>"
    ));
    assert!(text.contains("<bdi>d/</bdi></a><time "));
    assert!(text.contains("1 folder, 1 file, 1.4 MiB"));
}

#[test]
fn every_icon_has_its_symbol() {
    let names: [&[u8]; 8] = [
        b"a.TS", b"a.mp3", b"a.png", b"a.zip", b"a.txt", b"a.", b"a", b".mp4",
    ];
    let text = html(&listing(
        names
            .iter()
            .map(|n| entry(n, false, 1))
            .chain([entry(b"d", true, 0)])
            .collect(),
    ));
    for icon in [
        "folder", "video", "audio", "image", "archive", "text", "file", "up",
    ] {
        assert!(text.contains(&format!("<use href=\"#{icon}\"/>")), "{icon}");
        assert!(text.contains(&format!("<symbol id=\"{icon}\"")), "{icon}");
    }
}

#[test]
fn policy_names_the_style_sheet_of_the_page() {
    let page = html(&listing(vec![entry(b"a", false, 1)]));
    let style = page
        .split_once("<style>")
        .and_then(|(_, rest)| rest.split_once("</style>"))
        .map(|(style, _)| style)
        .expect("a style sheet");
    let hash = repr_digest(&Sha256::digest(style).into());
    let hash = hash.trim_start_matches("sha-256=:").trim_end_matches(':');
    let source = format!("'sha256-{hash}'");
    assert!(
        CONTENT_SECURITY_POLICY.contains(&source),
        "page.css has changed: put {source} into CONTENT_SECURITY_POLICY"
    );
    for forbidden in [" style=", "<script", "src=", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn sizes_have_the_largest_unit_that_fits() {
    for (size, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10_188, "9.9 KiB"),
        (10_189, "10 KiB"),
        (1_048_063, "1023 KiB"),
        (1_048_064, "1.0 MiB"),
        (1_048_576, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (u64::MAX, "16 EiB"),
    ] {
        assert_eq!(HumanSize(size).to_string(), text, "{size}");
    }
    assert_eq!(Grouped(0).to_string(), "0");
    assert_eq!(Grouped(999).to_string(), "999");
    assert_eq!(Grouped(1_234_567).to_string(), "1,234,567");
}

#[test]
fn times_are_utc_within_four_digit_years() {
    for (unix_s, iso) in [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (i64::MIN, "0000-01-01T00:00:00Z"),
        (i64::MAX, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(Utc::from_unix_s(unix_s).to_string(), iso);
    }
    assert_eq!(
        ToMinute(Utc::from_unix_s(1_700_000_000)).to_string(),
        "2023-11-14 22:13"
    );
}

#[test]
fn json_is_nginx_like_and_escaped() {
    let array = json(&listing(vec![
        entry(b"q\"\\\n\x01.mp4", false, 7),
        entry(b"d", true, 9),
    ]));
    assert_eq!(
        array,
        concat!(
            "[\n",
            r#"{"name":"d","type":"directory","mtime":"2023-11-14T22:13:20Z","href":"d/"},"#,
            "\n",
            r#"{"name":"q\"\\\u000a\u0001.mp4","type":"file","mtime":"2023-11-14T22:13:20Z","size":7,"href":"q%22%5C%0A%01.mp4"}"#,
            "\n]\n"
        )
    );
    assert_eq!(json(&listing(vec![])), "[\n]\n");
}

proptest! {
    #[test]
    fn any_name_gives_one_row_and_one_object(
        names in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..8),
    ) {
        let page = listing(names.iter().map(|n| entry(n, false, 5)).collect());
        let plain = listing(vec![entry(b"x", false, 5); names.len()]);
        let text = html(&page);
        let plain = html(&plain);
        prop_assert_eq!(tags(&text), tags(&plain));
        let array = json(&page);
        let rest = skip_value(array.as_bytes());
        prop_assert_eq!(rest.map(<[u8]>::trim_ascii), Some(&b""[..]), "{}", array);
        let mut links: Vec<Vec<u8>> = array
            .split("\"href\":\"")
            .skip(1)
            .map(|rest| percent_encoding::percent_decode_str(rest.split('"').next().unwrap_or_default()).collect())
            .collect();
        links.sort();
        let mut expected = names.clone();
        expected.sort();
        prop_assert_eq!(links, expected);
    }
}

/// What follows a well-formed JSON value of the kinds that a listing uses.
fn skip_value(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_start();
    match text.first()? {
        b'"' => skip_string(text),
        b'0'..=b'9' => Some(&text[text.iter().position(|b| !b.is_ascii_digit())?..]),
        b'[' => skip_items(&text[1..], b']', skip_value),
        b'{' => skip_items(&text[1..], b'}', |member| {
            let rest = skip_string(member.trim_ascii_start())?;
            skip_value(rest.strip_prefix(b":")?)
        }),
        _ => None,
    }
}

fn skip_items(
    mut text: &[u8],
    end: u8,
    skip_item: impl Fn(&[u8]) -> Option<&[u8]>,
) -> Option<&[u8]> {
    if let Some(rest) = text.trim_ascii_start().strip_prefix(&[end]) {
        return Some(rest);
    }
    loop {
        text = skip_item(text)?.trim_ascii_start();
        match text.split_first()? {
            (b',', rest) => text = rest,
            (byte, rest) => return (*byte == end).then_some(rest),
        }
    }
}

fn skip_string(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'u', a, b, c, d, after @ ..]
                if [a, b, c, d].iter().all(|x| x.is_ascii_hexdigit()) =>
            {
                rest = after;
            }
            [b'\\', b'"' | b'\\', after @ ..] => rest = after,
            [b'\\' | 0..0x20, ..] | [] => return None,
            [_, after @ ..] => rest = after,
        }
    }
}
