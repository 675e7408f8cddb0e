//! The bounds and defaults of the load generator, in one place; those of the server are in `src/limits.rs`.

/// Connections of one load.
pub(crate) const CONNECTIONS_MAX: usize = 1_000_000;
/// Requests sent ahead on one connection.
pub(crate) const PIPELINE_MAX: usize = 1024;
/// Connections of one shard that are being made at a time: listeners have short backlogs.
pub(crate) const CONNECTING_MAX: usize = 128;
/// Pause before a connection that could not be made is tried again.
pub(crate) const RECONNECT_MS: u64 = 10;
/// How long answers are waited for when the time of a load is over; not longer than a request's timeout.
pub(crate) const GRACE_MS: u64 = 2_000;
/// A request without an answer for this long has failed.
pub(crate) const TIMEOUT_MS: u64 = 10_000;
/// How often a shard of a load reports.
pub(crate) const REPORT_MS: u64 = 1_000;
/// How often it looks whether it is to stop.
pub(crate) const STOP_POLL_MS: u64 = 50;
/// A closed loop gathers answers of one in this many of its connections before it sends again.
pub(crate) const GATHER_PARTS: usize = 4;
/// It waits for them for one part in this many of the time that answers take.
pub(crate) const GATHER_SHARE: u64 = 10;
/// Longest such wait.
pub(crate) const GATHER_NS_MAX: u64 = 50_000;
/// Times above this are recorded as this: an hour.
pub(crate) const TIME_NS_MAX: u64 = 3_600_000_000_000;
/// Steps of a rate.
pub(crate) const STEPS_MAX: usize = 1000;
/// Requests of one kind that are kept ready one behind the other for pipelining.
pub(crate) const BURST_BYTES_MAX: usize = 64 * 1024;
/// Receive buffers of a load's shard, larger than a server's since answers are larger than requests.
pub(crate) const RECV_BUFFER_BYTES: usize = 16 * 1024;
/// What a request body given on the command line may have.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 30;
/// URLs of a load, from its command line, a file or a log: some 300 bytes each.
pub(crate) const URLS_MAX: usize = 1_000_000;
/// Bytes of a file of URLs.
pub(crate) const URLS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// URLs that are kept ready in copies for pipelining; with more, neighbours are rarely the same.
pub(crate) const BURST_URLS_MAX: usize = 64;
/// URLs that a report has a line of its own for.
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
/// Boxes that a player looks at on its way to a file's movie box.
pub(crate) const MP4_BOXES_MAX: usize = 1000;
/// What a player plays of a file that does not state its duration.
pub(crate) const PLAYER_BITS_PER_S: u64 = 4_000_000;
/// Buffered playing time at which a player begins to play, or goes on after a stall.
pub(crate) const PLAYER_START_MS: u64 = 1_000;
/// Default of the playing time that a player's buffer holds.
pub(crate) const PLAYER_BUFFER_MS: u64 = 10_000;
/// Default of the mean time between a player's seeks.
pub(crate) const PLAYER_SEEK_MS: u64 = 30_000;
/// How long a player waits before it asks again for what was refused.
pub(crate) const PLAYER_RETRY_MS: u64 = 1_000;
/// Subscribers or publishers of a load of rooms.
pub(crate) const ROOMS_CLIENTS_MAX: usize = 1_000_000;
/// Pairs of a subscriber and a publisher of its room; each takes 24 bytes.
pub(crate) const ROOMS_PAIRS_MAX: usize = 64 << 20;
/// Bytes of a message; a WebSocket message may have as many.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How far behind a later message of the same publisher one may come and be known for late rather
/// than lost: as many as a word has bits.
pub(crate) const REORDER_WINDOW: u32 = 64;
/// Messages that are sent together over one WebSocket when several are due.
pub(crate) const PUBLISH_BATCH_MAX: usize = 64;
/// Answers to pings that wait to be sent.
pub(crate) const REPLIES_BYTES_MAX: usize = 64 * 1024;
/// What lies between the last connection and the first message, so that all threads begin together.
pub(crate) const START_LEAD_MS: u64 = 10;
/// Readers of a live load.
pub(crate) const LIVE_READERS_MAX: usize = 1_000_000;
/// Bytes of a piece of the object that live readers read.
pub(crate) const LIVE_PIECE_BYTES_MAX: usize = 16 << 20;
/// Descriptors that a load needs besides its connections.
pub(crate) const DESCRIPTORS_RESERVED: usize = 32;
/// Steps of a line over time on a report's page; more seconds than that are drawn together.
pub(crate) const REPORT_POINTS_MAX: usize = 240;
/// Rows of its table of seconds.
pub(crate) const REPORT_ROWS_MAX: usize = 48;
/// URLs that are named at its head beside the first.
pub(crate) const REPORT_LIST_MAX: usize = 20;
/// Loads, and other files, on the page of a folder.
pub(crate) const INDEX_FILES_MAX: usize = 1000;
/// What a text file in a folder of loads may have to be shown on its page.
pub(crate) const INDEX_TEXT_BYTES_MAX: u64 = 64 * 1024;
/// What `headwater load --json` may have written; larger is taken for something else.
pub(crate) const JSON_BYTES_MAX: u64 = 256 << 20;
/// Runs that are compared with each other.
pub(crate) const COMPARED_RUNS_MAX: usize = 12;

const _: () = assert!(MESSAGE_BYTES_MAX as u64 <= crate::limits::WEBSOCKET_MESSAGE_BYTES_MAX);
