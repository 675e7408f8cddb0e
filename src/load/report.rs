//! Pages of HTML made from summaries: of one load of requests, of rooms or of live readers, of several
//! loads compared, and of a folder of them.
//!
//! A page is self-contained: it fetches nothing and runs no script, so it can be mailed, archived
//! and printed. Its plots are SVG written here rather than by a plotting crate, which would put
//! colours and sizes into the drawing. Here the style sheet sets them, so one drawing fits light
//! and dark screens, phones and paper, and its labels are text that screen readers and searches
//! find.
//!
//! Pages are also well-formed XML, so that tests can parse them.

mod compared;
mod facts;
mod index;
mod live;
mod overlay;
mod page;
mod parts;
mod plot;
mod plots;
mod requests;
mod rooms;
mod scale;
mod timeline;

pub use compared::ComparisonReport;
pub use index::{Index, IndexedRun};
pub use live::LiveReport;
pub use requests::Report;
pub use rooms::RoomsReport;
