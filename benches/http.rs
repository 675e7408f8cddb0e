//! The HTTP code that every request goes through.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater::http::h1::chunked::ChunkedDecoder;
use headwater::http::h1::encode::{BodyFraming, encode_head};
use headwater::http::websocket::{Decoder, Limits, Opcode, Role, frame, mask};
use headwater::http::{
    DateValue, HeaderBlock, Known, ParseLimits, Parsed, Status, Validators, Version, conditional,
    parse_request, range, target,
};
use tungstenite::protocol::WebSocket;

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

const BROWSER: &[u8] = b"GET /videos/2024/lake-at-dawn.mp4?t=12 HTTP/1.1\r\n\
Host: media.example.org\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
Accept: video/webm,video/ogg,video/*;q=0.9,application/ogg;q=0.7,*/*;q=0.5\r\n\
Accept-Language: en-US,en;q=0.5\r\n\
Range: bytes=1048576-2097151\r\n\
Connection: keep-alive\r\n\
Referer: https://media.example.org/watch/lake-at-dawn\r\n\
Sec-Fetch-Dest: video\r\n\
Sec-Fetch-Mode: no-cors\r\n\
Sec-Fetch-Site: same-origin\r\n\
If-Range: \"65f1a2b3-3b9aca00\"\r\n\
Accept-Encoding: identity\r\n\
Priority: u=4\r\n\r\n";

fn parsed(bytes: &[u8]) -> Option<Parsed<'_>> {
    parse_request(bytes, &ParseLimits::default()).ok().flatten()
}

fn parser(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for (name, bytes) in [("small", SMALL), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| b.iter(|| black_box(parsed(black_box(bytes)))));
    }
    let burst = SMALL.repeat(16);
    group.throughput(Throughput::Elements(16));
    group.bench_function("pipelined_16", |b| {
        b.iter(|| {
            let mut rest = black_box(&burst[..]);
            while let Some(parsed) = parsed(rest) {
                black_box(&parsed);
                rest = &rest[parsed.head_bytes..];
            }
        })
    });
    group.finish();
}

fn headers(c: &mut Criterion) {
    let Some(parsed) = parsed(BROWSER) else {
        return;
    };
    let headers = parsed.head.headers;
    c.bench_function("headers/get_present", |b| {
        b.iter(|| black_box(&headers).get(black_box(Known::Range)))
    });
    c.bench_function("headers/get_absent", |b| {
        b.iter(|| black_box(&headers).get(black_box(Known::IfNoneMatch)))
    });
    let current = Validators {
        etag: Some(b"\"65f1a2b3-3b9aca00\""),
        modified_s: Some(1_710_334_643),
        is_date_strong: true,
    };
    c.bench_function("conditional/if_range", |b| {
        b.iter(|| conditional::evaluate(parsed.head.method, black_box(&headers), &current))
    });
}

fn encoder(c: &mut Criterion) {
    let date = DateValue::from_unix(1_710_334_643);
    let block = HeaderBlock::new()
        .with("content-type", "video/mp4")
        .with("etag", "\"65f1a2b3-3b9aca00\"")
        .with("last-modified", date.as_bytes())
        .with("accept-ranges", "bytes");
    let mut out = Vec::with_capacity(4096);
    c.bench_function("encode/head", |b| {
        b.iter(|| {
            out.clear();
            encode_head(
                &mut out,
                Version::Http11,
                Status::OK,
                [black_box(block.as_bytes()), b""],
                &date,
                BodyFraming::Length(black_box(1_048_576)),
                true,
            );
            black_box(out.len())
        })
    });
    c.bench_function("date/from_unix", |b| {
        b.iter(|| DateValue::from_unix(black_box(1_710_334_643)))
    });
}

fn ranges_and_targets(c: &mut Criterion) {
    for (name, field) in [
        ("range/one", &b"bytes=1048576-2097151"[..]),
        ("range/five", b"bytes=0-9,20-29,15-24,-5,100-"),
    ] {
        c.bench_function(name, |b| b.iter(|| range::plan(black_box(field), 10_000)));
    }
    for (name, path) in [
        ("target/clean", "/videos/2024/lake-at-dawn.mp4"),
        ("target/encoded", "/videos/2024/lake%20at%20dawn.mp4"),
    ] {
        c.bench_function(name, |b| b.iter(|| target::resolve(black_box(path))));
    }
}

fn chunked(c: &mut Criterion) {
    let mut body = Vec::new();
    for _ in 0..64 {
        body.extend_from_slice(b"400\r\n");
        body.extend_from_slice(&[b'x'; 1024]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let mut group = c.benchmark_group("chunked");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("64_of_1_KB", |b| {
        b.iter(|| {
            let mut decoder = ChunkedDecoder::new();
            let mut rest = black_box(&body[..]);
            while let Ok(step) = decoder.decode(rest) {
                black_box(&rest[step.data]);
                rest = &rest[step.consumed..];
                if step.done {
                    break;
                }
            }
        })
    });
    group.finish();
}

/// Masking, and reading messages of 128 bytes, compared with a byte-by-byte loop and with
/// tungstenite.
fn websocket(c: &mut Criterion) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut payload = vec![b'x'; 16 * 1024];
    let mut group = c.benchmark_group("websocket");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("mask_16_KB", |b| {
        b.iter(|| mask::apply(black_box(&mut payload), black_box(key)))
    });
    group.bench_function("mask_16_KB_byte_by_byte", |b| {
        b.iter(|| {
            for (at, byte) in black_box(&mut payload).iter_mut().enumerate() {
                *byte ^= black_box(key)[at % 4];
            }
        })
    });
    let mut frames = Vec::new();
    for _ in 0..100 {
        frame::push(&mut frames, Opcode::Text, &[b'x'; 128], None);
    }
    group.throughput(Throughput::Elements(100));
    group.bench_function("read_100", |b| {
        let mut decoder = Decoder::new(Role::Client, Limits::default());
        b.iter(|| {
            let mut rest = black_box(&mut frames[..]);
            while !rest.is_empty() {
                let Ok(step) = decoder.decode(rest) else {
                    return;
                };
                black_box(&step.event);
                let consumed = step.consumed;
                rest = &mut rest[consumed..];
            }
        })
    });
    group.bench_function("read_100_tungstenite", |b| {
        b.iter(|| {
            let input = std::io::Cursor::new(black_box(frames.clone()));
            let mut socket =
                WebSocket::from_raw_socket(input, tungstenite::protocol::Role::Client, None);
            for _ in 0..100 {
                black_box(socket.read().ok());
            }
        })
    });
    group.finish();
}

criterion_group!(
    benches,
    parser,
    headers,
    encoder,
    ranges_and_targets,
    chunked,
    websocket
);
criterion_main!(benches);
