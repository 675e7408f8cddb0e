//! A small server with one room: `/sub` by WebSocket, `/pub` by POST or WebSocket. Each test
//! defines how it handles a message.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Message, Role, WebSocket};

use crate::server::Listener;

/// What every subscriber is sent for a message.
type Relay = Box<dyn FnMut(String) -> Vec<String> + Send>;

pub(crate) struct RoomServer {
    listener: Listener,
}

struct Room {
    relay: Mutex<Relay>,
    subscribers: Mutex<Vec<mpsc::Sender<String>>>,
    /// Sent to each subscriber, byte for byte, behind the handshake.
    raw: &'static [u8],
    /// How many publishers' handshakes are refused.
    refused: Mutex<usize>,
}

impl RoomServer {
    pub(crate) fn new(relay: impl FnMut(String) -> Vec<String> + Send + 'static) -> Self {
        Self::with(b"", 0, relay)
    }

    /// One whose subscribers are first sent these bytes.
    pub(crate) fn sending(raw: &'static [u8]) -> Self {
        Self::with(raw, 0, |text| vec![text])
    }

    /// One that refuses the handshakes of this many publishers before it takes any.
    pub(crate) fn refusing(publishers: usize) -> Self {
        Self::with(b"", publishers, |text| vec![text])
    }

    fn with(
        raw: &'static [u8],
        refused: usize,
        relay: impl FnMut(String) -> Vec<String> + Send + 'static,
    ) -> Self {
        let room = Room {
            relay: Mutex::new(Box::new(relay)),
            subscribers: Mutex::default(),
            raw,
            refused: Mutex::new(refused),
        };
        Self {
            listener: Listener::new(move |connection| {
                room.serve(connection);
            }),
        }
    }

    pub(crate) fn sub(&self) -> String {
        format!("ws://{}/sub", self.listener.address)
    }

    pub(crate) fn publish(&self, scheme: &str) -> String {
        format!("{scheme}://{}/pub", self.listener.address)
    }
}

impl Room {
    fn serve(&self, connection: TcpStream) -> Option<()> {
        let _ = connection.set_nodelay(true);
        let mut reader = BufReader::new(connection.try_clone().ok()?);
        loop {
            let (mut key, mut length, mut first) = (None, 0, String::new());
            reader
                .read_line(&mut first)
                .ok()
                .filter(|&count| count > 0)?;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    break;
                };
                match name.to_ascii_lowercase().as_str() {
                    "sec-websocket-key" => key = Some(value.to_owned()),
                    "content-length" => length = value.parse().ok()?,
                    _ => {}
                }
            }
            if let Some(key) = key {
                return self.speak(connection, &key, first.contains(" /sub "));
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            self.publish(String::from_utf8(body).ok()?);
            let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
            (&connection).write_all(answer).ok()?;
        }
    }

    fn publish(&self, text: String) {
        let mut relay = self.relay.lock().expect("not poisoned");
        let texts = relay(text);
        // In the relay's order for all.
        let mut subscribers = self.subscribers.lock().expect("not poisoned");
        for text in texts {
            subscribers.retain(|subscriber| subscriber.send(text.clone()).is_ok());
        }
    }

    fn speak(&self, mut connection: TcpStream, key: &str, subscribes: bool) -> Option<()> {
        if !subscribes {
            let mut refused = self.refused.lock().expect("not poisoned");
            if *refused > 0 {
                *refused -= 1;
                let answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
                return connection.write_all(answer).ok();
            }
        }
        let accept = derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let (sender, texts) = mpsc::channel();
        if subscribes {
            self.subscribers.lock().expect("not poisoned").push(sender);
        }
        connection.write_all(head.as_bytes()).ok()?;
        if subscribes {
            connection.write_all(self.raw).ok()?;
        }
        let mut socket = WebSocket::from_raw_socket(connection, Role::Server, None);
        if subscribes {
            for text in texts {
                socket.send(Message::text(text)).ok()?;
            }
            return None;
        }
        loop {
            if let Message::Text(text) = socket.read().ok()? {
                self.publish(text.as_str().to_owned());
            }
        }
    }
}
