use proptest::prelude::*;

use super::super::frame::push;
use super::*;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// What a decoder makes of `bytes`, given in pieces that end at `cuts`.
fn decode(
    role: Role,
    limits: Limits,
    bytes: &[u8],
    cuts: &[usize],
) -> (Vec<Seen>, Option<WebSocketError>) {
    let mut decoder = Decoder::new(role, limits);
    let (mut seen, mut message) = (Vec::new(), Vec::new());
    let mut bytes = bytes.to_vec();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut at = 0;
    for end in ends {
        while at < end {
            let step = match decoder.decode(&mut bytes[at..end]) {
                Ok(step) => step,
                Err(error) => return (seen, Some(error)),
            };
            assert!(step.event.is_some() || step.consumed == end - at);
            match step.event {
                Some(Event::Data { kind, bytes, last }) => {
                    assert!(last || !bytes.is_empty());
                    message.extend_from_slice(bytes);
                    if last {
                        seen.push(Seen::Message(kind, std::mem::take(&mut message)));
                    }
                }
                Some(Event::Ping(payload)) => seen.push(Seen::Ping(payload.to_vec())),
                Some(Event::Pong(payload)) => seen.push(Seen::Pong(payload.to_vec())),
                Some(Event::Close(close)) => {
                    seen.push(Seen::Close(close.code, close.reason.to_owned()));
                }
                None => {}
            }
            at += step.consumed;
        }
    }
    (seen, None)
}

fn client(bytes: &[u8]) -> (Vec<Seen>, Option<WebSocketError>) {
    decode(Role::Client, Limits::default(), bytes, &[])
}

#[test]
fn fragments_with_a_ping_between() {
    let (seen, error) = client(b"\x01\x03Hel\x89\x01!\x00\x00\x80\x02lo");
    assert_eq!(error, None);
    assert_eq!(
        seen,
        [
            Seen::Ping(b"!".to_vec()),
            Seen::Message(Kind::Text, b"Hello".to_vec())
        ]
    );
}

#[test]
fn errors_have_their_close_codes() {
    use WebSocketError as E;
    for (bytes, error, code) in [
        (&b"\x80\x00"[..], E::Fragment, 1002),
        (b"\x01\x01a\x81\x01b", E::Fragment, 1002),
        (b"\x81\x81abcd\x00", E::Masking, 1002),
        (b"\x88\x01a", E::CloseCode, 1002),
        (b"\x88\x02\x03\xed", E::CloseCode, 1002),
        (b"\x88\x02\x00\x00", E::CloseCode, 1002),
        (b"\x88\x03\x03\xe8\xff", E::Utf8, 1007),
        (b"\x81\x01\xff", E::Utf8, 1007),
        // The text ends within a letter.
        (b"\x81\x01\xc3", E::Utf8, 1007),
        (b"\x01\x01\xc3\x80\x01A", E::Utf8, 1007),
        (
            b"\x82\x7f\x00\x00\x00\x00\x10\x00\x00\x00",
            E::MessageTooLarge,
            1009,
        ),
    ] {
        assert_eq!(client(bytes).1, Some(error), "{bytes:02x?}");
        assert_eq!(error.close_code(), code);
    }
    let (_, error) = decode(Role::Server, Limits::default(), b"\x81\x00", &[]);
    assert_eq!(error, Some(E::Masking));
}

#[test]
fn messages_have_limits() {
    let limits = Limits {
        message_bytes_max: 4,
        fragments_max: 2,
    };
    let judged = |bytes: &[u8]| decode(Role::Client, limits, bytes, &[]).1;
    assert_eq!(judged(b"\x02\x02ab\x80\x02cd\x82\x04abcd"), None);
    assert_eq!(
        judged(b"\x02\x02ab\x80\x03"),
        Some(WebSocketError::MessageTooLarge)
    );
    assert_eq!(
        judged(b"\x02\x00\x00\x00\x80\x00"),
        Some(WebSocketError::TooManyFragments)
    );
}

#[test]
fn closing() {
    assert_eq!(client(b"\x88\x00").0, [Seen::Close(None, String::new())]);
    assert_eq!(
        client(b"\x88\x05\x03\xe9bye").0,
        [Seen::Close(Some(1001), "bye".to_owned())]
    );
}

proptest! {
    #[test]
    fn any_cut_of_valid_frames_decodes_the_same(
        messages in prop::collection::vec(("\\PC{0,200}", any::<bool>(), any::<[u8; 4]>()), 0..8),
        masked: bool,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let (role, mut bytes, mut wanted) = match masked {
            true => (Role::Server, Vec::new(), Vec::new()),
            false => (Role::Client, Vec::new(), Vec::new()),
        };
        for (text, is_text, key) in &messages {
            let (opcode, kind) = match is_text {
                true => (Opcode::Text, Kind::Text),
                false => (Opcode::Binary, Kind::Binary),
            };
            push(&mut bytes, opcode, text.as_bytes(), masked.then_some(*key));
            push(&mut bytes, Opcode::Ping, key, masked.then_some(*key));
            wanted.push(Seen::Message(kind, text.clone().into_bytes()));
            wanted.push(Seen::Ping(key.to_vec()));
        }
        prop_assert_eq!(decode(role, Limits::default(), &bytes, &cuts), (wanted, None));
    }

    #[test]
    fn any_cut_of_anything_decodes_the_same(
        pieces in prop::collection::vec(prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            Just(b"\x01\x02\xc3\xa9".to_vec()),
            Just(b"\x80\x01a".to_vec()),
            Just(b"\x00\x02\xe2\x82".to_vec()),
            Just(b"\x89\x03abc".to_vec()),
        ], 0..30),
        cuts in prop::collection::vec(any::<usize>(), 0..30),
    ) {
        let bytes = pieces.concat();
        prop_assert_eq!(decode(Role::Client, Limits::default(), &bytes, &cuts), client(&bytes));
    }
}
