//! Pages of HTML made from summaries: of one load of requests, of rooms or of live readers, of several
//! loads compared, and of a folder of them.
//!
//! A page is self-contained: it fetches nothing and runs no script, so it can be mailed, archived and
//! printed. Its plots are SVG of our own rather than of a plotting crate, which would write colours and
//! sizes into the drawing: here they are the style sheet's, and so one drawing serves light and dark
//! screens, phones and paper, and its words are text that can be read aloud and found.
//!
//! Pages are well-formed as XML too, which is how they are tested.

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
