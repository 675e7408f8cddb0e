//! A pool with one class of work.

use headwater::tasks::{Class, ClassOptions, Options, Pool};

pub(crate) fn pool(workers: usize) -> (Pool, Class) {
    let pool = Pool::start(Options {
        workers,
        ..Options::default()
    })
    .expect("a pool");
    let class = pool.handle().class(ClassOptions::default());
    (pool, class.expect("a class"))
}
