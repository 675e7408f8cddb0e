//! A feed service: for each request it gathers 50 posts, ranks them for the reader and renders them
//! as JSON. Clients send the next request as soon as they have the answer; one thread accepts the
//! requests and hands them over, as an accept loop does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use hdrhistogram::Histogram;

use crate::cpu;
use crate::latency::{histogram, record};
use crate::offload::{Length, Offload};
use crate::random::Random;

pub(crate) const POSTS: u64 = 100_000;
const GATHERED: usize = 50;
const WARM_UP: Duration = Duration::from_millis(200);

/// Where a request's memory comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Buffers {
    /// a pool that all requests share
    Pooled,
    /// the worker that runs it, which uses them again
    Worker,
}

struct Post {
    id: u64,
    author: u64,
    likes: u64,
    comments: u64,
    age_s: u64,
    text: String,
}

pub(crate) struct Store {
    posts: HashMap<u64, Post>,
    pool: Mutex<Vec<Scratch>>,
}

#[derive(Default)]
struct Scratch {
    ranked: Vec<(f64, u64)>,
    json: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Store {
    pub(crate) fn new(posts: u64) -> Store {
        let mut random = Random::new(1);
        let post = |id| {
            let words = 5 + random.below(10);
            let text: Vec<_> = (0..words)
                .map(|_| format!("w{:x}", random.below(1 << 24)))
                .collect();
            let post = Post {
                id,
                author: random.below(5_000),
                likes: random.below(10_000),
                comments: random.below(500),
                age_s: random.below(86_400 * 7),
                text: format!("\"{}\"", text.join(" ")),
            };
            (id, post)
        };
        Store {
            posts: (0..posts).map(post).collect(),
            pool: Mutex::default(),
        }
    }

    /// Answers one request; returns the bytes of the answer.
    fn answer(&self, request: u64, buffers: Buffers) -> usize {
        match buffers {
            Buffers::Worker => SCRATCH.with_borrow_mut(|scratch| self.render(request, scratch)),
            Buffers::Pooled => {
                let taken = self
                    .pool
                    .lock()
                    .expect("no thread panics with the lock")
                    .pop();
                let mut scratch = taken.unwrap_or_default();
                let bytes = self.render(request, &mut scratch);
                let mut pool = self.pool.lock().expect("no thread panics with the lock");
                pool.push(scratch);
                bytes
            }
        }
    }

    fn render(&self, request: u64, Scratch { ranked, json }: &mut Scratch) -> usize {
        let mut random = Random::new(request);
        ranked.clear();
        json.clear();
        let reader = random.next();
        while ranked.len() < GATHERED {
            let post = &self.posts[&random.below(self.posts.len() as u64)];
            let affinity = (reader ^ post.author).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
            let interest = post.likes as f64 + 3.0 * post.comments as f64 + affinity as f64;
            let rank = interest / (2.0 + post.age_s as f64 / 3600.0).powf(1.5);
            ranked.push((rank, post.id));
        }
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        json.extend_from_slice(b"{\"items\":[");
        for (place, (rank, id)) in ranked.iter().enumerate() {
            if place > 0 {
                json.push(b',');
            }
            self.posts[id].write(*rank, json);
        }
        json.extend_from_slice(b"]}");
        std::hint::black_box(json.as_slice()).len()
    }
}

impl Post {
    fn write(&self, rank: f64, json: &mut Vec<u8>) {
        write!(
            json,
            "{{\"id\":{},\"author\":{},\"likes\":{},\"comments\":{},\"rank\":{:.3},\"text\":\"",
            self.id, self.author, self.likes, self.comments, rank
        )
        .expect("a vector takes all");
        for byte in self.text.bytes() {
            match byte {
                b'"' | b'\\' => json.extend_from_slice(&[b'\\', byte]),
                _ => json.push(byte),
            }
        }
        json.extend_from_slice(b"\"}");
    }
}

pub(crate) struct Figures {
    pub requests: u64,
    pub refused: u64,
    pub seconds: f64,
    pub cpu_us: f64,
    pub latency: Histogram<u64>,
}

/// Runs `clients` for the given time.
pub(crate) fn ask(
    pool: &Offload,
    store: &Arc<Store>,
    buffers: Buffers,
    clients: u64,
    seconds: f64,
) -> Figures {
    let (answers, answered) = mpsc::channel::<(Instant, Instant)>();
    let (mut number, mut waiting, mut refused) = (0, 0, 0);
    let mut send = |sent: Instant| {
        number += 1;
        let (store, answers, request) = (Arc::clone(store), answers.clone(), number);
        let job = move || {
            std::hint::black_box(store.answer(request, buffers));
            let _ = answers.send((sent, Instant::now()));
        };
        pool.submit(Length::Short, Box::new(job))
    };
    let mut latency = histogram();
    let start = Instant::now();
    let (warm, end) = (
        start + WARM_UP.min(Duration::from_secs_f64(seconds / 4.0)),
        start + Duration::from_secs_f64(seconds),
    );
    for _ in 0..clients {
        match send(Instant::now()) {
            true => waiting += 1,
            false => refused += 1,
        }
    }
    // Reads the CPU time at the first counted answer, and the clock at the last one.
    let (mut measured, mut last) = (None, start);
    while waiting > 0 {
        let (sent, done) = answered.recv().expect("there is a sender");
        waiting -= 1;
        if done > end && measured.is_some() {
            continue;
        }
        if done > warm {
            measured.get_or_insert_with(cpu::used);
            record(&mut latency, done - sent);
            last = done;
        }
        // The next request counts from now, even if the accepting thread takes it later.
        match send(done) {
            true => waiting += 1,
            false => refused += 1,
        }
    }
    let cpu = measured.expect("it runs until an answer has counted");
    let requests = latency.len();
    Figures {
        requests,
        refused,
        seconds: (last - warm).as_secs_f64(),
        cpu_us: (cpu::used() - cpu).as_secs_f64() * 1e6 / requests as f64,
        latency,
    }
}
