//! The client: where requests go, and how often. The ways to partitions are in [`route`], those to what is known of topics in
//! [`look_up`], and how many partitions they have in [`count`].

mod count;
mod look_up;
mod route;
mod tenant;
mod turn;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use corelog_protocol::message::{Call, hello};
use corelog_record::{PartitionId, TopicId, TopicName};

pub use self::count::Untold;
pub(crate) use self::route::{Route, topic_changed};
pub(crate) use self::tenant::Tenant;
pub(crate) use self::turn::Turn;
use crate::connection::{Backoff, Connection, Key, Options, Pool, User};
use crate::metadata::{Cache, Topic};
use crate::retry::{Deadline, Repeat, Retry};
use crate::{Admin, Consumer, ConsumerConfig, Error, Producer, ProducerConfig};

/// How a [`Client`] finds and treats its servers.
///
/// `ClientConfig { timeout: Duration::from_secs(5), ..ClientConfig::new(["127.0.0.1:7400"]) }`
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses, `host:port`, of which at least one has to answer. A topic is looked for at each of them. Where one is gone for
    /// good, and the others do not own all of a topic, keys have nowhere to go ([`Error::Uncounted`]): leave it out then.
    pub servers: Vec<String>,
    /// How long a request may take, retries and the look-up of its topic included; a long poll takes its wait on top, and one
    /// attempt to connect that began in time is let end. Where this program was held up itself, answers that came meanwhile are looked at first.
    /// Of what any server can tell, each of several has its share of the time. Where the server asked does not reach another one
    /// that it needs (`SourceUnavailable`), it is asked again for 5 s from when it first says so.
    /// What is produced or read is waited for beyond it while anything comes, as [`ProducerConfig::delivery_timeout`] and
    /// [`ConsumerConfig::unreachable_timeout`] say.
    pub timeout: Duration,
    /// How long one attempt to connect may take, which the addresses of a name share, and where there are several servers, one
    /// to look a topic up.
    pub connect_timeout: Duration,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// How old metadata may be before it is asked for again.
    pub metadata_age_max: Duration,
    /// Where a core's own port does not answer, for how long another port of its node is good enough before the core's own
    /// is tried again; and how long who follows waits for a record at another server than the first before it looks at the
    /// others again.
    pub detour: Duration,
    /// The name that the server writes into its log lines, at most 256 bytes.
    pub client_name: String,
}

impl ClientConfig {
    /// The defaults for these servers.
    pub fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
            backoff: Backoff::default(),
            metadata_age_max: Duration::from_secs(300),
            detour: Duration::from_secs(30),
            client_name: concat!("corelog-client/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A connected client; clones share its connections and its metadata.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    /// Connects to the first of the configured servers that answers.
    ///
    /// # Errors
    /// [`Error::NoServer`], or the last server's [`Error::Connect`] or [`Error::Version`].
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let inner = Arc::new(Inner::new(config)?);
        inner.any_server().await?;
        Ok(Self { inner })
    }

    /// Creates, changes and describes topics; looks up offsets.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.inner))
    }

    /// A producer with connections of its own.
    #[must_use]
    pub fn producer(&self, config: ProducerConfig) -> Producer {
        Producer::new(Arc::clone(&self.inner), config)
    }

    /// A consumer with connections of its own.
    #[must_use]
    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        Consumer::new(Arc::clone(&self.inner), config)
    }

    /// What is known about a topic; asks a server if nothing is, or it is old. Where that has none, all others are asked at
    /// once, and the first that has one is believed, as they are configured. What was known of it stays true while one of them
    /// does not answer, and the others have no such topic.
    ///
    /// # Errors
    /// [`Error::Refused`] with the code `UnknownTopic` if no server has it, or why one that may could not be asked.
    pub async fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, Error> {
        self.inner.topic_by(self.inner.deadline(), name).await
    }

    /// The same, asked now, of each of the servers: one with a copy of the topic may not have all of its partitions. With those
    /// that were added since it was last asked for; one that does not answer tells of none, and [`Client::untold`] names it.
    ///
    /// # Errors
    /// As [`Client::topic`].
    pub async fn topic_anew(&self, name: &TopicName) -> Result<Arc<Topic>, Error> {
        let deadline = self.inner.deadline();
        self.inner.topic_of_all(deadline, name).await
    }

    /// The servers that may have partitions of a topic which [`Client::topic_anew`] has not told of: since it is asked for they
    /// have not said what they have of it, and those that have do not own all of it between them. Those that cannot read it are
    /// the first.
    pub async fn untold(&self, name: &TopicName) -> Vec<Untold> {
        self.inner.untold(name).await
    }

    /// What the server said of itself: node, core, addresses, limits, software.
    ///
    /// # Errors
    /// Why no server could be reached.
    pub async fn hello(&self) -> Result<hello::Answer, Error> {
        Ok(self.inner.any_server().await?.hello().clone())
    }
}

/// What the client's faces share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: ClientConfig,
    pub(crate) pool: Pool,
    pub(crate) metadata: Cache,
    servers: Vec<Arc<str>>,
    /// The server that answered last, by its index.
    server: AtomicUsize,
    users: AtomicU64,
}

impl Inner {
    pub(crate) fn new(mut config: ClientConfig) -> Result<Self, Error> {
        if config.servers.is_empty() {
            return Err(Error::NoServer);
        }
        for time in [
            &mut config.timeout,
            &mut config.connect_timeout,
            &mut config.detour,
        ] {
            *time = (*time).min(TIMEOUT_MAX);
        }
        let pool = Pool::new(Options {
            client: config.client_name.clone(),
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            backoff: config.backoff,
        });
        Ok(Self {
            pool,
            metadata: Cache::new(config.metadata_age_max, config.servers.len()),
            servers: config
                .servers
                .iter()
                .map(|server| server.as_str().into())
                .collect(),
            server: AtomicUsize::new(0),
            users: AtomicU64::new(1),
            config,
        })
    }

    /// A user of the pool that nobody else is.
    fn new_user(&self) -> User {
        let user = User::new(self.users.fetch_add(1, Ordering::Relaxed));
        self.pool.admit(user);
        user
    }

    /// When what is asked for now has to be over.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::within(self.config.timeout)
    }

    /// That of a call which begins now.
    pub(crate) fn turn(&self) -> Turn {
        Turn::of(self.servers.len())
    }

    /// A connection to any of the configured servers, beginning with the last good one.
    pub(crate) async fn any_server(&self) -> Result<Connection, Error> {
        // Each of them is tried.
        let deadline = Deadline::within(TIMEOUT_MAX);
        Ok(self.next_server(deadline).await?.1)
    }

    /// The same, and which of them it is. When the time is over none is tried any more, and those that are left are the first
    /// the next time.
    pub(crate) async fn next_server(
        &self,
        deadline: Deadline,
    ) -> Result<(usize, Connection), Error> {
        let first = self.server.load(Ordering::Relaxed);
        let mut last = Error::NoServer;
        for step in 0..self.servers.len() {
            let index = (first + step) % self.servers.len();
            match self.connect(index).await {
                Ok(connection) => {
                    self.server.store(index, Ordering::Relaxed);
                    return Ok((index, connection));
                }
                Err(error) => last = error,
            }
            if deadline.is_over() {
                self.pass_over_all(first, index);
                break;
            }
        }
        Err(last)
    }

    /// Where one of the configured servers is.
    pub(crate) fn address(&self, server: usize) -> &str {
        &self.servers[server]
    }

    /// A connection to one of the configured servers.
    pub(crate) async fn connect(&self, server: usize) -> Result<Connection, Error> {
        let key = Key {
            address: Arc::clone(&self.servers[server]),
            user: User::ADMIN,
        };
        self.pool.connect(&key).await
    }

    /// What `server` told of a topic is of a log that is behind another's: the next one is asked.
    pub(crate) fn turn_from(&self, server: usize, name: &TopicName) {
        self.pass_over(server);
        self.metadata.doubt(name);
    }

    /// The topic `id` is gone: where that is the one that is known, no news would be better than these. Whoever told them may have
    /// a copy of that one for good, and is asked last.
    pub(crate) fn forget(&self, name: &TopicName, id: Option<TopicId>) {
        if let Some(teller) = self.metadata.forget_former(name, id) {
            self.pass_over(teller);
        }
    }

    /// Has the one behind `server` be asked first.
    fn pass_over(&self, server: usize) {
        self.pass_over_all(server, server);
    }

    /// Has the one behind `last` be asked first, where so far it was `first`.
    fn pass_over_all(&self, first: usize, last: usize) {
        let next = (last + 1) % self.servers.len();
        // Fails if somebody else has turned away already.
        let _ = self
            .server
            .compare_exchange(first, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks any server, again while that may help and there is time. That another node owns what is asked for is told at
    /// once: what is asked this way means the node that is asked. What changes something is asked of the first alone that was
    /// reached: done there, or perhaps, it would be done by another one as well.
    pub(crate) async fn call<R: Call>(
        &self,
        deadline: Deadline,
        request: &R,
        repeat: Repeat,
    ) -> Result<R::Answer, Error> {
        let reached = &OnceLock::new();
        Retry::until(deadline, repeat, &self.config)
            .run(|deadline| async move {
                let connection = match reached.get() {
                    Some(server) => self.connect(*server).await?,
                    None => {
                        let (server, connection) = self.next_server(deadline).await?;
                        if repeat != Repeat::Always {
                            reached.get_or_init(|| server);
                        }
                        connection
                    }
                };
                Ok(connection.call(request, deadline.left()).await?.head)
            })
            .await
    }

    /// Asks what any of the servers may tell, each as it knows it, and which of them answered.
    pub(crate) async fn call_in_turn<R: Call>(
        &self,
        deadline: Deadline,
        request: &R,
    ) -> Result<(usize, R::Answer), Error> {
        let turn = &self.turn();
        Retry::until(deadline, Repeat::Always, &self.config)
            .run(|deadline| async move {
                let (server, connection) = self.next_server(deadline).await?;
                let answer = self.ask_in_turn((turn, server), &connection, request, deadline);
                Ok((server, answer.await?))
            })
            .await
    }

    /// Asks a server, and leaves those that had no turn yet their share of the time. That may be more than to connect takes:
    /// what is asked may be read from a slow disk, and another server may not have it.
    pub(crate) async fn ask_in_turn<R: Call>(
        &self,
        (turn, server): (&Turn, usize),
        connection: &Connection,
        request: &R,
        deadline: Deadline,
    ) -> Result<R::Answer, Error> {
        let time = turn.share(deadline);
        self.ask_or_pass_over((turn, server), connection, request, time)
            .await
    }

    /// The same of one of the servers, which is asked first from then on.
    pub(crate) async fn call_at<R: Call>(
        &self,
        deadline: Deadline,
        server: usize,
        request: &R,
        repeat: Repeat,
    ) -> Result<R::Answer, Error> {
        Retry::until(deadline, repeat, &self.config)
            .run(|deadline| async move {
                let connection = self.connect(server).await?;
                let answer = connection.call(request, deadline.left()).await?.head;
                self.server.store(server, Ordering::Relaxed);
                Ok(answer)
            })
            .await
    }

    /// Asks the server of a partition, again while that may help and there is time.
    pub(crate) async fn call_partition<R: Call>(
        self: &Arc<Self>,
        name: &TopicName,
        partition: PartitionId,
        repeat: Repeat,
        request: impl Fn(TopicId) -> R,
    ) -> Result<R::Answer, Error> {
        let request = &request;
        Retry::until(self.deadline(), repeat, &self.config)
            .led()
            .run(|deadline| async move {
                // What was known of the topic may be older than this question.
                let mut is_sure = repeat != Repeat::Always;
                loop {
                    let mut topic = None;
                    let asked = async {
                        let route = self
                            .route_by(deadline, User::ADMIN, name, partition)
                            .await?;
                        topic = Some(route.topic.id);
                        let request = request(route.topic.id);
                        Ok(route.connection.call(&request, deadline.left()).await?.head)
                    };
                    let asked: Result<_, Error> = asked.await;
                    if let Err(error) = &asked {
                        self.heed(name, topic, partition, error);
                    }
                    match asked {
                        Err(error) if error.is_topic_changed() && !is_sure => is_sure = true,
                        asked => return asked,
                    }
                }
            })
            .await
    }
}

/// As good as for ever, and a clock can still be set to it.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
