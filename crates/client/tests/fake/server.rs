//! A server in this process that speaks the protocol, keeps the run rule, and misbehaves on
//! request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use corelog_client::protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_client::protocol::frame::CorrelationId;
use corelog_client::protocol::message::hello;
use corelog_client::protocol::request::Request;
use corelog_client::record::{PartitionId, TopicId, TopicName};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::log::Log;
use crate::serving::Port;

/// What a request meets.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// What a good server does.
    Serve,
    /// This error, nothing done.
    Refuse(ErrorBody),
    /// The connection ends, nothing done.
    Cut,
    /// It is done, then the connection ends without an answer.
    ServeAndCut,
    /// It is done, and answered with this error.
    ServeAndRefuse(ErrorBody),
    /// No answer, ever; the connection goes on.
    Ignore,
    /// Served once this is told, and everything behind it on the connection with it.
    Hold(Arc<Notify>),
    /// Served once there is a permit, while other requests go on.
    Later(Arc<Semaphore>),
    /// Served as if it were not to wait.
    Hurry,
    /// A Fetch, answered as one that waits for more than there is.
    Empty,
    /// Answered with bytes that are no frame.
    Garble,
    /// Answered as if it were another request.
    Answer(CorrelationId),
    /// This error of the connection, which then ends.
    Dismiss(ErrorBody),
    /// The same, and the request is served behind it: with `Stopping`, as the last that was taken.
    DismissAndServe(ErrorBody),
    /// Served with the body changed on the way.
    Tamper(fn(&mut [u8])),
}

/// A request as the script sees it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) request: &'a Request,
    /// How many of its kind came before it, over all connections.
    pub(crate) nth: usize,
}

type Script = Box<dyn FnMut(&Seen<'_>) -> Act + Send>;

/// A running server; dropped, it is gone with all its connections.
pub(crate) struct Server {
    pub(crate) shared: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    tasks: JoinSet<()>,
}

pub(crate) struct State {
    pub(crate) topics: BTreeMap<TopicName, Topic>,
    /// What clients are told of the ports.
    pub(crate) advertised_cores: Vec<String>,
    pub(crate) advertised_shared: String,
    pub(crate) limits: hello::Limits,
    /// The partitions, of any topic, that are another one's.
    pub(crate) followed: Vec<PartitionId>,
    /// Those, of any topic, that it does not tell of.
    pub(crate) hidden: Vec<PartitionId>,
    /// The topics that it cannot read.
    pub(crate) unreadable: Vec<TopicName>,
    script: Script,
    counts: BTreeMap<(Option<usize>, &'static str), usize>,
    /// Those that are open.
    pub(crate) connection_count: usize,
    /// Those that the client has ended with all that was on its way.
    pub(crate) reset_count: usize,
    /// If a task of it has panicked.
    pub(crate) is_broken: bool,
}

#[derive(Clone)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<Log>,
}

impl Server {
    /// A server of this many cores, each with its port, that serves well.
    pub(crate) async fn start(core_count: usize) -> Self {
        let shared = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut cores = Vec::new();
        for _ in 0..core_count {
            cores.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            topics: BTreeMap::new(),
            advertised_cores: cores.iter().map(|core| address(core).to_string()).collect(),
            advertised_shared: address(&shared).to_string(),
            limits: hello::Limits::default(),
            followed: Vec::new(),
            hidden: Vec::new(),
            unreadable: Vec::new(),
            script: Box::new(|_| Act::Serve),
            counts: BTreeMap::new(),
            connection_count: 0,
            reset_count: 0,
            is_broken: false,
        }));
        let changed = watch::Sender::new(0);
        let shared_address = address(&shared);
        let mut tasks = JoinSet::new();
        let ports = [(None, shared)].into_iter();
        for (core, listener) in
            ports.chain(cores.into_iter().enumerate().map(|(i, l)| (Some(i), l)))
        {
            let port = Port {
                core,
                state: Arc::clone(&state),
                changed: changed.clone(),
            };
            tasks.spawn(port.listen(listener));
        }
        Self {
            shared: shared_address,
            state,
            changed,
            tasks,
        }
    }

    /// Serves at another port, too: a core's, or a shared one.
    pub(crate) fn listen(&mut self, core: Option<usize>, listener: TcpListener) {
        let port = Port {
            core,
            state: Arc::clone(&self.state),
            changed: self.changed.clone(),
        };
        self.tasks.spawn(port.listen(listener));
    }

    /// Has the topics of another one, as they are now.
    pub(crate) fn copy(&self, other: &Self) {
        let topics = other.state.lock().unwrap().topics.clone();
        self.state.lock().unwrap().topics = topics;
    }

    /// What requests meet from now on.
    pub(crate) fn script(&self, script: impl FnMut(&Seen<'_>) -> Act + Send + 'static) {
        self.state.lock().unwrap().script = Box::new(script);
    }

    /// Creates a topic, or creates it again with another id.
    pub(crate) fn topic(&self, name: &str, partition_count: usize) -> TopicName {
        let name = TopicName::new(name).unwrap();
        let id = TopicId::from_bytes(rand_bytes());
        let partitions = vec![Log::default(); partition_count];
        self.state
            .lock()
            .unwrap()
            .topics
            .insert(name.clone(), Topic { id, partitions });
        name
    }

    /// Deletes a topic.
    pub(crate) fn delete(&self, topic: &TopicName) {
        self.state.lock().unwrap().topics.remove(topic);
    }

    /// Adds a partition to a topic.
    pub(crate) fn add_partition(&self, topic: &TopicName) {
        let mut state = self.state.lock().unwrap();
        let topic = state.topics.get_mut(topic).unwrap();
        topic.partitions.push(Log::default());
    }

    /// Has only so many partitions of a topic, as a copy that was made before the others were added.
    pub(crate) fn remove_partitions(&self, topic: &TopicName, partition_count: usize) {
        let mut state = self.state.lock().unwrap();
        let topic = state.topics.get_mut(topic).unwrap();
        topic.partitions.truncate(partition_count);
    }

    /// Changes or looks at a partition's log.
    pub(crate) fn log<T>(
        &self,
        topic: &TopicName,
        partition: usize,
        f: impl FnOnce(&mut Log) -> T,
    ) -> T {
        let mut state = self.state.lock().unwrap();
        let result = f(&mut state.topics.get_mut(topic).unwrap().partitions[partition]);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Requests of a kind that came in by a port.
    pub(crate) fn count(&self, core: Option<usize>, kind: &'static str) -> usize {
        self.state
            .lock()
            .unwrap()
            .counts
            .get(&(core, kind))
            .copied()
            .unwrap_or(0)
    }

    /// Waits until something is true of the server, and fails if that takes too long.
    pub(crate) async fn until(&self, is_true: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let comes = async {
            while !is_true(self) {
                changed.changed().await.unwrap();
            }
        };
        if timeout(PATIENCE, comes).await.is_err() {
            let counts = &self.state.lock().unwrap().counts;
            panic!("not true after {PATIENCE:?}; requests by port and kind: {counts:?}");
        }
    }
}

/// Where one of its tasks panics a client sees but a connection that ends, and asks again.
impl Drop for Server {
    fn drop(&mut self) {
        let is_sound = self.state.lock().is_ok_and(|state| !state.is_broken);
        assert!(
            is_sound || thread::panicking(),
            "a task of the fake panicked"
        );
    }
}

impl State {
    pub(crate) fn count_all(&self, kind: &'static str) -> usize {
        self.counts
            .iter()
            .filter(|((_, one), _)| *one == kind)
            .map(|(_, count)| count)
            .sum()
    }

    pub(crate) fn act(&mut self, core: Option<usize>, request: &Request) -> Act {
        let kind = request.kind().name();
        let nth = self.count_all(kind);
        *self.counts.entry((core, kind)).or_default() += 1;
        (self.script)(&Seen { request, nth })
    }

    pub(crate) fn id_of(&self, topic: &TopicName) -> Result<TopicId, ErrorBody> {
        let found = self.topics.get(topic);
        let unknown = || ErrorBody::new(ErrorCode::UnknownTopic, "as scripted");
        found.map(|topic| topic.id).ok_or_else(unknown)
    }

    pub(crate) fn find(
        &mut self,
        topic: &TopicName,
        id: TopicId,
        partition: PartitionId,
    ) -> Result<&mut Log, ErrorBody> {
        let error = |code| ErrorBody::new(code, "as scripted");
        let found = self
            .topics
            .get_mut(topic)
            .ok_or_else(|| error(ErrorCode::UnknownTopic))?;
        if found.id != id {
            let detail = Detail {
                topic_id: Some(found.id),
                ..Detail::default()
            };
            return Err(error(ErrorCode::TopicChanged).with_detail(detail));
        }
        let partition = partition.get() as usize;
        found
            .partitions
            .get_mut(partition)
            .ok_or_else(|| error(ErrorCode::UnknownPartition))
    }
}

fn rand_bytes() -> [u8; 16] {
    fastrand::u128(..).to_le_bytes()
}

/// Far beyond what anything takes on a slow, busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
