//! The pools of the process by number, so that a waker, which is one word, finds its task's pool.

use std::sync::{Arc, RwLock, RwLockReadGuard, Weak};

use super::shared::Shared;
use crate::limits::TASK_POOLS_MAX;
use crate::sys::sync;

/// Pools by number. `Some` while a pool has the number, and `None` for a moment while it is made.
static POOLS: RwLock<Vec<Option<Weak<Shared>>>> = RwLock::new(Vec::new());

fn pools() -> RwLockReadGuard<'static, Vec<Option<Weak<Shared>>>> {
    sync::read(&POOLS)
}

/// A pool's number. Another pool may have it when this is dropped, with the pool's last `Arc`.
pub(super) struct PoolId(u16);

impl PoolId {
    /// Registers a pool under an unused number; `None` if the process has too many pools.
    pub(crate) fn enter(make: impl FnOnce(PoolId) -> Shared) -> Option<Arc<Shared>> {
        let mut pools = sync::write(&POOLS);
        let number = pools
            .iter()
            .position(Option::is_none)
            .unwrap_or(pools.len());
        if number >= TASK_POOLS_MAX {
            return None;
        }
        if number == pools.len() {
            pools.push(None);
        }
        let pool = Arc::new(make(PoolId(number as u16)));
        pools[number] = Some(Arc::downgrade(&pool));
        Some(pool)
    }

    pub(crate) fn number(&self) -> u16 {
        self.0
    }

    /// The pool that has this number.
    pub(crate) fn pool(&self) -> Option<Arc<Shared>> {
        find(self.0)
    }
}

impl Drop for PoolId {
    fn drop(&mut self) {
        let mut pools = sync::write(&POOLS);
        if let Some(pool) = pools.get_mut(usize::from(self.0)) {
            *pool = None;
        }
    }
}

/// The pool of this number.
pub(super) fn find(number: u16) -> Option<Arc<Shared>> {
    pools().get(usize::from(number))?.as_ref()?.upgrade()
}
