//! Closes idle connections of one shard early while descriptors or memory are short.

use std::fs::File;
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::state::ShardState;
use crate::keepalive::adapt::{self, Shortage};
use crate::limits;
use crate::runtime::{Shard, read_at, sleep};
use crate::sys;

/// Measures the utilisation as long as a connection is idle, and closes those that have been idle
/// for longer than the shortage allows. The first shard reads the memory's figures for all shards.
pub(super) async fn watch(state: Rc<ShardState>) {
    let mut memory = (state.shard.index() == 0).then(|| Memory::open(&state.shard));
    let mut memory_due_ms = 0;
    while !state.is_draining() {
        let now_ms = state.shard.now_ms();
        if let Some(memory) = &mut memory
            && now_ms >= memory_due_ms
        {
            memory_due_ms = now_ms + limits::PRESSURE_LOOK_MS;
            state.shared.note_memory(memory.used_permille().await);
        }
        if look(&state).any() {
            sleep(Duration::from_millis(limits::PRESSURE_LOOK_TIGHT_MS)).await;
            continue;
        }
        sleep(Duration::from_millis(limits::PRESSURE_LOOK_MS)).await;
        poll_fn(|cx| match state.is_draining() {
            true => Poll::Ready(()),
            false => state.idle.poll_any(cx),
        })
        .await;
    }
}

fn look(state: &ShardState) -> Shortage {
    let used = state.shared.utilisation(state.shard.now_ms());
    let shortage = Shortage::of(&used);
    let idle_ms = shortage.idle_timeout_ms(state.shared.idle_timeout_longest_ms);
    state.shared.note_idle_timeout(idle_ms);
    if shortage.any() {
        let count = adapt::close_max(&used, state.connections().into());
        state.shed(count, idle_ms);
    }
    shortage
}

/// The files with the memory's figures, kept open. A worker of the kernel reads them.
struct Memory {
    shard: Shard,
    host: Option<Rc<File>>,
    groups: Vec<Group>,
    buf: Vec<u8>,
}

struct Group {
    max: Rc<File>,
    current: Rc<File>,
    stat: Rc<File>,
}

impl Memory {
    fn open(shard: &Shard) -> Self {
        let open = |path: &Path| File::open(path).ok().map(Rc::new);
        let group = |group: &sys::memory::Group| {
            Some(Group {
                max: open(&group.max)?,
                current: open(&group.current)?,
                stat: open(&group.stat)?,
            })
        };
        let groups = sys::memory::bounded_groups();
        Self {
            shard: shard.clone(),
            host: open(Path::new("/proc/meminfo")),
            groups: groups.iter().filter_map(group).collect(),
            buf: Vec::with_capacity(limits::PROC_FILE_BYTES_MAX),
        }
    }

    /// Of the scarcest of host and groups; 0 where nothing can be read.
    async fn used_permille(&mut self) -> u64 {
        let mut used = 0;
        if let Some(host) = self.host.clone() {
            let meminfo = self.text(&host).await;
            used = sys::memory::host_used_permille(&meminfo).unwrap_or(0);
        }
        for index in 0..self.groups.len() {
            let Group { max, current, stat } = &self.groups[index];
            let files = [max, current, stat].map(Rc::clone);
            let [max, current, stat] = files;
            let max = self.text(&max).await;
            let current = self.text(&current).await;
            let stat = self.text(&stat).await;
            let of_group = sys::memory::group_used_permille(&max, &current, &stat);
            used = used.max(of_group.unwrap_or(0));
        }
        used
    }

    async fn text(&mut self, file: &Rc<File>) -> String {
        let buf = std::mem::take(&mut self.buf);
        let (result, buf) = read_at(&self.shard, Rc::clone(file) as _, buf, 0, true).await;
        let text = match result {
            Ok(_) => String::from_utf8_lossy(&buf).into_owned(),
            Err(_) => String::new(),
        };
        self.buf = buf;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;

    #[test]
    fn memory_is_read_again_and_again_from_files_that_stay_open() {
        let cpus = sys::cpu::allowed().unwrap()[..1].to_vec();
        let root = |shard: Shard| async move {
            let mut memory = Memory::open(&shard);
            for _ in 0..3 {
                let used = memory.used_permille().await;
                assert!((1..=1000).contains(&used), "{used}");
            }
        };
        Runtime::new(cpus).unwrap().unpinned().run(root).unwrap();
    }
}
