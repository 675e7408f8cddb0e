//! A client that sends any bytes and reads answers one by one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A plain GET that keeps the connection.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

/// Whether the other side ended the connection without the grace of an end.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// A field's value, or an empty text.
    pub(crate) fn field(&self, name: &str) -> &str {
        let lines = self.head.lines().skip(1);
        let mut found = lines.filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        let value = found.next().unwrap_or("");
        assert_eq!(found.next(), None, "{name} stands twice: {}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }
}

/// A connection, and what was received and not yet looked at.
pub(crate) struct Client<S = TcpStream> {
    pub stream: S,
    buf: Vec<u8>,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a time-out");
        Client::on(stream)
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn on(stream: S) -> Client<S> {
        let buf = Vec::new();
        Client { stream, buf }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(request);
        self.reply()
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.ask(get(path))
    }

    /// The next answer, with its body.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        let mut reply = self.reply_head();
        let bodiless = reply.status < 200 || matches!(reply.status, 204 | 304);
        if !bodiless {
            let length = reply.field("content-length").parse();
            reply.body = self.take(length.expect("a length"));
        }
        reply
    }

    /// The next answer's head, which is all that HEAD is answered with.
    #[track_caller]
    pub(crate) fn reply_head(&mut self) -> Reply {
        loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = self.buf.drain(..at + 4).collect();
                let head = String::from_utf8(head).expect("a head in ASCII");
                let status = head.strip_prefix("HTTP/1.1 ").and_then(|h| h.get(..3));
                return Reply {
                    status: status.and_then(|s| s.parse().ok()).expect("a status"),
                    head,
                    body: Vec::new(),
                };
            }
            assert!(self.fill().expect("more of a head") > 0, "closed: {self:?}");
        }
    }

    /// The next `count` bytes.
    #[track_caller]
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buf.len() < count {
            let got = self.fill().expect("more of a body");
            assert!(got > 0, "closed after {} of {count}", self.buf.len());
        }
        self.buf.drain(..count).collect()
    }

    /// What comes until the end of the connection, whichever kind of end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => return std::mem::take(&mut self.buf),
                Ok(_) => {}
                Err(e) if is_reset(&e) => return std::mem::take(&mut self.buf),
                Err(e) => panic!("not closed: {e}"),
            }
        }
    }

    /// The server has nothing more to say and closes.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = vec![0; 64 * 1024];
        let got = loop {
            match self.stream.read(&mut piece) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.buf.extend_from_slice(&piece[..got]);
        Ok(got)
    }
}

impl<S> std::fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.buf))
    }
}
