//! Properties of content negotiation: Accept-Encoding and Want-Repr-Digest, over what clients may
//! write and over garbage.

use headwater::http::{AcceptEncoding, Choice, Coding, Offers, ParseLimits, digest, parse_request};
use proptest::prelude::*;
use proptest::sample::select;

/// Weights in thousandths of br, zstd, gzip, identity and `*`, as far as they are named.
type Wants = [Option<u16>; 5];

const NAMES: [&str; 5] = ["br", "zstd", "gzip", "identity", "*"];

/// Reads the lines of a field in a request that has nothing else to tell.
fn with_field<T>(
    name: &str,
    lines: &[String],
    read: impl FnOnce(&headwater::http::Headers<'_>) -> T,
) -> T {
    let mut head = "GET / HTTP/1.1\r\nhost: a\r\n".to_owned();
    for line in lines {
        head += &format!("{name}: {line}\r\n");
    }
    head += "\r\n";
    let parsed = parse_request(head.as_bytes(), &ParseLimits::default());
    read(&parsed.expect("a request").expect("all of it").head.headers)
}

fn accept_encoding(lines: &[String]) -> AcceptEncoding {
    with_field("Accept-Encoding", lines, AcceptEncoding::of)
}

/// Some of the ways to write a weight.
fn written(weight: u16, way: u8) -> String {
    let name = if way & 1 == 0 { "q" } else { "Q" };
    let space = ["", " ", "\t "][usize::from(way / 2 % 3)];
    let value = match weight {
        1000 if way & 8 != 0 => return String::new(),
        1000 => "1".to_owned(),
        0 if way & 8 != 0 => "0.0".to_owned(),
        _ => format!("0.{weight:03}"),
    };
    format!("{space};{space}{name}={value}")
}

fn cased(name: &str, upper: bool) -> String {
    match upper {
        true => name.to_ascii_uppercase(),
        false => name.to_owned(),
    }
}

fn wants() -> impl Strategy<Value = Wants> {
    let weight = prop_oneof![Just(0), Just(1000), Just(500), 0..=1000u16];
    prop::array::uniform5(prop::option::of(weight))
}

/// The members in some order, some way of writing, over some lines, with strangers among them.
fn lines(wants: Wants) -> impl Strategy<Value = Vec<String>> {
    let members: Vec<usize> = (0..5).filter(|&i| wants[i].is_some()).collect();
    let strangers = select(vec![
        "",
        "deflate",
        "compress;q=0.5",
        "gzip;q=2",
        "br;q=x",
        "zstd;q=",
    ]);
    let style = (any::<u8>(), any::<bool>(), any::<bool>());
    (
        Just(members).prop_shuffle(),
        prop::collection::vec((style, strangers), 5),
    )
        .prop_map(move |(members, styles)| {
            let mut lines = vec![String::new()];
            for (member, ((way, upper, new_line), stranger)) in members.into_iter().zip(styles) {
                if new_line {
                    lines.push(String::new());
                }
                let weight = wants[member].expect("it is named");
                let line = lines.last_mut().expect("a line");
                let name = cased(NAMES[member], upper);
                *line += &format!("{stranger}, {name}{} ,", written(weight, way));
            }
            lines
        })
}

fn offers() -> impl Strategy<Value = Offers> {
    prop::array::uniform3(prop::option::of(0..3u8))
}

/// How much is thought of a coding: what is said of it, else of `*`, else nothing.
fn weight_of(wants: &Wants, coding: usize) -> u16 {
    wants[coding].or(wants[4]).unwrap_or(0)
}

proptest! {
    #[test]
    fn the_choice_is_the_best_that_is_offered_and_wanted(
        (wants, lines) in wants().prop_flat_map(|wants| (Just(wants), lines(wants))),
        offers in offers(),
    ) {
        let accept = accept_encoding(&lines);
        let identity = wants[3].or(wants[4]);
        let possible: Vec<usize> = (0..3)
            .filter(|&i| offers[i].is_some() && weight_of(&wants, i) > 0)
            .collect();
        match accept.choose(&offers) {
            Choice::Coded(coding) => {
                let chosen = coding as usize;
                prop_assert!(possible.contains(&chosen), "{lines:?}");
                let weight = weight_of(&wants, chosen);
                prop_assert!(identity.is_none_or(|identity| weight >= identity), "{lines:?}");
                for other in possible {
                    let of_other = weight_of(&wants, other);
                    prop_assert!(weight >= of_other, "{lines:?}");
                    if weight == of_other {
                        prop_assert!(
                            (offers[chosen], chosen) <= (offers[other], other),
                            "{lines:?}"
                        );
                    }
                }
            }
            Choice::Identity => {
                prop_assert_ne!(identity, Some(0));
                let liked_more = possible.iter().filter(|&&i| {
                    identity.is_none_or(|identity| weight_of(&wants, i) >= identity)
                });
                prop_assert_eq!(liked_more.count(), 0, "{:?}", lines);
            }
            Choice::NotAcceptable => {
                prop_assert_eq!(identity, Some(0));
                prop_assert!(possible.is_empty(), "{lines:?}");
            }
        }
        prop_assert_eq!(accept.takes_identity(), identity != Some(0));
        let any = (0..3).any(|i| weight_of(&wants, i) > 0);
        prop_assert_eq!(accept.takes_codings(), any);
    }

    #[test]
    fn garbage_is_never_a_coding_that_is_not_offered(
        line in "[ -~\t]{0,80}",
        offers in offers(),
    ) {
        let choice = accept_encoding(&[line]).choose(&offers);
        if let Choice::Coded(coding) = choice {
            prop_assert!(offers[coding as usize].is_some());
        }
    }

    #[test]
    fn a_digest_is_wanted_whatever_else_is(
        preference in 0..12i64,
        others in prop::collection::vec(("[a-z*][a-z0-9_.*-]{0,9}", 0..11u8), 0..4),
        place in any::<prop::sample::Index>(),
        split in any::<bool>(),
    ) {
        let mut members: Vec<String> = others
            .iter()
            .filter(|(name, _)| name != "sha-256")
            .map(|(name, weight)| format!("{name}={weight}"))
            .collect();
        members.insert(place.index(members.len() + 1), format!("sha-256={preference}"));
        let lines = match split {
            true => members,
            false => vec![members.join(" ,\t")],
        };
        let wanted = with_field("Want-Repr-Digest", &lines, digest::wants_sha256);
        prop_assert_eq!(wanted, (1..=10).contains(&preference), "{:?}", lines);
    }

    #[test]
    fn no_line_of_garbage_breaks_the_digest(line in "[ -~\t]{0,60}") {
        let wanted = with_field("Want-Repr-Digest", std::slice::from_ref(&line), digest::wants_sha256);
        prop_assert!(!wanted || line.contains("sha-256"), "{line}");
    }
}

#[test]
fn the_codings_are_in_the_order_of_the_offers() {
    let names = Coding::ALL.map(Coding::name);
    assert_eq!(names, NAMES[..3]);
}
