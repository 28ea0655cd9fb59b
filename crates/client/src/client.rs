//! The client: where requests go, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_protocol::message::{Call, hello, metadata};
use corelog_record::{PartitionId, TopicId, TopicName};
use tokio::time::Instant;

use crate::connection::{Backoff, Connection, Key, Options, Pool, User};
use crate::metadata::{Cache, Topic};
use crate::retry::{Repeat, Retry};
use crate::{Admin, Consumer, ConsumerConfig, Error, Producer, ProducerConfig};

/// How a [`Client`] finds and treats its servers.
///
/// `ClientConfig { timeout: Duration::from_secs(5), ..ClientConfig::new(["127.0.0.1:7400"]) }`
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Addresses, `host:port`, of which at least one has to answer.
    pub servers: Vec<String>,
    /// How long a request may take, retries included; a long poll takes its wait on top, and an attempt to connect
    /// that began in time is let end.
    pub timeout: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// How old metadata may be before it is asked for again.
    pub metadata_age_max: Duration,
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

    /// What is known about a topic; asks the server if nothing is, or it is old.
    ///
    /// # Errors
    /// [`Error::Refused`] with the code `UnknownTopic`, or why no server could be asked.
    pub async fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, Error> {
        self.inner.topic(name).await
    }

    /// The node, its cores and these topics (`None`: all), straight from a server.
    ///
    /// # Errors
    /// [`Error::Refused`], or why no server could be asked.
    pub async fn metadata(
        &self,
        topics: Option<Vec<TopicName>>,
    ) -> Result<metadata::Answer, Error> {
        self.inner
            .call(&metadata::Request { topics }, Repeat::Always)
            .await
    }

    /// What the server said of itself: node, core, addresses, limits, software.
    ///
    /// # Errors
    /// Why no server could be reached.
    pub async fn hello(&self) -> Result<hello::Answer, Error> {
        Ok(self.inner.any_server().await?.hello().clone())
    }
}

/// A connection that serves a partition.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) connection: Connection,
    pub(crate) topic: Arc<Topic>,
    /// Set on a detour: when to try the owner's own address again.
    retry_at: Option<Instant>,
}

impl Route {
    /// True if a better one may be had; to be changed only while nothing is in flight on it.
    pub(crate) fn is_stale(&self) -> bool {
        self.connection.is_closed() || self.retry_at.is_some_and(|at| at <= Instant::now())
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
    fn new(mut config: ClientConfig) -> Result<Self, Error> {
        if config.servers.is_empty() {
            return Err(Error::NoServer);
        }
        for timeout in [&mut config.timeout, &mut config.connect_timeout] {
            *timeout = (*timeout).min(TIMEOUT_MAX);
        }
        let pool = Pool::new(Options {
            client: config.client_name.clone(),
            connect_timeout: config.connect_timeout,
            backoff: config.backoff,
        });
        Ok(Self {
            pool,
            metadata: Cache::new(config.metadata_age_max),
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
    pub(crate) fn new_user(&self) -> User {
        User::new(self.users.fetch_add(1, Ordering::Relaxed))
    }

    /// A connection to any of the configured servers, beginning with the last good one.
    pub(crate) async fn any_server(&self) -> Result<Connection, Error> {
        let first = self.server.load(Ordering::Relaxed);
        let mut last = Error::NoServer;
        for step in 0..self.servers.len() {
            let index = (first + step) % self.servers.len();
            let key = Key {
                address: Arc::clone(&self.servers[index]),
                user: User::ADMIN,
            };
            match self.pool.connect(&key).await {
                Ok(connection) => {
                    self.server.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Which server answered last.
    pub(crate) fn server(&self) -> usize {
        self.server.load(Ordering::Relaxed)
    }

    /// What `server` told of a topic is of a log that is behind another's: the next one is asked.
    pub(crate) fn turn_from(&self, server: usize, name: &TopicName) {
        let next = (server + 1) % self.servers.len();
        // Fails if somebody else has turned away already.
        let _ = self
            .server
            .compare_exchange(server, next, Ordering::Relaxed, Ordering::Relaxed);
        self.metadata.doubt(name);
    }

    /// Asks any server, again while that may help and there is time.
    pub(crate) async fn call<R: Call>(
        &self,
        request: &R,
        repeat: Repeat,
    ) -> Result<R::Answer, Error> {
        self.call_within(Retry::new(repeat, &self.config), request)
            .await
    }

    async fn call_within<R: Call>(&self, retry: Retry, request: &R) -> Result<R::Answer, Error> {
        retry
            .run(|deadline| async move {
                let server = self.any_server().await?;
                Ok(server.call(request, deadline.left()).await?.head)
            })
            .await
    }

    /// Asks the server of a partition, again while that may help and there is time.
    pub(crate) async fn call_partition<R: Call>(
        &self,
        name: &TopicName,
        partition: PartitionId,
        repeat: Repeat,
        request: impl Fn(TopicId) -> R,
    ) -> Result<R::Answer, Error> {
        let request = &request;
        Retry::new(repeat, &self.config)
            .run(|deadline| async move {
                let asked = async {
                    let route = self.route(User::ADMIN, name, partition).await?;
                    let request = request(route.topic.id);
                    Ok(route.connection.call(&request, deadline.left()).await?.head)
                };
                asked.await.inspect_err(|error| {
                    self.heed(name, partition, error);
                })
            })
            .await
    }

    /// What is known about a topic; asks if nothing is. Old news are used while no server answers.
    pub(crate) async fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, Error> {
        if let Some(topic) = self.metadata.fresh(name) {
            return Ok(topic);
        }
        // All who wait here while no server answers have waited long enough when the first of them has.
        let retry = Retry::new(Repeat::Always, &self.config);
        let _asking = self.metadata.asking.lock().await;
        if let Some(topic) = self.metadata.fresh(name) {
            return Ok(topic);
        }
        let request = metadata::Request {
            topics: Some(vec![name.clone()]),
        };
        let answer = match self.call_within(retry, &request).await {
            Ok(answer) => answer,
            Err(error) => return self.metadata.known(name).ok_or(error),
        };
        let shared: Arc<str> = answer.shared.into();
        if let Some(topic) = answer.topics.into_iter().find(|topic| topic.name == *name) {
            return Ok(self.metadata.learn(topic, &shared));
        }
        self.metadata.forget(name);
        let told = answer.errors.into_iter().find(|told| told.name == *name);
        let body = match told {
            Some(told) => told.error,
            None => ErrorBody::new(ErrorCode::UnknownTopic, format!("there is no topic {name}")),
        };
        Err(Error::Refused {
            body: Box::new(body),
        })
    }

    /// A connection to the core that owns a partition or, if that does not answer, to a port from
    /// which the node finds its way.
    pub(crate) async fn route(
        &self,
        user: User,
        name: &TopicName,
        partition: PartitionId,
    ) -> Result<Route, Error> {
        let mut topic = self.topic(name).await?;
        if topic.partition(partition).is_err() {
            // It may have been added since.
            self.metadata.doubt(name);
            topic = self.topic(name).await?;
        }
        let owner = Arc::clone(&topic.partition(partition)?.address);
        let server = &self.servers[self.server.load(Ordering::Relaxed) % self.servers.len()];
        let mut addresses = vec![owner, Arc::clone(&topic.shared), Arc::clone(server)];
        addresses.retain(|address| !address.is_empty());
        addresses.dedup();

        let mut last = Error::NoServer;
        let key = |address: &Arc<str>| Key {
            address: Arc::clone(address),
            user,
        };
        for (index, address) in addresses.iter().enumerate() {
            match self.pool.connect(&key(address)).await {
                Ok(connection) if index == 0 => {
                    return Ok(Route {
                        connection,
                        topic,
                        retry_at: None,
                    });
                }
                Ok(connection) => {
                    self.pool.rest(&key(&addresses[0]), DETOUR).await;
                    let retry_at = Some(Instant::now() + DETOUR);
                    return Ok(Route {
                        connection,
                        topic,
                        retry_at,
                    });
                }
                Err(error) => last = error,
            }
        }
        // None answers: the node is down, or has moved. Begin anew with all of it.
        self.pool.rest(&key(&addresses[0]), Duration::ZERO).await;
        self.metadata.doubt(name);
        Err(last)
    }

    /// Learns from a failed request where its partition is, or that nothing is known any more;
    /// true if the route that the request took is no longer the right one.
    pub(crate) fn heed(&self, name: &TopicName, partition: PartitionId, error: &Error) -> bool {
        match error {
            Error::Lost { .. } | Error::TimedOut { .. } => {
                self.metadata.doubt(name);
                false
            }
            Error::Refused { body } => match body.known_code() {
                Some(ErrorCode::NotOwner) => {
                    match &body.detail.address {
                        Some(address) => self.metadata.moved(name, partition, address),
                        None => self.metadata.doubt(name),
                    }
                    true
                }
                // What was known is of a topic that is gone: no news would be better than these.
                Some(ErrorCode::TopicChanged) => {
                    self.metadata.forget(name);
                    true
                }
                Some(ErrorCode::UnknownTopic | ErrorCode::UnknownPartition) => {
                    self.metadata.doubt(name);
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// The error of whoever means the topic as it was before `route` found another one.
pub(crate) fn topic_changed(route: &Route) -> Error {
    let message = format!("topic {} was deleted and created again", route.topic.name);
    let detail = Detail {
        topic_id: Some(route.topic.id),
        ..Detail::default()
    };
    let body = ErrorBody::new(ErrorCode::TopicChanged, message).with_detail(detail);
    Error::Refused {
        body: Box::new(body),
    }
}

/// As good as for ever, and a clock can still be set to it.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long a detour over a shared port is good enough before the owner's address is tried again.
const DETOUR: Duration = Duration::from_secs(30);
