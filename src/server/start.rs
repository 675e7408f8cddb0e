//! Binding the listeners and starting the shards.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::admin::{Admin, Sources};
use super::cut::CutConnections;
use super::error::ServeError;
use super::handoff_queue::HandoffQueue;
use super::observation::{Observation, StallReporter};
use super::options::ServerOptions;
use super::service::Service;
use super::shard_main::{ShardSetup, serve};
use super::state::Shared;
use super::stop::Stopper;
use crate::limits;
use crate::net::address::ListenAddr;
use crate::net::listener::{Listener, ListenerGroup};
use crate::net::options::ListenOptions;
use crate::net::retry::BindDeadline;
use crate::observe::CallSite;
use crate::observe::access_log::AccessLog;
use crate::runtime::{DriverChoice, DriverUsed, Running, Runtime, Shard, ShardHandle};
use crate::sys::sync::lock;
use crate::tasks::{self, ClassOptions, Pool, StopReport};

/// A server whose listeners are bound and whose shards are about to start.
pub struct Server {
    runtime: Runtime,
    groups: Vec<ListenerGroup>,
    admin: Option<ListenerGroup>,
    shards: usize,
    options: ServerOptions,
    observation: Observation,
    tasks: Option<Pool>,
    access_log: Option<AccessLog>,
}

impl Server {
    /// Binds every address, for one shard on each of these CPUs.
    ///
    /// # Errors
    /// When an address can't be listened on, or there are no CPUs.
    pub fn bind(
        cpus: Vec<usize>,
        listen: &[ListenAddr],
        options: ServerOptions,
    ) -> Result<Self, ServeError> {
        Self::bind_with(cpus, listen, &ListenOptions::default(), options)
    }

    /// As [`bind`](Self::bind), with options for the listening sockets.
    pub fn bind_with(
        cpus: Vec<usize>,
        listen: &[ListenAddr],
        listen_options: &ListenOptions,
        options: ServerOptions,
    ) -> Result<Self, ServeError> {
        let shards = cpus.len();
        let deadline = BindDeadline::start();
        let groups = listen
            .iter()
            .map(|address| ListenerGroup::bind_until(deadline, address, shards, listen_options))
            .collect::<Result<Vec<_>, _>>()?;
        Self::with_groups(cpus, groups, options)
    }

    /// A server on listeners that are bound already, each group for as many shards as there are CPUs.
    pub fn with_groups(
        cpus: Vec<usize>,
        groups: Vec<ListenerGroup>,
        options: ServerOptions,
    ) -> Result<Self, ServeError> {
        let shards = cpus.len();
        Ok(Self {
            runtime: Runtime::new(cpus)?,
            groups,
            admin: None,
            shards,
            options,
            observation: Observation::default(),
            tasks: None,
            access_log: None,
        })
    }

    /// Sets which driver its shards use.
    pub fn with_driver(mut self, choice: DriverChoice) -> Self {
        self.runtime = self.runtime.driver(choice);
        self
    }

    /// Sets how it is observed.
    pub fn observed(mut self, observation: Observation) -> Self {
        let runtime = self.runtime.recorder(&observation.recorder);
        self.runtime = runtime.stall_limit(observation.stall_limit);
        self.observation = observation;
        self
    }

    /// Gives it the pool that runs the CPU work of its services. The pool is stopped once no
    /// shard serves. Without one, the server starts a pool of a single worker for its own needs.
    pub fn with_tasks(mut self, pool: Pool) -> Self {
        self.tasks = Some(pool);
        self
    }

    /// Has it write a line for each request that is not for the admin pages. The log is for as many
    /// shards as the server has, and ends with it.
    pub fn with_access_log(mut self, log: AccessLog) -> Self {
        self.access_log = Some(log);
        self
    }

    /// Adds the admin pages, on an address of their own.
    pub fn with_admin(self, address: &ListenAddr) -> Result<Self, ServeError> {
        self.with_admin_until(BindDeadline::start(), address)
    }

    /// As [`with_admin`](Self::with_admin), with the deadline of the start's other addresses.
    pub(super) fn with_admin_until(
        mut self,
        deadline: BindDeadline,
        address: &ListenAddr,
    ) -> Result<Self, ServeError> {
        let options = ListenOptions::default();
        let group = ListenerGroup::bind_until(deadline, address, 1, &options)?;
        self.admin = Some(group);
        Ok(self)
    }

    /// Changes the runtime before it starts.
    pub fn with_runtime(mut self, change: impl FnOnce(Runtime) -> Runtime) -> Self {
        self.runtime = change(self.runtime);
        self
    }

    /// The addresses listened on, with the kernel's choice for port 0.
    pub fn addresses(&self) -> Vec<ListenAddr> {
        self.groups
            .iter()
            .map(|group| group.local_addr().clone())
            .collect()
    }

    /// The admin pages' address.
    pub fn admin_address(&self) -> Option<ListenAddr> {
        self.admin.as_ref().map(|group| group.local_addr().clone())
    }

    /// What an operator should know about the listeners, such as a backlog that the kernel cuts.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .groups
            .iter()
            .filter_map(ListenerGroup::backlog_warning)
            .collect();
        warnings.dedup();
        warnings
    }

    /// Starts the shards, each with the service that `make` makes on it.
    pub fn start<S, F>(self, make: F) -> Result<RunningServer, ServeError>
    where
        S: Service,
        F: Fn(&Shard) -> Result<S, ServeError> + Send + Sync + 'static,
    {
        let Self {
            runtime,
            mut groups,
            mut admin,
            shards,
            options,
            observation,
            tasks,
            access_log,
        } = self;
        let shared = shared_state(&options, &groups, shards);
        let tasks = tasks.map_or_else(small_pool, Ok)?;
        let sources = Arc::new(Sources {
            shards: runtime.handles().to_vec(),
            shared: Arc::clone(&shared),
            observation: observation.clone(),
            pages: tasks.handle().class(ClassOptions {
                name: "admin".to_owned(),
                queue_limit: limits::ADMIN_PAGES_MAX,
                ..ClassOptions::default()
            })?,
            tasks: tasks.handle(),
            access_log,
        });
        watch_stalls(&runtime, &tasks, observation);
        let listeners = |shard| {
            groups
                .iter_mut()
                .filter_map(|group| group.take(shard))
                .collect()
        };
        let launch = Arc::new(Launch {
            listeners: Mutex::new((0..shards).map(listeners).collect()),
            handoff_queues: (0..shards).map(|_| HandoffQueue::default()).collect(),
            shared,
            stopper: Stopper::default(),
            admin_listener: Mutex::new(admin.as_mut().and_then(|group| group.take(0))),
            admin_shared: admin_state(options),
            admin_stopper: Stopper::default(),
            sources,
            serving: AtomicUsize::new(shards),
            failure: Mutex::new(None),
        });
        let running = runtime.start({
            let launch = Arc::clone(&launch);
            move |shard: Shard| {
                let serving = Serving(Arc::clone(&launch));
                let service = make(&shard);
                Arc::clone(&launch).run(shard, service, serving)
            }
        })?;
        Ok(RunningServer {
            running,
            launch,
            tasks,
            _groups: groups,
            _admin: admin,
        })
    }
}

/// A pool for the server's own needs.
fn small_pool() -> Result<Pool, ServeError> {
    Ok(Pool::start(tasks::Options {
        workers: 1,
        ..tasks::Options::default()
    })?)
}

/// Has the monitor of the pool look for shards that stall.
fn watch_stalls(runtime: &Runtime, tasks: &Pool, observation: Observation) {
    if let Some(mut stalls) = runtime.stall_monitor() {
        let mut reporter = StallReporter::new(observation);
        tasks.handle().watch(move |now_ns| {
            Some(stalls.look(now_ns, |stall| reporter.report(*stall, now_ns)))
        });
    }
}

/// The state of the server's own connections.
fn shared_state(options: &ServerOptions, groups: &[ListenerGroup], shards: usize) -> Arc<Shared> {
    let idle_timeouts = groups.iter().filter_map(ListenerGroup::idle_timeout_ms);
    let longest = idle_timeouts.max().unwrap_or(options.idle_timeout_ms);
    let connection = CallSite::named("HTTP/1.1 connection");
    Shared::new(options.clone(), connection, shards, longest)
}

/// The state of the connections to the admin pages, which are served by the first shard.
fn admin_state(options: ServerOptions) -> Arc<Shared> {
    let idle_timeout_ms = options.idle_timeout_ms;
    let options = ServerOptions {
        connections_max: limits::ADMIN_CONNECTIONS_MAX,
        adaptive_idle: false,
        ..options
    };
    let connection = CallSite::named("admin connection");
    Shared::new(options, connection, 1, idle_timeout_ms)
}

/// What the shards of a server take their parts from as they start.
struct Launch {
    /// By shard.
    listeners: Mutex<Vec<Vec<Listener>>>,
    handoff_queues: Arc<[HandoffQueue]>,
    shared: Arc<Shared>,
    stopper: Stopper,
    admin_listener: Mutex<Option<Listener>>,
    admin_shared: Arc<Shared>,
    admin_stopper: Stopper,
    sources: Arc<Sources>,
    /// Shards that have not ended. The admin pages report the drain until the last one has.
    serving: AtomicUsize,
    failure: Mutex<Option<ServeError>>,
}

impl Launch {
    /// The main function of one shard, with the service that was made for it.
    async fn run<S: Service>(
        self: Arc<Self>,
        shard: Shard,
        service: Result<S, ServeError>,
        serving: Serving,
    ) {
        let service = match service {
            Ok(service) => service,
            Err(e) => {
                lock(&self.failure).get_or_insert(e);
                return self.stopper.now();
            }
        };
        let admin = self.admin_setup(&shard).map(|setup| {
            let pages = Admin {
                stopper: self.stopper.clone(),
                sources: Arc::clone(&self.sources),
            };
            shard.spawn(serve(shard.clone(), setup, pages))
        });
        let setup = self.setup(&shard);
        serve(shard, setup, service).await;
        drop(serving);
        if let Some(admin) = admin {
            let _ = admin.await;
        }
    }

    fn setup(&self, shard: &Shard) -> ShardSetup {
        let mut listeners = lock(&self.listeners);
        let own = listeners.get_mut(shard.index()).map(std::mem::take);
        let log = self.sources.access_log.as_ref();
        ShardSetup {
            listeners: own.unwrap_or_default(),
            shared: Arc::clone(&self.shared),
            handoff_queues: Arc::clone(&self.handoff_queues),
            stopper: self.stopper.clone(),
            access_log: log.and_then(|log| log.of_shard(shard.index())),
        }
    }

    /// The first shard serves the admin pages, too.
    fn admin_setup(&self, shard: &Shard) -> Option<ShardSetup> {
        let listener = match shard.index() {
            0 => lock(&self.admin_listener).take(),
            _ => None,
        };
        Some(ShardSetup {
            listeners: vec![listener?],
            shared: Arc::clone(&self.admin_shared),
            handoff_queues: Arc::new([]),
            stopper: self.admin_stopper.clone(),
            access_log: None,
        })
    }
}

/// Held by each shard from before its service is made until it has served. The admin pages report the drain until the last one is
/// dropped.
struct Serving(Arc<Launch>);

impl Drop for Serving {
    fn drop(&mut self) {
        if self.0.serving.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.admin_stopper.now();
        }
    }
}

/// A server that runs.
pub struct RunningServer {
    running: Running,
    launch: Arc<Launch>,
    tasks: Pool,
    /// Kept, since they unlink Unix sockets when they are dropped.
    _groups: Vec<ListenerGroup>,
    _admin: Option<ListenerGroup>,
}

impl RunningServer {
    /// Stops it, from any thread.
    pub fn stopper(&self) -> Stopper {
        self.launch.stopper.clone()
    }

    /// Which driver its shards have got: the first shard's, and why it is not io_uring on the first
    /// where that was tried in vain.
    pub fn driver(&self) -> Option<DriverUsed> {
        let shards = &self.launch.sources.shards;
        let mut used = shards.iter().filter_map(ShardHandle::driver);
        let fell_back = used.clone().find(|used| used.fallback.is_some());
        fell_back.or_else(|| used.next()).cloned()
    }

    /// Its access log, if it has one.
    pub fn access_log(&self) -> Option<AccessLog> {
        self.launch.sources.access_log.clone()
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.launch.shared.connections()
    }

    /// How long a connection may be idle at the moment: less than configured while descriptors
    /// or memory are short. Milliseconds.
    pub fn idle_timeout_now_ms(&self) -> u64 {
        self.launch.shared.idle_timeout_now_ms()
    }

    /// Idle connections that were closed early since the start.
    pub fn idle_closed_early(&self) -> u64 {
        self.launch.shared.sheds()
    }

    /// Waits until every shard has ended, and then stops the pool of tasks.
    ///
    /// # Errors
    /// Why a shard's service could not be made, or a shard's thread failed.
    pub fn join(self) -> Result<ServerEnd, ServeError> {
        let ended = self.running.join();
        if let Some(log) = &self.launch.sources.access_log {
            log.finish();
        }
        ended?;
        let patience = Duration::from_millis(limits::WORK_STOP_MS);
        let tasks = self.tasks.stop(patience);
        match lock(&self.launch.failure).take() {
            Some(e) => Err(e),
            None => Ok(ServerEnd {
                cut: self.launch.shared.cut(),
                tasks,
            }),
        }
    }
}

/// What a server that has ended left undone.
#[derive(Debug)]
pub struct ServerEnd {
    /// Connections that were not done at the end of the drain.
    pub cut: CutConnections,
    /// What the pool of tasks had left to do.
    pub tasks: StopReport,
}
