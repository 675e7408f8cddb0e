//! The bounds and defaults of the load generator, in one place; those of the server are in `src/limits.rs`.

/// Connections of one load.
pub(crate) const CONNECTIONS_MAX: usize = 1_000_000;
/// Requests sent ahead on one connection.
pub(crate) const PIPELINE_MAX: usize = 1024;
/// Connections that one shard makes at a time: listeners have short backlogs.
pub(crate) const CONNECTING_MAX: usize = 128;
/// Pause before a connection that could not be made is tried again.
pub(crate) const RECONNECT_MS: u64 = 10;
/// How long a load waits for answers after its time; not longer than a request's time-out.
pub(crate) const GRACE_MS: u64 = 2_000;
/// A request without an answer for this long has failed.
pub(crate) const TIMEOUT_MS: u64 = 10_000;
/// How often a shard of a load reports.
pub(crate) const REPORT_MS: u64 = 1_000;
/// How often it checks whether it must stop.
pub(crate) const STOP_POLL_MS: u64 = 50;
/// A closed loop gathers the answers of a share of its connections before it sends again: one in
/// this many.
pub(crate) const GATHER_PARTS: usize = 4;
/// It waits for them for a share of the mean service time: one part in this many.
pub(crate) const GATHER_SHARE: u64 = 10;
/// The longest such wait.
pub(crate) const GATHER_NS_MAX: u64 = 50_000;
/// Longer times are recorded as this: an hour.
pub(crate) const TIME_NS_MAX: u64 = 3_600_000_000_000;
/// Steps of a rate.
pub(crate) const STEPS_MAX: usize = 1000;
/// Copies of a request that are kept in one buffer for pipelining.
pub(crate) const BURST_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a receive buffer of a load's shard: more than a server's, since answers are larger than
/// requests.
pub(crate) const RECV_BUFFER_BYTES: usize = 16 * 1024;
/// Bytes of a request body given on the command line.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 30;
/// URLs of a load, from its command line, a file or a log: some 300 bytes each.
pub(crate) const URLS_MAX: usize = 1_000_000;
/// Bytes of a file of URLs.
pub(crate) const URLS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most URLs with which copies are kept for pipelining; with more, consecutive requests are rarely
/// the same.
pub(crate) const BURST_URLS_MAX: usize = 64;
/// URLs that have a separate line in a report.
pub(crate) const URLS_LISTED_MAX: usize = 32;
/// Requests of a log that is replayed: 12 bytes each, and 28 while it is read.
pub(crate) const REPLAY_MAX: usize = 10_000_000;
/// Bytes of a line of a log; a longer line is malformed.
pub(crate) const LOG_LINE_BYTES_MAX: u64 = 64 * 1024;
/// Default size of a range.
pub(crate) const PIECE_BYTES: u64 = 1024 * 1024;
/// Largest size of a range.
pub(crate) const PIECE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bodies that one shard of a load remembers to compare others with.
pub(crate) const BODIES_MAX: usize = 1_000_000;
/// Boxes that a player reads in search of a file's movie box.
pub(crate) const MP4_BOXES_MAX: usize = 1000;
/// The bit rate at which a player plays a file that does not state its duration.
pub(crate) const PLAYER_BITS_PER_S: u64 = 4_000_000;
/// Buffered playing time at which a player begins to play, or resumes after a stall.
pub(crate) const PLAYER_START_MS: u64 = 1_000;
/// Default of the playing time that a player's buffer holds.
pub(crate) const PLAYER_BUFFER_MS: u64 = 10_000;
/// Default of the mean time between a player's seeks.
pub(crate) const PLAYER_SEEK_MS: u64 = 30_000;
/// How long a player waits before it requests a refused piece again.
pub(crate) const PLAYER_RETRY_MS: u64 = 1_000;
/// Subscribers or publishers of a load of rooms.
pub(crate) const ROOMS_CLIENTS_MAX: usize = 1_000_000;
/// Pairs of a subscriber and a publisher of its room; each takes 24 bytes.
pub(crate) const ROOMS_PAIRS_MAX: usize = 64 << 20;
/// Most bytes of a message, and of a received WebSocket message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How many sequence numbers a message may be behind a later one of the same publisher and still
/// count as out of order rather than lost: the bits of a word.
pub(crate) const REORDER_WINDOW: u32 = 64;
/// Messages that are sent together over one WebSocket when several are due.
pub(crate) const PUBLISH_BATCH_MAX: usize = 64;
/// Answers to pings that wait to be sent.
pub(crate) const REPLIES_BYTES_MAX: usize = 64 * 1024;
/// Time between the last connection and the first message, so that all threads begin together.
pub(crate) const START_LEAD_MS: u64 = 10;
/// Readers of a live load.
pub(crate) const LIVE_READERS_MAX: usize = 1_000_000;
/// Bytes of a piece of the object that live readers read.
pub(crate) const LIVE_PIECE_BYTES_MAX: usize = 16 << 20;
/// Descriptors that a load needs besides its connections.
pub(crate) const DESCRIPTORS_RESERVED: usize = 32;
/// Steps of a line over time on a report's page; if there are more seconds, several share a step.
pub(crate) const REPORT_POINTS_MAX: usize = 240;
/// Rows of its table of seconds.
pub(crate) const REPORT_ROWS_MAX: usize = 48;
/// URLs that its header names besides the first.
pub(crate) const REPORT_LIST_MAX: usize = 20;
/// Loads, and other files, on the page of a folder.
pub(crate) const INDEX_FILES_MAX: usize = 1000;
/// Most bytes of a text file that the page of a folder of loads shows.
pub(crate) const INDEX_TEXT_BYTES_MAX: u64 = 64 * 1024;
/// Most bytes of a file that is taken for the output of `headwater load --json`.
pub(crate) const JSON_BYTES_MAX: u64 = 256 << 20;
/// Runs that are compared with each other.
pub(crate) const COMPARED_RUNS_MAX: usize = 12;

const _: () = assert!(MESSAGE_BYTES_MAX as u64 <= crate::limits::WEBSOCKET_MESSAGE_BYTES_MAX);
