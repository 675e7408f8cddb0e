//! WebSocket frames against those of tungstenite, in both directions and both roles.

use std::io::{self, Read, Write};

use headwater::http::websocket::{Decoder, Event, Header, Kind, Limits, Opcode, Role, frame, mask};
use proptest::prelude::*;
use tungstenite::Message;
use tungstenite::protocol::{self, WebSocket};

/// What one end has to read, and what it has written.
#[derive(Default)]
struct Pipe {
    input: io::Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.input.read(into)? {
            0 if !into.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(role: Role, input: Vec<u8>) -> WebSocket<Pipe> {
    let role = match role {
        Role::Client => protocol::Role::Client,
        Role::Server => protocol::Role::Server,
    };
    let pipe = Pipe {
        input: io::Cursor::new(input),
        output: Vec::new(),
    };
    WebSocket::from_raw_socket(pipe, role, None)
}

fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// Messages as our decoder of the end `role` has them.
fn ours(role: Role, mut bytes: Vec<u8>, cuts: &[usize]) -> Vec<Message> {
    let mut decoder = Decoder::new(role, Limits::default());
    let (mut seen, mut message) = (Vec::new(), Vec::new());
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut at = 0;
    for end in ends {
        while at < end {
            let step = decoder.decode(&mut bytes[at..end]).expect("valid frames");
            match step.event {
                Some(Event::Data { kind, bytes, last }) => {
                    message.extend_from_slice(bytes);
                    if last {
                        let whole = std::mem::take(&mut message);
                        seen.push(match kind {
                            Kind::Text => Message::text(String::from_utf8(whole).expect("UTF-8")),
                            Kind::Binary => Message::binary(whole),
                        });
                    }
                }
                Some(Event::Ping(payload)) => seen.push(Message::Ping(payload.to_vec().into())),
                Some(Event::Pong(payload)) => seen.push(Message::Pong(payload.to_vec().into())),
                Some(Event::Close(_)) | None => {}
            }
            at += step.consumed;
        }
    }
    seen
}

fn message() -> impl Strategy<Value = Message> {
    // Lengths around those at which a header grows.
    let size = prop_oneof![0..10usize, 120..130usize, 65_530..65_540usize];
    prop_oneof![
        4 => "\\PC{0,60}".prop_map(Message::text),
        4 => (size, any::<u8>()).prop_map(|(size, byte)| Message::binary(vec![byte; size])),
        1 => prop::collection::vec(any::<u8>(), 0..126).prop_map(|b| Message::Ping(b.into())),
        1 => prop::collection::vec(any::<u8>(), 0..126).prop_map(|b| Message::Pong(b.into())),
    ]
}

proptest! {
    #[test]
    fn what_tungstenite_sends_is_read(
        messages in prop::collection::vec(message(), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..10),
        client: bool,
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let mut sender = theirs(role, Vec::new());
        for message in &messages {
            sender.send(message.clone()).expect("sent");
        }
        let bytes = std::mem::take(&mut sender.get_mut().output);
        prop_assert_eq!(ours(other(role), bytes, &cuts), messages);
    }

    #[test]
    fn what_we_send_is_read_by_tungstenite(
        messages in prop::collection::vec((message(), any::<[u8; 4]>(), 1usize..5), 0..6),
        client: bool,
    ) {
        let (role, mut bytes) = if client { (Role::Client, vec![]) } else { (Role::Server, vec![]) };
        for (message, key, fragments) in &messages {
            let key = client.then_some(*key);
            let payload = message.clone().into_data();
            let opcode = match message {
                Message::Text(_) => Opcode::Text,
                Message::Ping(_) => Opcode::Ping,
                Message::Pong(_) => Opcode::Pong,
                _ => Opcode::Binary,
            };
            if opcode.is_control() || *fragments == 1 {
                frame::push(&mut bytes, opcode, &payload, key);
                continue;
            }
            // In fragments of about equal length.
            for part in 0..*fragments {
                let cut = |part| payload.len() * part / fragments;
                let piece = &payload[cut(part)..cut(part + 1)];
                let header = Header {
                    fin: part + 1 == *fragments,
                    opcode: if part == 0 { opcode } else { Opcode::Continuation },
                    mask: key,
                    len: piece.len() as u64,
                };
                let (head, len) = header.encode();
                bytes.extend_from_slice(&head[..len]);
                let start = bytes.len();
                bytes.extend_from_slice(piece);
                if let Some(key) = key {
                    mask::apply(&mut bytes[start..], key);
                }
            }
        }
        let mut receiver = theirs(other(role), bytes);
        for (message, ..) in &messages {
            prop_assert_eq!(&receiver.read().expect("a valid message"), message);
        }
    }
}
