use proptest::prelude::*;

use super::*;

/// What came of reading `pieces`, and then of the end of the connection.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    answers: Vec<(Answer, Vec<u8>)>,
    error: Option<ResponseError>,
    /// An answer had begun and not ended.
    within: bool,
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, no_body: bool) -> Seen {
    let mut reader = ResponseReader::default();
    let mut seen = Seen::default();
    let mut body = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            match reader.read(piece, no_body, |bytes| body.extend_from_slice(bytes)) {
                Ok(step) => {
                    piece = &piece[step.consumed..];
                    match step.answer {
                        Some(answer) => seen.answers.push((answer, std::mem::take(&mut body))),
                        None => assert!(piece.is_empty(), "stopped without a reason"),
                    }
                }
                Err(error) => {
                    seen.error = Some(error);
                    return seen;
                }
            }
        }
    }
    match reader.end() {
        Some(answer) => seen.answers.push((answer, body)),
        None => seen.within = reader.is_within(),
    }
    seen
}

fn whole(text: &str) -> Seen {
    read([text.as_bytes()], false)
}

#[track_caller]
fn refused(text: &str, error: ResponseError) {
    assert_eq!(whole(text).error, Some(error), "{text:?}");
    assert!(!error.to_string().is_empty());
}

#[test]
fn bodies_end_as_their_heads_say() {
    let seen = whole(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200\r\nContent-Length: 0\r\n\r\n\
         HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n1\r\nz\r\n0\r\n\r\n\
         HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nq\
         HTTP/1.0 404 Not Found\r\n\r\nuntil the end",
    );
    let got: Vec<(u16, &[u8], bool)> = seen
        .answers
        .iter()
        .map(|(answer, body)| (answer.status, body.as_slice(), answer.keep_alive))
        .collect();
    let wanted: [(u16, &[u8], bool); 6] = [
        (200, b"ab", true),
        (200, b"", true),
        (204, b"", true),
        (200, b"xyz", true),
        (200, b"q", false),
        (404, b"until the end", false),
    ];
    assert_eq!(got, wanted);
    assert_eq!(seen.answers[5].0.body_bytes, 13);
}

#[test]
fn a_repeated_head_is_the_same_answer() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".repeat(3)
        + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
    let seen = whole(&text);
    let bytes: Vec<u64> = seen.answers.iter().map(|(a, _)| a.body_bytes).collect();
    assert_eq!(bytes, [3, 3, 3, 4]);
}

#[test]
fn an_answer_to_head_has_no_body() {
    let one = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    let mut reader = ResponseReader::default();
    let both = [&one[..], &one[..], b"abc"].concat();
    let step = reader.read(&both, true, |_| {}).unwrap();
    assert_eq!(
        (step.consumed, step.answer.unwrap().body_bytes),
        (one.len(), 0)
    );
    // The same head again, now of an answer to GET.
    let step = reader.read(&both[one.len()..], false, |_| {}).unwrap();
    assert_eq!(step.answer.unwrap().body_bytes, 3);
}

#[test]
fn what_is_cut_off_is_no_answer() {
    for text in [
        "HTTP/1.",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let seen = whole(text);
        assert_eq!(
            (seen.answers.len(), seen.error, seen.within),
            (0, None, true),
            "{text}"
        );
    }
    assert!(!whole("").within);
}

#[test]
fn what_is_no_answer_is_refused() {
    for text in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000\r\n",
        "HTTP/1.1 000 x\r\n",
        "HTTP/1.1 200 OK\rX",
        "x",
    ] {
        refused(text, ResponseError::StatusLine);
    }
    refused(
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ResponseError::Upgrade,
    );
    let head = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n");
    for line in [
        "Content-Length: 1, 2",
        "Content-Length: x",
        "a b: c",
        " folded: x",
        "no colon",
    ] {
        let seen = whole(&head(line));
        assert!(
            matches!(seen.error, Some(ResponseError::Head(_))),
            "{line}: {seen:?}"
        );
    }
    refused(
        &head("Content-Length: 1\r\nTransfer-Encoding: chunked"),
        ResponseError::Head(ParseError::LengthAndCoding),
    );
    refused(
        &(head("Transfer-Encoding: chunked") + "xyz\r\n"),
        ResponseError::Chunk(ChunkError::Size),
    );
    let large = format!(
        "HTTP/1.1 200 OK\r\nA: {}",
        "x".repeat(crate::limits::RESPONSE_HEAD_BYTES_MAX)
    );
    refused(&large, ResponseError::Head(ParseError::HeadTooLarge));
    let reason = format!(
        "HTTP/1.1 200 {}",
        "x".repeat(crate::limits::RESPONSE_HEAD_BYTES_MAX)
    );
    refused(&reason, ResponseError::Head(ParseError::HeadTooLarge));
}

#[test]
fn folded_lines_and_bare_lf_are_taken() {
    for text in [
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\t5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX:\r\n \r\n\r\nhello",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        "HTTP/1.1 200 OK\nX: a\n\tb\nContent-Length: 5\r\n\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n5 \r\nhello\n0\r\n\r\n",
    ] {
        // The second answer is known again by its bytes.
        let twice = text.repeat(2);
        for piece in [1, 2, 7, twice.len()] {
            let seen = read(twice.as_bytes().chunks(piece), false);
            let bodies: Vec<&[u8]> = seen.answers.iter().map(|(_, body)| &body[..]).collect();
            assert_eq!(
                (bodies, seen.error),
                (vec![&b"hello"[..]; 2], None),
                "{text:?}"
            );
        }
    }
    let text =
        b"HTTP/1.1 206 x\r\nContent-Range: bytes\r\n 0-0/1\r\nContent-Length: 1\r\n\r\n x\r\n y";
    let mut reader = ResponseReader::default();
    let step = reader.read(text, false, |_| {}).unwrap();
    assert_eq!(step.answer.unwrap().body_bytes, 1);
    let head = String::from_utf8(reader.last_head().to_vec()).unwrap();
    assert!(head.contains("Content-Range: bytes   0-0/1\r\n"), "{head}");
    assert_eq!(head.len(), step.consumed - 1);
    // A fold can't hide a second length.
    refused(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
        ResponseError::Head(ParseError::ContentLength),
    );
    refused(
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        ResponseError::Head(ParseError::Folded),
    );
}

#[test]
fn wide_heads_are_taken_up_to_their_bounds() {
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 1\r\n\r\nx");
    let long = format!("X: {}\r\n", "a".repeat(crate::limits::HEAD_BYTES_MAX));
    assert_eq!(whole(&head(&long)).answers.len(), 1);
    let many = "X: a\r\n".repeat(crate::limits::RESPONSE_HEADERS_MAX - 1);
    assert_eq!(whole(&head(&many)).answers.len(), 1);
    let more = many + "X: a\r\n";
    refused(&head(&more), ResponseError::Head(ParseError::TooManyFields));
}

/// Answers as a server may write them, the last perhaps cut, malformed, or ended by the close.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..60);
    let one = (0..7u8, body, 200..600u16).prop_map(|(kind, body, status)| {
        let mut bytes = format!("HTTP/1.1 {status} Some reason\r\nDate: now\r\n").into_bytes();
        match kind {
            0 => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(7) {
                    bytes.extend_from_slice(format!("{:x};e=1\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
            }
            1 => bytes
                .splice(0..0, *b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
                .for_each(drop),
            2 => bytes.extend_from_slice(b"\r\n"),
            3 => bytes.extend_from_slice(b"X: a\r\n b\n\tc\r\nY: d\n"),
            _ => {}
        }
        if !matches!(kind, 0 | 2) {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(&body);
        }
        bytes
    });
    (prop::collection::vec(one, 1..6), 0..30usize).prop_map(|(all, cut)| {
        let mut bytes = all.concat();
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        bytes
    })
}

proptest! {
    /// Where the bytes are cut makes no difference.
    #[test]
    fn any_split_reads_the_same(
        bytes in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        no_body: bool,
    ) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        let one = read([&bytes[..]], no_body);
        prop_assert_eq!(read(pieces, no_body), one);
        let one = read([&bytes[..]], no_body);
        prop_assert_eq!(read(bytes.chunks(1), no_body), one);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), good in 0..30usize) {
        let start = &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..good];
        let all = [start, &bytes[..]].concat();
        prop_assert_eq!(read([&all[..]], false), read(all.chunks(1), false));
    }
}
