//! Every bound of the program in one place.
//!
//! A bound that an operator may change is a default here and a field of
//! [`crate::config::Config`]; the others are fixed. Units are in the names.

// ---- shards and rings -------------------------------------------------------

/// Shards (pinned threads with a ring each) in one runtime.
pub const SHARDS_MAX: usize = 1024;
/// Submission queue entries of a shard's ring.
pub const RING_SUBMISSIONS: u32 = 1024;
/// Completion queue entries of a shard's ring: generous, since an overflow
/// costs a system call to flush.
pub const RING_COMPLETIONS: u32 = 16 * 1024;
/// Kernel workers that one ring may use for operations that block (cold files).
pub const RING_BLOCKING_WORKERS: u32 = 16;
/// Memory that the ring of one shard locks, rounded up (as measured on Linux 6.18): where the user
/// is not privileged it counts against RLIMIT_MEMLOCK, for all processes of the user together.
pub const RING_LOCKED_BYTES: u64 = 344 * 1024;
/// Receive buffers that a shard lends to the kernel; a power of two.
pub const RECV_BUFFERS: u16 = 512;
/// Size of one receive buffer.
pub const RECV_BUFFER_BYTES: usize = 4096;
/// Filled receive buffers that one stream may hold unread before its receive
/// is stopped until the reader has caught up.
pub const RECV_QUEUE_PER_STREAM: usize = 8;
/// Accepted connections that one listener may hold untaken before its accept is
/// stopped until they are; the others stay in the kernel's backlog.
pub const ACCEPTED_UNTAKEN_MAX: usize = 1024;
/// How large a receive buffer may be.
pub const RECV_BUFFER_BYTES_CEILING: usize = 1 << 24;
/// Longest wait for completions after the kernel has refused submissions for lack of memory.
pub const RING_REFUSED_PAUSE_MS: u64 = 1;
/// Structures for vectored sends and opens that a shard keeps for reuse.
pub const SPARE_SCRATCH: usize = 64;
/// Task polls between two looks at the ring.
pub const POLLS_PER_TURN: usize = 256;
/// Messages waiting in one shard's mailbox before senders are refused.
pub const MAILBOX_MESSAGES_MAX: usize = 64 * 1024;
/// Messages that a shard handles in one turn; the others wait for the next
/// (docs/decisions/047-mailbox-budget.md).
pub const MAILBOX_MESSAGES_PER_TURN: usize = 128;
/// Pause of a shard before it reads its mailbox's eventfd again when the kernel has refused to.
pub const MAILBOX_RETRY_MS: u64 = 10;

/// Output buffers that a shard keeps for reuse.
pub const OUTPUT_BUFFERS_KEPT: usize = 64;
/// Capacity above which an output buffer is freed instead of kept for reuse.
pub const OUTPUT_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Descriptors that one turn of the epoll driver finds ready; further ones are found by the next.
pub const EPOLL_EVENTS_PER_TURN: usize = 1024;
/// Turns in which a shard that ends waits for operations that the kernel still holds.
pub const WIND_DOWN_TURNS: usize = 200;
/// Length of one of the [`WIND_DOWN_TURNS`].
pub const WIND_DOWN_TURN_MS: u64 = 10;

// ---- listeners and connections ------------------------------------------------

/// Backlog asked of `listen(2)`; the kernel cuts it to `net.core.somaxconn`.
pub const BACKLOG: i32 = 65_535;
/// How long a bind is retried that finds its address in use although no living process is seen to
/// hold it: the sockets of a killed process stay open until its io_uring has been torn down.
pub const BIND_RETRY_MS: u64 = 2_000;
/// Pause before the first retry of a bind; each pause after it is longer.
pub const BIND_PAUSE_MS: u64 = 20;
/// Longest pause between two retries of a bind.
pub const BIND_PAUSE_MS_MAX: u64 = 200;
/// How long the kernel keeps a connection without data to itself, where
/// TCP_DEFER_ACCEPT is used; it is announced all the same after that.
pub const DEFER_ACCEPT_S: u32 = 1;
/// Connections of the whole server; also bounded by RLIMIT_NOFILE.
pub const CONNECTIONS_MAX: usize = 1_000_000;
/// Connections from one address (0: no separate bound).
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 0;
/// Descriptors kept for files, listeners and the program itself when the
/// connection limit is derived from RLIMIT_NOFILE.
pub const DESCRIPTORS_RESERVED: usize = 512;
/// CPUs that an affinity mask has room for: the most that Linux can be built for.
pub const CPUS_MAX: usize = 8192;
/// A shard hands fresh connections over when it has at least this many more than the least loaded one...
pub const BALANCE_LEAD_MIN: u32 = 16;
/// ...and more than this share of the mean.
pub const BALANCE_MEAN_PERCENT: u64 = 125;
/// Pause before accepting again when no connection's end announced a free descriptor.
pub const ACCEPT_RETRY_MS: u64 = 100;
/// Requests on one connection before it is closed (0: no bound).
pub const REQUESTS_PER_CONNECTION_MAX: u64 = 0;

/// Longest idle time and interval of TCP keepalive (MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL).
pub const KEEPALIVE_SECONDS_MAX: u64 = 32_767;
/// Most probes of TCP keepalive (MAX_TCP_KEEPCNT).
pub const KEEPALIVE_PROBES_MAX: u64 = 127;
/// How long the more forgetful NATs and load balancers remember a silent connection (Azure's
/// load balancer 240 s, AWS's 350 s; RFC 5382 asks for 2 h 4 min).
pub const NAT_MEMORY_S: u64 = 240;
/// Probes more often than this are more than any NAT needs.
pub const PROBE_RADIO_S: u64 = 60;

/// Share of the connection limit, in thousandths, above which the idle time-out is shortened.
pub const CONNECTIONS_LOW_PERMILLE: u64 = 800;
/// Share of the connection limit, in thousandths, at which the idle time-out is
/// [`IDLE_FLOOR_MS`].
pub const CONNECTIONS_HIGH_PERMILLE: u64 = 950;
/// Share of the memory in use that no cache can give back, in thousandths, above which the idle
/// time-out is shortened.
pub const MEMORY_LOW_PERMILLE: u64 = 850;
/// Share of the memory in use that no cache can give back, in thousandths, at which the idle
/// time-out is [`IDLE_FLOOR_MS`].
pub const MEMORY_HIGH_PERMILLE: u64 = 950;
/// However short anything is, a connection idle for less is closed only to let another in.
pub const IDLE_FLOOR_MS: u64 = 1_000;
/// Idle connections that a shard closes early after one look at connections and memory.
pub const IDLE_SHED_PER_LOOK: u64 = 256;
/// Time between two such looks while neither connections nor memory are short.
pub const PRESSURE_LOOK_MS: u64 = 1_000;
/// Time between two such looks while connections or memory are short.
pub const PRESSURE_LOOK_TIGHT_MS: u64 = 100;
/// How long a refused descriptor counts as a shortage.
pub const DESCRIPTOR_REFUSED_MS: u64 = 2_000;
/// Idle connections that a shard closes at a time when a descriptor was refused.
pub const IDLE_SHED_PER_REFUSAL: u64 = 32;
/// Connections admitted beyond the limit, each in exchange for an idle one that is being closed.
pub const CONNECTIONS_EXCHANGED_MAX: usize = 64;
/// A file of /proc or of a control group that is read for its numbers.
pub const PROC_FILE_BYTES_MAX: usize = 8 * 1024;

/// Connections on their way from one shard to another.
pub const HAND_OVERS_WAITING_MAX: usize = 1024;
/// Connections to the admin pages.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Admin pages being made at one time.
pub const ADMIN_PAGES_MAX: usize = 4;

// ---- HTTP ---------------------------------------------------------------------

/// Request line and header section together (431).
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines of a request (431).
pub const HEADERS_MAX: usize = 100;
/// Status line and header section of an answer that a client of this crate reads.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 256 * 1024;
/// Header lines of such an answer.
pub const RESPONSE_HEADERS_MAX: usize = 5000;
/// Request target (414).
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// Request method (501); the longest registered one has 17 bytes.
pub const METHOD_BYTES_MAX: usize = 32;
/// Bytes of a WebSocket message, its fragments added up (close code 1009).
pub const WEBSOCKET_MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Frames of a WebSocket message (close code 1009).
pub const WEBSOCKET_FRAGMENTS_MAX: u32 = 16 * 1024;
/// Empty lines before a request line.
pub const EMPTY_LINES_MAX: usize = 2;
/// Request body (413).
pub const BODY_BYTES_MAX: u64 = 1024 * 1024;
/// A chunk-size line with its extensions.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// All chunk extensions of one body together.
pub const CHUNK_EXTENSIONS_BYTES_MAX: usize = 4 * 1024;
/// The trailer section of a chunked body.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;
/// Body of a refused request that is read and thrown away so that the answer
/// reaches the client before the connection closes.
pub const LINGER_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of an answer that a socket may still hold when it is closed, and that the kernel goes on
/// sending. Where it holds more, the connection stays open, and counted, until the client has
/// taken them or is too slow.
pub const UNACKNOWLEDGED_AT_CLOSE_BYTES_MAX: u64 = 64 * 1024;
/// Refused connections of one shard that are read on for a while, so that their answer is not
/// destroyed by a reset; further ones are closed at once.
pub const REFUSED_LINGERING_MAX: usize = 64;
/// Bytes that a connection receives ahead while its service is at work: pipelined requests, and
/// the part of a body that the service has not asked for. Then the client has to wait.
pub const READ_AHEAD_BYTES_MAX: usize = 32 * 1024;
/// Ranges of one request; a set with more is answered with the whole file.
pub const RANGES_MAX: usize = 32;

// ---- time ---------------------------------------------------------------------

/// From a request's first byte (or a connection's start) to the end of its head (408).
pub const HEADER_TIMEOUT_MS: u64 = 10_000;
/// Between two pieces of a request body (408).
pub const BODY_TIMEOUT_MS: u64 = 30_000;
/// The least rate at which a client must send a body that is read, over each
/// [`BODY_TIMEOUT_MS`] of waiting for it (408; 0: any).
pub const BODY_RATE_BYTES_PER_S_MIN: u64 = 512;
/// How long a client that has ended its sending direction is waited with for its answer, or for
/// the next piece of one: it may be gone for good, which shows only when something is sent.
pub const HALF_CLOSE_TIMEOUT_MS: u64 = 3_000;
/// An idle keep-alive connection.
pub const IDLE_TIMEOUT_MS: u64 = 75_000;
/// A send must move [`SEND_RATE_BYTES_PER_S_MIN`] on average over each period of this length.
pub const SEND_PERIOD_MS: u64 = 10_000;
/// The least rate at which a client must take an answer.
pub const SEND_RATE_BYTES_PER_S_MIN: u64 = 1024;
/// How long a refused connection is drained before it is closed.
pub const LINGER_TIMEOUT_MS: u64 = 2_000;
/// The same for one that was refused at the connection limit.
pub const REFUSED_LINGER_TIMEOUT_MS: u64 = 1_000;
/// How often a closing connection looks whether the client has taken everything.
pub const LINGER_LOOK_MS: u64 = 100;
/// How long a connection that was accepted before a drain may take for its first request's
/// first byte.
pub const DRAIN_FIRST_REQUEST_MS: u64 = 500;
/// From SIGTERM to the end of the last connection.
pub const DRAIN_TIMEOUT_MS: u64 = 30_000;

// ---- files --------------------------------------------------------------------

/// Open files cached by one shard.
pub const CACHE_FILES_MAX: usize = 1024;
/// Bytes of small bodies cached by one shard.
pub const CACHE_BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A file up to this size is kept as a body in memory.
pub const CACHE_BODY_BYTES_MAX: usize = 64 * 1024;
/// The largest that an operator may set this to: such a body is sent by copying.
pub const CACHE_BODY_BYTES_CEILING: usize = 1024 * 1024;
/// A cached file is looked at again when it was last checked longer ago than this.
pub const CACHE_REVALIDATE_MS: u64 = 1_000;
/// Bytes of a file that one connection passes to its socket before the next one's turn.
pub const SEND_BUDGET_BYTES: usize = 1024 * 1024;
/// Bytes of files that all connections of a shard together pass in one turn.
pub const SEND_TURN_BYTES: usize = 1024 * 1024;
/// Piece of a file whose presence in the page cache is looked up and remembered as one.
pub const RESIDENCY_PIECE_BYTES: u64 = 1024 * 1024;
/// A body in memory up to this size is copied behind its head, so that both leave in one send.
pub const COPY_BYTES_MAX: usize = 4 * 1024;
/// Responses gathered from pipelined requests before they are sent.
pub const GATHER_BYTES_MAX: usize = 64 * 1024;
/// Downloads of one shard that have a part of a cold file read at a time; others wait in line.
pub const COLD_PIECES_MAX: usize = 16;
/// Piece in which a cold file is read by a kernel worker.
pub const COLD_READ_BYTES: usize = 256 * 1024;
/// File pieces that a shard remembers as being in the page cache.
pub const RESIDENCY_ENTRIES: usize = 1024;
/// How long a shard takes a file piece to be in the page cache before it looks again.
pub const RESIDENCY_TRUST_MS: u64 = 500;
/// The page cache's unit.
pub const PAGE_BYTES: u64 = 4096;
/// How long a message on standard error may wait for room in a pipe or terminal.
pub const MESSAGE_WAIT_MS: u16 = 100;
/// Bytes of a message that are written at a time: what a pipe takes without waiting (PIPE_BUF).
pub const MESSAGE_PIECE_BYTES: usize = 4096;
/// Rules about header lines of responses, after presets are expanded.
pub const HEADER_RULES_MAX: usize = 256;
/// Bytes of a header name that a rule sets.
pub const HEADER_NAME_BYTES_MAX: usize = 128;
/// Bytes of a header value that a rule sets.
pub const HEADER_VALUE_BYTES_MAX: usize = 4096;
/// Bytes of a pattern of paths.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Patterns that the braces of one pattern may expand to.
pub const PATTERN_ALTERNATIVES_MAX: usize = 64;
/// Origins that may be listed for cross-origin requests.
pub const CORS_ORIGINS_MAX: usize = 64;
/// Size above which a listing counts as large.
pub const LISTING_LARGE_BYTES: usize = 1024 * 1024;
/// Bytes of all small listings that are cached or being sent; further ones are answered with 503.
pub const LISTINGS_SMALL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of all large listings that are cached or being sent; further ones are answered with 503.
pub const LISTINGS_LARGE_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Bytes of one cached listing (100,000 names make a page of 27 MB).
pub const LISTING_CACHED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of all cached listings.
pub const LISTINGS_CACHED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The listing of an unchanged folder is reused for this many times what it took to make, if that
/// is longer than the revalidation time: making it takes at most this fraction of a CPU.
pub const LISTING_COST_SHARE: u64 = 10;
/// How long a request waits for a listing (503).
pub const LISTING_WAIT_MS: u64 = 10_000;
/// Entries of one folder listing; more are cut, and the listing says so.
pub const LISTING_ENTRIES_MAX: usize = 100_000;
/// How far an operator may raise [`LISTING_ENTRIES_MAX`].
pub const LISTING_ENTRIES_CEILING: usize = 1_000_000;
/// Level at which a listing is compressed, in any coding: it is made again every second or so.
pub const LISTING_LEVEL: usize = 1;
/// Attempts to read a file that changes while it is read.
pub const FETCH_ATTEMPTS: usize = 3;
/// Symbolic links that one lookup follows (the kernel's MAXSYMLINKS).
pub const LINKS_FOLLOWED_MAX: usize = 40;
/// Components of a path with absolute symbolic links, which are resolved one by one.
pub const LINK_STEPS_MAX: usize = 256;
/// Attempts at a lookup that keeps racing renames.
pub const LOOKUP_ATTEMPTS: usize = 8;
/// How long a transfer waits before it decides on a file whose time of modification has changed:
/// until its size is right and the write is reported.
pub const CHANGE_SETTLE_MS: u64 = 2;
/// How often it waits so before a change of which nothing is reported counts as a rewrite.
pub const CHANGE_SETTLE_LOOKS: usize = 25;
/// Places of a file whose bytes a transfer remembers, to distinguish an append from a rewrite.
pub const SAMPLES_MAX: usize = 8;
/// Bytes that it remembers at each.
pub const SAMPLE_BYTES: usize = 32;
/// The least distance between them; it grows with what was sent.
pub const SAMPLES_DISTANCE_BYTES: u64 = 256 * 1024;
/// Folders of cached files that are watched for changes at one time.
pub const FOLDER_WATCHES_MAX: usize = 4096;
/// Attempts at watching a folder whose watch ends meanwhile.
pub const WATCH_ATTEMPTS: usize = 4;
/// Devices that are remembered as ones whose changes this kernel does not all see.
pub const UNREPORTED_DEVICES_MAX: usize = 64;
/// How long the watch on a folder is kept at least when nothing of it is cached any more.
pub const FOLDER_WATCH_LINGER_MS: u64 = 10_000;
/// Bytes of reported changes that a shard reads in one turn.
pub const CHANGE_READ_BYTES: usize = 16 * 1024;
/// Batches of changes that wait for a shard before it takes everything as changed instead.
pub const CHANGE_BATCHES_MAX: usize = 64;
/// The least time between two sweeps for files that are gone.
pub const SWEEP_PERIOD_MS_MIN: u64 = 100;
/// Cached files that a sweep looks at in one turn.
pub const SWEEP_FILES_PER_TURN: usize = 64;
/// Small files of one shard that wait for the disk with a buffer each; others
/// are sent from their descriptor.
pub const COLD_READS_MAX: usize = 64;
/// A file changed less than this ago may change again without its times showing
/// it: the kernel's clock for them ticks every 1 to 10 ms.
pub const FILE_SETTLED_NS: u64 = 20_000_000;

// ---- work outside the shards ------------------------------------------------------

/// Compressions that wait or run; files beyond are sent as they are.
pub const COMPRESSIONS_MAX: usize = 64;
/// Listings that are made at a time; one of 100,000 names takes some 60 MB.
pub const LISTINGS_MAX: usize = 8;
/// Listings that wait to be made; further ones are answered with 503.
pub const LISTINGS_WAITING_MAX: usize = 4096;
/// Digests that wait or are being computed; answers beyond them go without one.
pub const DIGESTS_WAITING_MAX: usize = 16;
/// Digests that are remembered.
pub const DIGESTS_MAX: usize = 16 * 1024;
/// How long an answer waits for a compression or a digest that it can do without.
pub const WORK_WAIT_MS: u64 = 100;
/// Jobs that are remembered before those that ended are looked for.
pub const JOBS_BEFORE_SWEEP: usize = 64;
/// Piece in which work reads a file; after each, it may yield to other tasks.
pub const TASK_PIECE_BYTES: usize = 64 * 1024;
/// How long shared work may go on after the last shard has ended: its result is no longer used.
pub const WORK_STOP_MS: u64 = 250;
/// Smallest file that is compressed: below this, nothing is saved but a part of a packet.
pub const COMPRESS_BYTES_MIN: u64 = 1024;
/// Largest file that is compressed.
pub const COMPRESS_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How far an operator may raise [`COMPRESS_BYTES_MAX`]: the result is held in memory.
pub const COMPRESS_BYTES_CEILING: u64 = 256 * 1024 * 1024;
/// A compressed form is sent if it is smaller than the file by at least one part in this many.
pub const COMPRESS_GAIN_MIN: u64 = 16;
/// Working buffer of the brotli encoder's output.
pub const COMPRESS_BUFFER_BYTES: usize = 4096;
/// Level of brotli. A form is made once for all requests, so it may take more time than one made
/// for each.
pub const BROTLI_LEVEL: usize = 5;
/// The highest level of brotli.
pub const BROTLI_LEVEL_CEILING: usize = 11;
/// Level of zstd.
pub const ZSTD_LEVEL: usize = 6;
/// The highest level of zstd whose window every client must have (RFC 9659).
pub const ZSTD_LEVEL_CEILING: usize = 19;
/// Level of gzip.
pub const GZIP_LEVEL: usize = 6;
/// The highest level of gzip.
pub const GZIP_LEVEL_CEILING: usize = 9;

// ---- tasks --------------------------------------------------------------------

/// Tasks that run at one time in one pool.
pub const TASK_WORKERS_MAX: usize = 1024;
/// Threads of a pool beyond its processors, in place of those that a task holds or blocks.
pub const TASK_SPARES_MAX: usize = 64;
/// How long a spare thread waits for work before it ends.
pub const TASK_SPARE_IDLE_MS: u64 = 2_000;
/// Pools in one process at one time.
pub const TASK_POOLS_MAX: usize = 1024;
/// Classes of work in one pool at one time.
pub const TASK_CLASSES_MAX: usize = 32;
/// Unfinished tasks of one class, unless it says otherwise.
pub const TASK_QUEUE_LIMIT: usize = 16 * 1024;
/// Unfinished tasks of the whole process.
pub const TASKS_LIVE_MAX: usize = 4 * 1024 * 1024;
/// Cells of tasks that are allocated at a time.
pub const TASK_CHUNK: usize = 256;
/// Work and results up to this size live in the task's cell; larger ones are boxed.
pub const TASK_INLINE_BYTES: usize = 64;
/// Tasks in a worker's own queue; half of them go to the global queue when it is full.
pub const TASK_QUEUE: usize = 256;
/// Each time it has run this many tasks, a worker looks at the global queue before its own. A
/// prime, as in Go, so that it falls in step with nothing.
pub const TASK_GLOBAL_TICK: u32 = 61;
/// Each time it has run this many tasks, a worker looks whether background work has waited for
/// [`TASK_BACKGROUND_WAIT_NS`].
pub const TASK_BACKGROUND_TICK: u32 = 16;
/// A worker that has taken no background work for this long takes some before all other work.
pub const TASK_BACKGROUND_WAIT_NS: u64 = 5_000_000;
/// Tasks that a worker takes from its LIFO slot in a row while others wait in its queue.
pub const TASK_LIFO_BUDGET: u32 = 3;
/// Rounds over all other workers that a worker searches before it parks.
pub const TASK_SEARCH_ROUNDS: usize = 4;
/// Spin-loop hints between two such rounds, of a few dozen nanoseconds each.
pub const TASK_SEARCH_PAUSES: usize = 32;
/// Times that a worker that waits for half of a join looks for other work before it sleeps.
pub const TASK_JOIN_ROUNDS: usize = 64;
/// Time between two looks of a pool's monitor while there is work.
pub const TASK_MONITOR_MS: u64 = 1;
/// Time between two looks of the monitor for tasks that are stranded on a worker without a
/// processor, while all others are parked.
pub const TASK_RESCUE_MS: u64 = 100;
/// Looks without an awake worker after which the monitor sleeps until one is woken.
pub const TASK_MONITOR_IDLE_LOOKS: u32 = 20;
/// A task that runs for longer is asked to yield at its next checkpoint.
pub const TASK_SLICE_NS: u64 = 1_000_000;
/// A background task that has run for this long yields to interactive ones at its next checkpoint.
/// The change of threads costs some 10 us.
pub const TASK_BACKGROUND_SLICE_NS: u64 = 300_000;
/// A task that has been seen to hold its worker for this long is an overrun, and another thread
/// takes the processor: 10 ms with the time until it was first seen.
pub const TASK_HELD_NS: u64 = 9_000_000;
/// Tasks that the report of a stopped pool lists.
pub const TASKS_REPORTED: usize = 20;
/// A task that lives for longer is listed among those that may never end.
pub const TASK_OLD_MS: u64 = 1_000;
/// Tasks that a page lists.
pub const TASKS_SHOWN_MAX: usize = 1_000;
/// Time between two looks of a pool that is stopped at whether its tasks are done.
pub const TASK_STOP_LOOK_MS: u64 = 1;
/// How long a batch of short tasks should take, which is recorded with one reading of the clock.
pub const TASK_BATCH_NS: u64 = 32_000;
/// Tasks in such a batch at most.
pub const TASK_BATCH_MAX: u32 = 64;
/// Tasks that one task may make runnable with an exact stamp each; later ones are sampled.
pub const TASK_STAMPS: u32 = 4;
/// One of this many sampled tasks has its scheduling latency taken.
pub const TASK_SAMPLE: u32 = 64;

/// How long before the end of a precise wait a shard stops sleeping and looks at its ring
/// instead: about what a sleeping CPU takes to wake up.
pub const PRECISE_TIMER_SPIN_NS: u64 = 20_000;

// ---- configuration --------------------------------------------------------------

/// Media types of an operator's own.
pub const TYPES_MAX: usize = 1000;
/// A configuration file; larger is taken for a mistake.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Addresses to listen on.
pub const LISTEN_ADDRESSES_MAX: usize = 64;
/// How far an operator may raise [`HEAD_BYTES_MAX`] and [`URI_BYTES_MAX`].
pub const HEAD_BYTES_CEILING: usize = 1024 * 1024;
/// How far an operator may raise [`HEADERS_MAX`].
pub const HEADERS_CEILING: usize = 1000;
/// How far an operator may raise any size that memory does not hold at once.
pub const SIZE_BYTES_CEILING: u64 = 1 << 50;
/// How far an operator may raise a timeout: a day.
pub const TIMEOUT_MS_CEILING: u64 = 24 * 3600 * 1000;
/// How far an operator may raise [`CACHE_FILES_MAX`].
pub const CACHE_FILES_CEILING: usize = 1_000_000;
/// How large a socket buffer an operator may ask for.
pub const SOCKET_BUFFER_BYTES_CEILING: usize = 1 << 30;

// ---- being observed -------------------------------------------------------------

/// Call sites that get a number: source locations that spawn tasks, and names of operations.
pub const CALL_SITES_MAX: usize = 64 * 1024;
/// Bytes of the flight recorder's buffer of one thread (0: off).
pub const RECORDER_BYTES: usize = 2 * 1024 * 1024;
/// How far an operator may raise [`RECORDER_BYTES`].
pub const RECORDER_BYTES_CEILING: usize = 1 << 30;
/// Fewest records that a buffer of the flight recorder holds.
pub const RECORDER_RECORDS_MIN: usize = 64;
/// Threads that have ended whose last events are kept.
pub const RECORDER_RETIRED_MAX: usize = 8;
/// A shard's turn that takes longer is a stall (0: no limit).
pub const STALL_LIMIT_MS: u64 = 25;
/// How seldom the monitor looks at shards that wait.
pub const STALL_IDLE_LOOK_MS: u64 = 1_000;
/// Kinds of stalls that one shard counts separately.
pub const STALL_CAUSES_MAX: usize = 64;
/// Traces of stalls that are kept in a folder; a further one replaces the oldest.
pub const TRACE_FILES_MAX: usize = 16;
/// Least time between two traces of stalls.
pub const TRACE_FILE_PAUSE_MS: u64 = 10_000;
/// Upper bounds of the buckets of metrics that are times, in seconds.
pub const METRIC_BUCKETS_S: [f64; 16] = [
    1e-6, 4e-6, 16e-6, 64e-6, 256e-6, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    10.0,
];
/// Upper bounds of the buckets of metrics that are plain numbers.
pub const METRIC_BUCKETS: [f64; 10] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];
/// The quantiles of a distribution that pages and metrics show.
pub const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Records of one batch of the access log: some 50 KB, texts not included.
pub const ACCESS_LOG_BATCH_RECORDS: usize = 512;
/// Bytes of texts in one batch of the access log.
pub const ACCESS_LOG_BATCH_BYTES: usize = 64 * 1024;
/// Batches of one shard, full, being filled or at the writer: 2 MB. While the writer has all of
/// them, records are dropped and counted.
pub const ACCESS_LOG_BATCHES: usize = 16;
/// A text of a record, such as a request line; more of it is not logged.
pub const ACCESS_LOG_TEXT_BYTES_MAX: usize = 8 * 1024;
/// Parameters of a URL whose names the access log's writer looks at for secrets; what follows them
/// is taken for one.
pub const ACCESS_LOG_PARAMETERS_MAX: usize = 256;
/// Fields of a request that a format may name.
pub const ACCESS_LOG_HEADERS_MAX: usize = 16;
/// A template for the access log's lines.
pub const ACCESS_LOG_FORMAT_BYTES_MAX: usize = 4096;
/// A record is handed to the writer one to two of these after its request has ended.
pub const ACCESS_LOG_TICK_MS: u64 = 50;
/// Lines that the writer makes before it writes them.
pub const ACCESS_LOG_LINES_BYTES: usize = 256 * 1024;
/// How often the writer looks whether the log was renamed or removed.
pub const ACCESS_LOG_LOOK_MS: u64 = 1_000;
/// Pause before a write that has failed is tried again.
pub const ACCESS_LOG_RETRY_MS: u64 = 100;
/// The least time between two messages about a log that can't be written.
pub const ACCESS_LOG_TELL_MS: u64 = 60_000;
/// How long the program's end waits for a log that takes nothing.
pub const ACCESS_LOG_EXIT_MS: u64 = 1_000;
/// Rotated files of the access log that are kept by default.
pub const ACCESS_LOG_KEEP: usize = 7;
/// How far an operator may raise [`ACCESS_LOG_KEEP`].
pub const ACCESS_LOG_KEEP_CEILING: usize = 10_000;
/// Longest age that may be set for a rotation of the access log: some ten years.
pub const ACCESS_LOG_AGE_MS_CEILING: u64 = 3650 * 24 * 3600 * 1000;
/// Records of ended requests whose memory one shard keeps for reuse.
pub const ACCESS_LOG_SPARE_RECORDS: usize = 64;
/// Bytes that such a record may hold to be kept.
pub const ACCESS_LOG_SPARE_BYTES: usize = 1024;
/// What a pipe with room takes at once (PIPE_BUF).
pub const PIPE_PIECE_BYTES: usize = 4096;

// ---- the host's settings -------------------------------------------------------

/// The longest value of a setting that is read; the kernel gives no more than a page.
pub const SYSCTL_VALUE_BYTES_MAX: u64 = 4096;
/// A profile of settings; larger is taken for a mistake.
pub const SYSCTL_PROFILE_BYTES_MAX: u64 = 1024 * 1024;
/// A snapshot of settings; larger is taken for damage.
pub const SYSCTL_SNAPSHOT_BYTES_MAX: u64 = 1024 * 1024;

const _: () = assert!(RECV_BUFFERS.is_power_of_two());
const _: () = assert!(RING_COMPLETIONS >= 2 * RING_SUBMISSIONS);
const _: () = assert!(HEAD_BYTES_MAX >= URI_BYTES_MAX + 1024);
const _: () = assert!(LISTINGS_CACHED_BYTES_MAX <= LISTINGS_SMALL_BYTES_MAX / 2);
const _: () = assert!(LISTINGS_CACHED_BYTES_MAX <= LISTINGS_LARGE_BYTES_MAX / 2);
const _: () = assert!(CACHE_BODY_BYTES_MAX <= CACHE_BODIES_BYTES_MAX);
const _: () = assert!(SEND_TURN_BYTES >= SEND_BUDGET_BYTES);
const _: () = assert!(CACHE_BODY_BYTES_CEILING >= CACHE_BODY_BYTES_MAX);
const _: () = assert!(TIMEOUT_MS_CEILING <= u32::MAX as u64);
const _: () = assert!(CONNECTIONS_LOW_PERMILLE < CONNECTIONS_HIGH_PERMILLE);
const _: () = assert!(MEMORY_LOW_PERMILLE < MEMORY_HIGH_PERMILLE);
const _: () = assert!(CONNECTIONS_HIGH_PERMILLE < 1000 && MEMORY_HIGH_PERMILLE < 1000);
const _: () = assert!(IDLE_SHED_PER_REFUSAL <= IDLE_SHED_PER_LOOK);
const _: () = assert!(PROBE_RADIO_S < NAT_MEMORY_S);
const _: () = assert!(LINGER_TIMEOUT_MS < DRAIN_TIMEOUT_MS);
const _: () = assert!(READ_AHEAD_BYTES_MAX >= RECV_BUFFER_BYTES);
const _: () = assert!(HEAD_BYTES_MAX <= HEAD_BYTES_CEILING && HEADERS_MAX <= HEADERS_CEILING);
const _: () = assert!(TASK_QUEUE.is_power_of_two() && TASK_QUEUE < 1 << 31);
const _: () = assert!(TASKS_LIVE_MAX.is_multiple_of(TASK_CHUNK) && TASKS_LIVE_MAX <= 1 << 32);
const _: () = assert!(ACCESS_LOG_TEXT_BYTES_MAX < ACCESS_LOG_BATCH_BYTES);
const _: () = assert!(TASK_CLASSES_MAX <= 1 << 8 && TASK_POOLS_MAX <= 1 << 16);
const _: () = assert!(TASK_WORKERS_MAX + TASK_SPARES_MAX < 1 << 15);
