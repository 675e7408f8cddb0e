//! Measures every way that Linux offers to send a file to a socket: throughput, the sender's CPU
//! time and its system calls.
//!
//! `cargo bench --bench transfer` sends 1 GiB per row, `-- --quick` 128 MiB;
//! HEADWATER_TRANSFER_BYTES sets another amount. The file is in the page cache. The
//! sender runs on the first CPU, a reader that discards on the second. CPU time is
//! the process's less the reader's, so the kernel's io_uring workers count as well.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use headwater::limits;
use headwater::runtime::{Runtime, Stream, yield_now};
use headwater::sys;
use headwater::sys::transfer::{pipe, send, splice};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{UsageWho, getrusage};

const FILE_BYTES: u64 = 64 << 20;
const TOTAL_BYTES: u64 = 1 << 30;
const QUICK_BYTES: u64 = 128 << 20;
const PIECES: [usize; 3] = [16 << 10, 256 << 10, 1 << 20];
/// Pieces in one submission, where a way allows several.
const PIECES_PER_SUBMIT: usize = 8;
/// Zero-copy sends whose memory the kernel may still hold.
const UNNOTIFIED_MAX: usize = 64;
const CONGESTION_CONTROL: &[u8] = b"cubic";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The work of a way: send `file` until `total` bytes are sent, in pieces of `piece`.
struct Job {
    file: File,
    socket: TcpStream,
    total: u64,
    piece: usize,
}

impl Job {
    /// Where in the file each piece begins.
    fn offsets(&self) -> impl Iterator<Item = u64> + use<> {
        (0..self.total)
            .step_by(self.piece)
            .map(|at| at % FILE_BYTES)
    }
}

/// Sends everything and returns the number of system calls.
type Way = fn(Job) -> Result<u64>;

const WAYS: [(&str, Way); 7] = [
    ("read + send", read_send),
    ("sendfile, ring waits", sendfile),
    ("splice twice", splice_twice),
    ("ring SPLICE pair, linked", ring_splice),
    ("ring READ_FIXED + SEND, 8 linked", ring_read_send),
    ("ring SEND from mmap, 8 linked", ring_send_mapped),
    ("ring SEND_ZC from mmap, 8 linked", ring_send_zc),
];

fn read_send(job: Job) -> Result<u64> {
    let mut buf = vec![0; job.piece];
    let mut calls = 0;
    for offset in job.offsets() {
        job.file.read_exact_at(&mut buf, offset)?;
        calls += 1;
        let mut left = &buf[..];
        while !left.is_empty() {
            left = &left[send(job.socket.as_fd(), left, 0)?..];
            calls += 1;
        }
    }
    Ok(calls)
}

/// The server's way: on a shard, by `Stream::try_send_file` and `Stream::writable`.
fn sendfile(job: Job) -> Result<u64> {
    let job = Mutex::new(Some(job));
    let (report, reports) = std::sync::mpsc::channel();
    Runtime::new(vec![cpus().0])?.run(move |shard| {
        let job = job.lock().map(|mut job| job.take()).ok().flatten();
        let report = report.clone();
        async move {
            let Some(job) = job else { return };
            let calls = Rc::new(Cell::new(0));
            let result = send_pieces(&job, &calls).await;
            // The last turn's counters are written by the turn after it.
            yield_now().await;
            let _ = report.send(result.map(|()| calls.get() + shard.stats().enters));
        }
    })?;
    Ok(reports.recv()??)
}

async fn send_pieces(job: &Job, calls: &Cell<u64>) -> io::Result<()> {
    let stream = Stream::new(job.socket.try_clone()?);
    let mut since_yield = 0;
    for offset in job.offsets() {
        let mut sent = 0;
        while sent < job.piece {
            calls.set(calls.get() + 1);
            let wanted = job.piece - sent;
            match stream.try_send_file(job.file.as_fd(), offset + sent as u64, wanted)? {
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(n) => {
                    sent += n;
                    since_yield += n;
                    if n < wanted {
                        stream.writable().await?;
                    }
                }
                None => stream.writable().await?,
            }
            if since_yield >= limits::SEND_BUDGET_BYTES {
                since_yield = 0;
                yield_now().await;
            }
        }
    }
    Ok(())
}

fn splice_twice(job: Job) -> Result<u64> {
    let (reader, writer) = pipe()?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(job.piece as i32))?;
    let mut calls = 0;
    for offset in job.offsets() {
        let mut moved = 0;
        while moved < job.piece {
            let from = offset + moved as u64;
            let left = job.piece - moved;
            let mut in_pipe = splice(job.file.as_fd(), Some(from), writer.as_fd(), left, 0)?;
            calls += 1;
            moved += in_pipe;
            while in_pipe > 0 {
                in_pipe -= splice(reader.as_fd(), None, job.socket.as_fd(), in_pipe, 0)?;
                calls += 1;
            }
        }
    }
    Ok(calls)
}

/// A ring with the driver's flags that counts its enters.
struct Ring {
    ring: IoUring,
    enters: u64,
}

impl Ring {
    fn new() -> Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(1024).setup_submit_all();
        builder.setup_single_issuer().setup_defer_taskrun();
        Ok(Self {
            ring: builder.build(64)?,
            enters: 0,
        })
    }

    /// # Safety
    /// What the entry points to must live until its completion.
    unsafe fn push(&mut self, entry: squeue::Entry, linked: bool) -> Result<()> {
        let entry = if linked {
            entry.flags(squeue::Flags::IO_LINK)
        } else {
            entry
        };
        // SAFETY: passed on to the caller.
        unsafe { self.ring.submission().push(&entry)? };
        Ok(())
    }

    /// Submits and waits for `count` completions; returns the results and flags of all that
    /// arrived.
    fn finish(&mut self, count: usize) -> Result<Vec<(u32, u32)>> {
        self.enters += 1;
        self.ring.submit_and_wait(count)?;
        self.ring
            .completion()
            .map(|c| match c.result() {
                e if e < 0 => Err(io::Error::from_raw_os_error(-e).into()),
                n => Ok((n as u32, c.flags())),
            })
            .collect()
    }
}

fn ring_splice(job: Job) -> Result<u64> {
    let mut ring = Ring::new()?;
    let (reader, writer) = pipe()?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(job.piece as i32))?;
    let file = types::Fd(job.file.as_raw_fd());
    let socket = types::Fd(job.socket.as_raw_fd());
    let (reader, writer) = (types::Fd(reader.as_raw_fd()), types::Fd(writer.as_raw_fd()));
    let drain = |count: usize| opcode::Splice::new(reader, -1, socket, -1, count as u32).build();
    for offset in job.offsets() {
        let fill = opcode::Splice::new(file, offset as i64, writer, -1, job.piece as u32).build();
        // SAFETY: a splice points to no memory.
        unsafe {
            ring.push(fill.user_data(1), true)?;
            ring.push(drain(job.piece).user_data(2), false)?;
        }
        let both = ring.finish(2)?;
        if both[0].0 as usize != job.piece {
            return Err("a splice from the file was short".into());
        }
        let mut in_pipe = job.piece - both[1].0 as usize;
        while in_pipe > 0 {
            // SAFETY: as above.
            unsafe { ring.push(drain(in_pipe), false)? };
            in_pipe -= ring.finish(1)?[0].0 as usize;
        }
    }
    Ok(ring.enters)
}

fn ring_read_send(job: Job) -> Result<u64> {
    let mut memory = vec![0_u8; job.piece * PIECES_PER_SUBMIT];
    let mut ring = Ring::new()?;
    let whole = libc::iovec {
        iov_base: memory.as_mut_ptr().cast(),
        iov_len: memory.len(),
    };
    // SAFETY: `memory` outlives the ring, which is dropped first.
    unsafe { ring.ring.submitter().register_buffers(&[whole])? };
    let (file, socket) = (
        types::Fd(job.file.as_raw_fd()),
        types::Fd(job.socket.as_raw_fd()),
    );
    let offsets: Vec<_> = job.offsets().collect();
    for batch in offsets.chunks(PIECES_PER_SUBMIT) {
        for (n, offset) in batch.iter().enumerate() {
            let at = memory[n * job.piece..].as_mut_ptr();
            let read = opcode::ReadFixed::new(file, at, job.piece as u32, 0).offset(*offset);
            let send = opcode::Send::new(socket, at, job.piece as u32).flags(libc::MSG_WAITALL);
            // SAFETY: `at` points into `memory`, with a piece's room, and everything of a batch
            // has completed before the next begins or the memory goes.
            unsafe {
                ring.push(read.build(), true)?;
                ring.push(send.build(), n + 1 < batch.len())?;
            }
        }
        whole_pieces(&ring.finish(2 * batch.len())?, job.piece)?;
    }
    Ok(ring.enters)
}

fn whole_pieces(done: &[(u32, u32)], piece: usize) -> Result<()> {
    match done.iter().all(|(n, _)| *n as usize == piece) {
        true => Ok(()),
        false => Err("an operation completed short".into()),
    }
}

/// A file mapped for reading.
struct Mapped(*mut libc::c_void);

impl Mapped {
    fn new(file: &File) -> io::Result<Self> {
        // SAFETY: a new shared read-only mapping, whose result is checked.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                FILE_BYTES as usize,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                file.as_raw_fd(),
                0,
            )
        };
        match at {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            at => Ok(Self(at)),
        }
    }

    fn at(&self, offset: u64) -> *const u8 {
        self.0
            .cast_const()
            .cast::<u8>()
            .wrapping_add(offset as usize)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap gave, and nothing points there any more.
        unsafe { libc::munmap(self.0, FILE_BYTES as usize) };
    }
}

fn ring_send_mapped(job: Job) -> Result<u64> {
    let mapped = Mapped::new(&job.file)?;
    let mut ring = Ring::new()?;
    let socket = types::Fd(job.socket.as_raw_fd());
    let offsets: Vec<_> = job.offsets().collect();
    for batch in offsets.chunks(PIECES_PER_SUBMIT) {
        for (n, offset) in batch.iter().enumerate() {
            let send = opcode::Send::new(socket, mapped.at(*offset), job.piece as u32)
                .flags(libc::MSG_WAITALL);
            // SAFETY: the piece lies inside the mapping, which outlives the ring.
            unsafe { ring.push(send.build(), n + 1 < batch.len())? };
        }
        whole_pieces(&ring.finish(batch.len())?, job.piece)?;
    }
    Ok(ring.enters)
}

fn ring_send_zc(job: Job) -> Result<u64> {
    let mapped = Mapped::new(&job.file)?;
    let mut ring = Ring::new()?;
    let socket = types::Fd(job.socket.as_raw_fd());
    let offsets: Vec<_> = job.offsets().collect();
    let mut unnotified = 0;
    for batch in offsets.chunks(PIECES_PER_SUBMIT) {
        for (n, offset) in batch.iter().enumerate() {
            let send = opcode::SendZc::new(socket, mapped.at(*offset), job.piece as u32)
                .flags(libc::MSG_WAITALL);
            // SAFETY: the piece lies inside the mapping; every notification is waited for below
            // before it is unmapped.
            unsafe { ring.push(send.build(), n + 1 < batch.len())? };
        }
        // A send completes, and later notifies that its memory is free.
        let mut unsent = batch.len();
        while unsent > 0 || unnotified > UNNOTIFIED_MAX {
            take_zc(
                ring.finish(unsent.max(1))?,
                job.piece,
                &mut unsent,
                &mut unnotified,
            )?;
        }
    }
    while unnotified > 0 {
        take_zc(ring.finish(1)?, job.piece, &mut 0, &mut unnotified)?;
    }
    Ok(ring.enters)
}

fn take_zc(
    done: Vec<(u32, u32)>,
    piece: usize,
    unsent: &mut usize,
    unnotified: &mut usize,
) -> Result<()> {
    for (n, flags) in done {
        if cqueue::notif(flags) {
            *unnotified -= 1;
            continue;
        }
        whole_pieces(&[(n, flags)], piece)?;
        *unsent -= 1;
        *unnotified += usize::from(cqueue::more(flags));
    }
    Ok(())
}

/// The CPUs of sender and reader; the reader has one only if there are two.
fn cpus() -> (usize, Option<usize>) {
    // Asked once, before the main thread pins itself.
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| sys::cpu::allowed().unwrap_or_default());
    (
        allowed.first().copied().unwrap_or(0),
        allowed.get(1).copied(),
    )
}

fn cpu_time(of: UsageWho) -> Result<Duration> {
    let usage = getrusage(of)?;
    let micros = |t: nix::sys::time::TimeVal| t.tv_sec() * 1_000_000 + t.tv_usec();
    Ok(Duration::from_micros(
        (micros(usage.user_time()) + micros(usage.system_time())) as u64,
    ))
}

/// Discards `total` bytes from the socket without copying them; returns its CPU time.
fn discard(socket: TcpStream, total: u64, cpu: Option<usize>) -> Result<Duration> {
    if let Some(cpu) = cpu {
        sys::cpu::pin_current_thread(&[cpu])?;
    }
    let mut left = total;
    // MSG_TRUNC makes TCP drop what it would have copied (tcp(7)).
    let mut room = vec![0; 1 << 20];
    while left > 0 {
        match sys::transfer::recv(socket.as_fd(), &mut room, libc::MSG_TRUNC)? {
            0 => return Err("the sender ended early".into()),
            n => left -= n as u64,
        }
    }
    cpu_time(UsageWho::RUSAGE_THREAD)
}

struct Measured {
    elapsed: Duration,
    cpu: Duration,
    calls: u64,
    congestion_control: String,
}

fn measure(file: &File, way: Way, total: u64, piece: usize) -> Result<Measured> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // Best effort: the table's header shows the result.
    let _ = socket2::SockRef::from(&listener).set_tcp_congestion(CONGESTION_CONTROL);
    let far = TcpStream::connect(listener.local_addr()?)?;
    let (socket, _) = listener.accept()?;
    let _ = socket2::SockRef::from(&far).set_tcp_congestion(CONGESTION_CONTROL);
    let name = socket2::SockRef::from(&socket).tcp_congestion()?;
    let reader_cpu = cpus().1;
    let job = Job {
        file: file.try_clone()?,
        socket,
        total,
        piece,
    };
    let cpu_before = cpu_time(UsageWho::RUSAGE_SELF)?;
    let start = Instant::now();
    let reader = thread::spawn(move || discard(far, total, reader_cpu));
    let calls = way(job)?;
    let reader_time = reader.join().map_err(|_| "the reader panicked")??;
    let elapsed = start.elapsed();
    let cpu = (cpu_time(UsageWho::RUSAGE_SELF)? - cpu_before).saturating_sub(reader_time);
    let name = String::from_utf8_lossy(&name);
    let congestion_control = name.trim_end_matches('\0').to_owned();
    Ok(Measured {
        elapsed,
        cpu,
        calls,
        congestion_control,
    })
}

fn file() -> Result<File> {
    let mut file = tempfile::tempfile()?;
    let block: Vec<u8> = (0..1 << 20)
        .map(|n: u32| (n.wrapping_mul(0x9e37_79b9) >> 24) as u8)
        .collect();
    for _ in 0..FILE_BYTES >> 20 {
        file.write_all(&block)?;
    }
    // Waits for the write-back before anything is measured.
    file.sync_all()?;
    Ok(file)
}

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args().collect();
    if args.iter().any(|a| a == "--test") {
        return Ok(()); // `cargo test --benches` runs this; there is nothing to check.
    }
    let total = match std::env::var("HEADWATER_TRANSFER_BYTES") {
        Ok(text) => text
            .parse()
            .map_err(|e| format!("HEADWATER_TRANSFER_BYTES={text}: {e}"))?,
        Err(_) if args.iter().any(|a| a == "--quick") => QUICK_BYTES,
        Err(_) => TOTAL_BYTES,
    };
    // Whole pieces of every size.
    let total = total.max(1).div_ceil(8 << 20) * (8 << 20);
    sys::cpu::pin_current_thread(&[cpus().0])?;
    let file = file()?;
    let probe = measure(&file, read_send, 8 << 20, PIECES[2])?;
    println!(
        "file to socket, {} MiB a row, loopback TCP, kernel {}, congestion control {}, sender on CPU {}, reader on {}",
        total >> 20,
        sys::probe::kernel_release()?,
        probe.congestion_control,
        cpus().0,
        cpus()
            .1
            .map_or("any CPU".to_owned(), |cpu| format!("CPU {cpu}")),
    );
    println!(
        "{:<34} {:>8} {:>8} {:>9} {:>10}",
        "way", "piece", "GB/s", "CPU s/GB", "calls"
    );
    let gigabytes = total as f64 / 1e9;
    for (name, way) in WAYS {
        for piece in PIECES {
            let row = measure(&file, way, total, piece)?;
            println!(
                "{name:<34} {:>4} KiB {:>8.2} {:>9.3} {:>10}",
                piece >> 10,
                gigabytes / row.elapsed.as_secs_f64(),
                row.cpu.as_secs_f64() / gigabytes,
                row.calls
            );
        }
    }
    Ok(())
}
