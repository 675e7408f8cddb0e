use super::{AcceptEncoding, Choice, Coding, Offers};
use crate::http::{ParseLimits, parse_request};

const ALL: Offers = [Some(0); 3];

fn of(lines: &[&str]) -> AcceptEncoding {
    let mut head = "GET / HTTP/1.1\r\nhost: a\r\n".to_owned();
    for line in lines {
        head.push_str(&format!("Accept-Encoding: {line}\r\n"));
    }
    head.push_str("\r\n");
    let parsed = parse_request(head.as_bytes(), &ParseLimits::default());
    AcceptEncoding::of(&parsed.unwrap().unwrap().head.headers)
}

fn chosen(line: &str) -> Choice {
    of(&[line]).choose(&ALL)
}

#[test]
fn what_clients_send() {
    use Choice::{Coded, Identity, NotAcceptable};
    use Coding::{Brotli, Gzip, Zstd};
    for (line, wanted) in [
        ("gzip, deflate, br, zstd", Coded(Brotli)),
        ("gzip, deflate, br", Coded(Brotli)),
        ("gzip, deflate", Coded(Gzip)),
        ("deflate, gzip, zstd", Coded(Zstd)),
        ("GZIP", Coded(Gzip)),
        ("x-gzip", Coded(Gzip)),
        ("identity", Identity),
        ("", Identity),
        ("deflate", Identity),
        ("*", Coded(Brotli)),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", Coded(Gzip)),
        ("br;q=0, *", Coded(Zstd)),
        ("gzip;q=0.5, br;q=0.25", Coded(Gzip)),
        ("gzip;q=0.5, identity;q=0.75", Identity),
        ("gzip;q=0.5, identity;q=0.5", Coded(Gzip)),
        ("gzip;q=0", Identity),
        ("*;q=0", NotAcceptable),
        ("identity;q=0", NotAcceptable),
        ("identity;q=0, deflate", NotAcceptable),
        ("identity;q=0, gzip;q=0.001", Coded(Gzip)),
        ("identity;q=0.1, *;q=0", Identity),
        // Malformed members do not count, the others do.
        ("br;q=nonsense, gzip", Coded(Gzip)),
        ("br;q=1.5, ,;;, gzip", Coded(Gzip)),
        ("gzip ; q=0", Identity),
        ("br gzip", Identity),
    ] {
        assert_eq!(chosen(line), wanted, "{line}");
    }
}

#[test]
fn without_the_field_nothing_is_coded() {
    assert_eq!(of(&[]).choose(&ALL), Choice::Identity);
    assert!(!of(&[]).takes_codings() && of(&[]).takes_identity());
}

#[test]
fn several_lines_are_one_list() {
    let accepted = of(&["gzip", "br;q=0.5", "gzip;q=0.1"]);
    assert_eq!(accepted.choose(&ALL), Choice::Coded(Coding::Brotli));
}

#[test]
fn the_rank_decides_between_equals_and_only_there() {
    let accepted = of(&["br, gzip, zstd;q=0.9"]);
    let offers = [Some(1), Some(0), Some(0)];
    assert_eq!(accepted.choose(&offers), Choice::Coded(Coding::Gzip));
    assert_eq!(
        accepted.choose(&[None, Some(0), None]),
        Choice::Coded(Coding::Zstd)
    );
    assert_eq!(accepted.choose(&[None; 3]), Choice::Identity);
}
