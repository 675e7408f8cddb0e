//! Binding the listeners and starting the shards.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::admin::{Admin, Sources};
use super::error::ServeError;
use super::inbox::Inbox;
use super::observation::{Observation, StallReporter};
use super::options::ServerOptions;
use super::root::{Seat, serve};
use super::service::Service;
use super::state::Shared;
use super::stop::Stopper;
use crate::limits;
use crate::net::address::ListenAddr;
use crate::net::listener::{ListenOptions, Listener, ListenerGroup};
use crate::observe::CallSite;
use crate::runtime::{Running, Runtime, Shard};
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
        let groups = listen
            .iter()
            .map(|address| ListenerGroup::bind(address, shards, listen_options))
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
        })
    }

    /// How it is observed.
    pub fn observed(mut self, observation: Observation) -> Self {
        let runtime = self.runtime.recorder(&observation.recorder);
        self.runtime = runtime.stall_limit(observation.stall_limit);
        self.observation = observation;
        self
    }

    /// Gives it the pool that its services have work done by; stopped once no shard serves.
    /// Without one it starts one of a single worker for its own needs.
    pub fn with_tasks(mut self, pool: Pool) -> Self {
        self.tasks = Some(pool);
        self
    }

    /// Adds the admin pages, on an address of their own.
    pub fn with_admin(mut self, address: &ListenAddr) -> Result<Self, ServeError> {
        self.admin = Some(ListenerGroup::bind(address, 1, &ListenOptions::default())?);
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
        } = self;
        let stopper = Stopper::default();
        let idle_timeouts = groups.iter().filter_map(ListenerGroup::idle_timeout_ms);
        let longest = idle_timeouts.max().unwrap_or(options.idle_timeout_ms);
        let connection = CallSite::named("HTTP/1.1 connection");
        let shared = Shared::new(options.clone(), connection, shards, longest);
        let admin_shared = Shared::new(
            ServerOptions {
                connections_max: limits::ADMIN_CONNECTIONS_MAX,
                adaptive_idle: false,
                ..options
            },
            CallSite::named("admin connection"),
            1,
            options.idle_timeout_ms,
        );
        let admin_stopper = Stopper::default();
        let shards_serving = Arc::new(AtomicUsize::new(shards));
        let inboxes: Arc<[Inbox]> = (0..shards).map(|_| Inbox::default()).collect();
        let failure = Arc::new(Mutex::new(None));
        let listeners: Vec<Vec<Listener>> = (0..shards)
            .map(|shard| {
                groups
                    .iter_mut()
                    .filter_map(|group| group.take(shard))
                    .collect()
            })
            .collect();
        let listeners = Mutex::new(listeners);
        let admin_listener = Mutex::new(admin.as_mut().and_then(|group| group.take(0)));
        let tasks = match tasks {
            Some(pool) => pool,
            None => Pool::start(tasks::Options {
                workers: 1,
                ..tasks::Options::default()
            })?,
        };
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
        });
        if let Some(mut stalls) = runtime.stall_monitor() {
            let mut reporter = StallReporter::new(observation);
            tasks.handle().watch(move |now_ns| {
                Some(stalls.look(now_ns, |stall| reporter.tell(*stall, now_ns)))
            });
        }
        let stop = stopper.clone();
        let failed = Arc::clone(&failure);
        let running = runtime.start({
            let shared = Arc::clone(&shared);
            move |shard: Shard| {
                let lock = |e: std::sync::PoisonError<_>| e.into_inner();
                let own = std::mem::take(&mut listeners.lock().unwrap_or_else(lock)[shard.index()]);
                let seat = Seat {
                    listeners: own,
                    shared: Arc::clone(&shared),
                    inboxes: Arc::clone(&inboxes),
                    stopper: stop.clone(),
                };
                let admin_seat = (shard.index() == 0)
                    .then(|| {
                        admin_listener
                            .lock()
                            .unwrap_or_else(|e| e.into_inner())
                            .take()
                    })
                    .flatten()
                    .map(|listener| Seat {
                        listeners: vec![listener],
                        shared: Arc::clone(&admin_shared),
                        inboxes: Arc::new([]),
                        stopper: admin_stopper.clone(),
                    });
                let serving = Serving {
                    shards: Arc::clone(&shards_serving),
                    admin: admin_stopper.clone(),
                };
                let admin = Admin {
                    stopper: stop.clone(),
                    sources: Arc::clone(&sources),
                };
                let service = make(&shard);
                let (stop, failed) = (stop.clone(), Arc::clone(&failed));
                async move {
                    let serving = serving;
                    match service {
                        Ok(service) => {
                            let admin = admin_seat
                                .map(|seat| shard.spawn(serve(shard.clone(), seat, admin)));
                            serve(shard, seat, service).await;
                            drop(serving);
                            if let Some(admin) = admin {
                                let _ = admin.await;
                            }
                        }
                        Err(e) => {
                            failed
                                .lock()
                                .unwrap_or_else(|e| e.into_inner())
                                .get_or_insert(e);
                            stop.now();
                        }
                    }
                }
            }
        })?;
        Ok(RunningServer {
            running,
            stopper,
            shared,
            failure,
            tasks,
            _groups: groups,
            _admin: admin,
        })
    }
}

/// One of these on each shard while it serves. The admin pages tell of the drain
/// until the last one is gone.
struct Serving {
    shards: Arc<AtomicUsize>,
    admin: Stopper,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.shards.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.admin.now();
        }
    }
}

/// A server at work.
pub struct RunningServer {
    running: Running,
    stopper: Stopper,
    shared: Arc<Shared>,
    failure: Arc<Mutex<Option<ServeError>>>,
    tasks: Pool,
    /// They unlink Unix sockets when they go.
    _groups: Vec<ListenerGroup>,
    _admin: Option<ListenerGroup>,
}

impl RunningServer {
    /// Stops it, from any thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// How long a connection may be idle at the moment: less than configured while descriptors
    /// or memory are short. Milliseconds.
    pub fn idle_timeout_now_ms(&self) -> u64 {
        self.shared.idle_timeout_now_ms()
    }

    /// Idle connections that were closed early since the start.
    pub fn idle_closed_early(&self) -> u64 {
        self.shared.sheds()
    }

    /// Waits until every shard has ended, and then stops the pool of tasks. Says what
    /// that had left to do.
    pub fn join(self) -> Result<StopReport, ServeError> {
        self.running.join()?;
        let patience = Duration::from_millis(limits::WORK_STOP_MS);
        let left = self.tasks.stop(patience);
        match self
            .failure
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take()
        {
            Some(e) => Err(e),
            None => Ok(left),
        }
    }
}
