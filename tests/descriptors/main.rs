//! The runtime's tests that count the process's descriptors before and after. They take turns, in a
//! process of their own, since any other test that opens a file would be counted too.

mod count;
mod dropped;
mod end;
