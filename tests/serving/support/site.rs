//! Servers that run in the test's process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater::config::Config;
use headwater::limits;
use headwater::net::address::ListenAddr;
use headwater::server::file_service::{self, Listen, Placement};
use headwater::server::{RunningServer, Server, ServerOptions, Service};
use headwater::sys::cpu;
use tempfile::TempDir;

use super::Client;

/// One of the CPUs that this process may use, in turn.
pub(crate) fn an_allowed_cpu() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let cpus = cpu::allowed().expect("the affinity");
    cpus[NEXT.fetch_add(1, Ordering::Relaxed) % cpus.len()]
}

/// CPUs for two shards, which may have to share one.
pub(crate) fn two_cpus() -> Vec<usize> {
    vec![an_allowed_cpu(), an_allowed_cpu()]
}

/// A server that ends with its test.
pub(crate) struct Running {
    pub address: SocketAddr,
    server: Option<RunningServer>,
}

impl Running {
    fn new(server: RunningServer, address: &ListenAddr) -> Running {
        let ListenAddr::Tcp(address) = *address else {
            panic!("not a TCP address: {address}");
        };
        Running {
            address,
            server: Some(server),
        }
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// How long a connection may be idle at the moment, as the server has it.
    pub(crate) fn idle_timeout_now_ms(&self) -> u64 {
        let server = self.server.as_ref();
        server.map_or(0, RunningServer::idle_timeout_now_ms)
    }

    /// Idle connections that were closed early.
    pub(crate) fn idle_closed_early(&self) -> u64 {
        let server = self.server.as_ref();
        server.map_or(0, RunningServer::idle_closed_early)
    }

    /// Open connections, as the server counts them.
    pub(crate) fn connections(&self) -> usize {
        self.server.as_ref().map_or(0, RunningServer::connections)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stopper().now();
            let ended = server.join();
            if !std::thread::panicking() {
                ended.expect("a good end");
            }
        }
    }
}

/// A server of a service, on one shard for each CPU.
pub(crate) fn serve<S: Service>(
    cpus: Vec<usize>,
    options: ServerOptions,
    make: impl Fn(usize) -> S + Send + Sync + 'static,
) -> Running {
    let listen = ["127.0.0.1:0".parse().expect("an address")];
    let server = Server::bind(cpus, &listen, options).expect("a listener");
    let address = server.addresses()[0].clone();
    let server = server.start(move |shard| Ok(make(shard.index())));
    Running::new(server.expect("a server"), &address)
}

/// A folder and its server.
pub(crate) struct Site {
    running: Running,
    dir: TempDir,
}

impl Site {
    /// Serves these files, by the configuration as `change` makes it.
    pub(crate) fn with(files: &[(&str, &[u8])], change: impl FnOnce(&mut Config)) -> Site {
        Site::on(vec![an_allowed_cpu()], files, change)
    }

    /// As [`with`](Self::with), with one shard on each of these CPUs.
    pub(crate) fn on(
        cpus: Vec<usize>,
        files: &[(&str, &[u8])],
        change: impl FnOnce(&mut Config),
    ) -> Site {
        let dir = TempDir::new().expect("a folder");
        let root = dir.path().join("root");
        fs::create_dir(&root).expect("a root");
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        let mut config = Config::default();
        config.server.root = root;
        change(&mut config);
        let place = Placement {
            listen: vec![Listen {
                address: "127.0.0.1:0".parse().expect("an address"),
                keepalive: config.keepalive_policy(),
            }],
            admin: None,
            cpus,
            task_cpus: headwater::sys::cpu::allowed().expect("the affinity"),
        };
        // Until another change would show in the files' times, their tags are weak and change.
        std::thread::sleep(Duration::from_nanos(limits::FILE_SETTLED_NS));
        let (server, banner) = file_service::start(&config, place, |_| {}).expect("a server");
        Site {
            running: Running::new(server, &banner.addresses[0]),
            dir,
        }
    }

    pub(crate) fn new(files: &[(&str, &[u8])]) -> Site {
        Site::with(files, |_| {})
    }

    /// The served folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The folder that the served one is in.
    pub(crate) fn outside(&self) -> &Path {
        self.dir.path()
    }
}

impl std::ops::Deref for Site {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}
