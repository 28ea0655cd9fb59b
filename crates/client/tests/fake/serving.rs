//! One connection of the fake server: requests in order, each as the script wants it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use corelog_client::protocol::answer;
use corelog_client::protocol::error::{Applied, ErrorBody, ErrorCode};
use corelog_client::protocol::frame::{CorrelationId, Decoder, Peek};
use corelog_client::protocol::kind::Kind;
use corelog_client::protocol::message::replica_status::Role;
use corelog_client::protocol::message::{
    Call, delete_topic, describe_topic, fetch, hello, list_offsets, list_snapshots, metadata, ping,
    produce, replica_status, snapshot,
};
use corelog_client::protocol::request::Request;
use corelog_client::record::{
    CoreId, LeaderEpoch, NodeId, Offset, PartitionId, Timestamp, TopicName,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::server::{Act, State, Topic};

/// A port that accepts connections: the shared one, or a core's.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) core: Option<usize>,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) changed: watch::Sender<u64>,
}

/// Each task has one, which goes with it.
impl Drop for Port {
    fn drop(&mut self) {
        // What panics while it holds the state leaves it poisoned.
        if thread::panicking()
            && let Ok(mut state) = self.state.lock()
        {
            state.is_broken = true;
        }
    }
}

/// One connection's memory: per partition, the run that is aborted.
type Runs = BTreeMap<(TopicName, PartitionId), u32>;

/// What to do after a request was served.
enum Then {
    GoOn,
    Close,
}

impl Port {
    pub(crate) async fn listen(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let port = self.clone();
            connections.spawn(async move {
                port.state.lock().unwrap().connection_count += 1;
                port.clone().serve(socket).await;
                port.state.lock().unwrap().connection_count -= 1;
                port.changed.send_modify(|count| *count += 1);
            });
        }
    }

    async fn serve(self, socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        let (mut source, mut sink) = socket.into_split();
        let (answers, mut outgoing) = mpsc::unbounded_channel::<Vec<u8>>();
        // Answers that were given before a cut still leave, as they would in life.
        let writer = tokio::spawn(async move {
            while let Some(answer) = outgoing.recv().await {
                if sink.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
        let mut parked = JoinSet::new();
        let (mut buffer, mut runs) = (Vec::new(), Runs::new());
        let decoder = Decoder::requests(16 << 20);
        'connection: loop {
            while let Peek::Frame(frame) = decoder.peek(&buffer).unwrap() {
                let request = Request::decode(&frame).unwrap();
                let correlation = frame.header.correlation;
                let body = frame.body.to_vec();
                buffer.drain(..frame.header.total_bytes());
                let act = self.state.lock().unwrap().act(self.core, &request);
                self.changed.send_modify(|count| *count += 1);
                let one = One {
                    port: &self,
                    correlation,
                    answers: &answers,
                };
                match one.meet(act, request, body, &mut runs, &mut parked).await {
                    Then::GoOn => {}
                    Then::Close => break 'connection,
                }
            }
            match source.read_buf(&mut buffer).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => {
                    self.state.lock().unwrap().reset_count += 1;
                    break;
                }
            }
        }
        drop(answers);
        parked.shutdown().await;
        drop(writer.await);
    }
}

/// One request on its way through.
struct One<'a> {
    port: &'a Port,
    correlation: CorrelationId,
    answers: &'a mpsc::UnboundedSender<Vec<u8>>,
}

impl One<'_> {
    async fn meet(
        &self,
        act: Act,
        mut request: Request,
        body: Vec<u8>,
        runs: &mut Runs,
        parked: &mut JoinSet<()>,
    ) -> Then {
        let kind = request.kind().number();
        let mut tamper: fn(&mut [u8]) = |_| ();
        let mut then = Then::GoOn;
        match act {
            Act::Serve => {}
            Act::Tamper(how) => tamper = how,
            Act::Hurry => {
                if let Request::Fetch(asked) = &mut request {
                    asked.max_wait_ms = 0;
                }
            }
            Act::Empty => {
                let Request::Fetch(asked) = &request else {
                    panic!("{} waits for nothing", request.kind());
                };
                self.fetch_nothing(asked);
                return Then::GoOn;
            }
            Act::Ignore => return Then::GoOn,
            Act::Cut => return Then::Close,
            Act::Garble => {
                // A whole frame's worth of nothing.
                drop(self.answers.send(vec![0; 64]));
                return Then::GoOn;
            }
            Act::Answer(correlation) => {
                let one = One {
                    correlation,
                    ..*self
                };
                one.ok::<ping::Request>(&ping::Answer {}, &[]);
                return Then::GoOn;
            }
            Act::Dismiss(error) => {
                self.err(answer::CONNECTION_KIND, &error);
                return Then::Close;
            }
            Act::DismissAndServe(mut error) => {
                if error.is(ErrorCode::Stopping) {
                    error.detail.taken = Some(self.correlation.get());
                }
                self.err(answer::CONNECTION_KIND, &error);
                then = Then::Close;
            }
            Act::Later(gate) => {
                let (port, correlation, answers) =
                    (self.port.clone(), self.correlation, self.answers.clone());
                parked.spawn(async move {
                    gate.acquire().await.unwrap().forget();
                    let one = One {
                        port: &port,
                        correlation,
                        answers: &answers,
                    };
                    match request {
                        Request::ListOffsets(asked) => one.list_offsets(&asked),
                        Request::DescribeTopic(asked) => one.describe_topic(&asked),
                        // Of a run that nothing has aborted.
                        Request::Produce(asked) => {
                            let head = one.produce(&asked, &body, &mut Runs::new()).unwrap();
                            one.ok::<produce::Request>(&head, &[]);
                        }
                        other => panic!("{} does not wait", other.kind()),
                    }
                });
                return Then::GoOn;
            }
            Act::Hold(gate) => gate.notified().await,
            Act::Refuse(error) => {
                self.refuse(kind, &request, &error, runs);
                return Then::GoOn;
            }
            Act::ServeAndRefuse(mut error) => {
                // Of a run that is aborted it takes nothing, and says so.
                if let Request::Produce(produce) = &request
                    && let Err(refused) = self.produce(produce, &body, runs)
                {
                    error = refused;
                }
                self.refuse(kind, &request, &error, runs);
                return Then::GoOn;
            }
            Act::ServeAndCut => {
                if let Request::Produce(produce) = &request {
                    drop(self.produce(produce, &body, runs));
                }
                return Then::Close;
            }
        }
        match request {
            Request::Hello(_) => self.hello(),
            Request::Metadata(asked) => self.metadata(&asked),
            Request::DescribeTopic(asked) => self.describe_topic(&asked),
            Request::DeleteTopic(asked) => self.delete_topic(&asked),
            Request::ReplicaStatus(asked) => self.replica_status(&asked),
            Request::ListOffsets(asked) => self.list_offsets(&asked),
            Request::ListSnapshots(asked) => self.list_snapshots(&asked),
            Request::Produce(asked) => match self.produce(&asked, &body, runs) {
                Ok(head) => self.ok::<produce::Request>(&head, &[]),
                Err(error) => self.refuse(kind, &Request::Produce(asked), &error, runs),
            },
            Request::Fetch(asked) => {
                let (port, correlation, answers) =
                    (self.port.clone(), self.correlation, self.answers.clone());
                parked.spawn(async move {
                    let one = One {
                        port: &port,
                        correlation,
                        answers: &answers,
                    };
                    one.fetch(&asked, tamper).await;
                });
            }
            other => panic!("the fake does not serve {}", other.kind()),
        }
        then
    }

    fn hello(&self) {
        let state = self.port.state.lock().unwrap();
        let core = CoreId::new(self.port.core.unwrap_or(0).try_into().unwrap());
        let head = hello::Answer {
            version: 1,
            node: NodeId::from_bytes([7; 16]),
            core,
            cores: state.advertised_cores.clone(),
            shared: state.advertised_shared.clone(),
            limits: state.limits.clone(),
            auth: vec![hello::AUTH_NONE.to_owned()],
            software: "fake".to_owned(),
        };
        drop(state);
        self.ok::<hello::Request>(&head, &[]);
    }

    fn metadata(&self, asked: &metadata::Request) {
        let state = self.port.state.lock().unwrap();
        let names = asked
            .topics
            .clone()
            .unwrap_or_else(|| state.topics.keys().cloned().collect());
        let (mut topics, mut errors) = (Vec::new(), Vec::new());
        for name in names {
            let is_unreadable = state.unreadable.contains(&name);
            let topic = state.topics.get(&name).filter(|_| !is_unreadable);
            let Some(topic) = topic else {
                let code = match is_unreadable {
                    true => ErrorCode::Damaged,
                    false => ErrorCode::UnknownTopic,
                };
                let error = ErrorBody::new(code, "no such topic");
                errors.push(metadata::TopicError { name, error });
                continue;
            };
            let partition = |index: usize| {
                let core = index % state.advertised_cores.len().max(1);
                metadata::Partition {
                    id: PartitionId::new(index.try_into().unwrap()),
                    core: CoreId::new(core.try_into().unwrap()),
                    address: state
                        .advertised_cores
                        .get(core)
                        .cloned()
                        .unwrap_or_default(),
                }
            };
            topics.push(metadata::Topic {
                name,
                id: topic.id,
                settings: Default::default(),
                partitions: (0..topic.partitions.len())
                    .map(partition)
                    .filter(|one| !state.hidden.contains(&one.id))
                    .collect(),
            });
        }
        let head = metadata::Answer {
            node: NodeId::from_bytes([7; 16]),
            cores: state.advertised_cores.clone(),
            shared: state.advertised_shared.clone(),
            topics,
            errors,
        };
        drop(state);
        self.ok::<metadata::Request>(&head, &[]);
    }

    /// It owns what it does not follow.
    fn replica_status(&self, asked: &replica_status::Request) {
        let state = self.port.state.lock().unwrap();
        let topic = state.topics.get(&asked.topic);
        let Some(Topic { id, partitions }) = topic.cloned() else {
            panic!("it has no such topic");
        };
        let count = u32::try_from(partitions.len()).unwrap();
        let role = |id| match state.followed.contains(&id) {
            true => Role::Follower,
            false => Role::Owner,
        };
        let partition = |id| replica_status::Partition {
            role: role(id),
            ..replica_status::Partition::owned(id, Offset::ZERO)
        };
        let partitions = (0..count).map(PartitionId::new).map(partition).collect();
        drop(state);
        self.ok::<replica_status::Request>(&replica_status::Answer { id, partitions }, &[]);
    }

    fn describe_topic(&self, asked: &describe_topic::Request) {
        let found = self.port.state.lock().unwrap().id_of(&asked.name);
        match found {
            Ok(id) => self.ok::<describe_topic::Request>(
                &describe_topic::Answer {
                    id,
                    settings: Default::default(),
                    partitions: Vec::new(),
                },
                &[],
            ),
            Err(error) => self.err(Kind::DescribeTopic.number(), &error),
        }
    }

    fn delete_topic(&self, asked: &delete_topic::Request) {
        let mut state = self.port.state.lock().unwrap();
        match state.id_of(&asked.name) {
            Ok(_) => {
                state.topics.remove(&asked.name);
                self.ok::<delete_topic::Request>(&delete_topic::Answer {}, &[]);
            }
            Err(error) => self.err(Kind::DeleteTopic.number(), &error),
        }
    }

    fn list_offsets(&self, asked: &list_offsets::Request) {
        let mut state = self.port.state.lock().unwrap();
        match state.find(&asked.topic, asked.id, asked.partition) {
            Ok(log) => {
                let head = log.list_offsets(asked.at);
                self.ok::<list_offsets::Request>(&head, &[]);
            }
            Err(error) => self.err(list_offsets::Request::KIND.number(), &error),
        }
    }

    /// One at a time of a, b, c; the last leads back to where it began.
    fn list_snapshots(&self, asked: &list_snapshots::Request) {
        let (name, next) = match asked.after.as_deref() {
            None => ("a", "a"),
            Some("a") => ("b", "b"),
            Some(_) => ("c", "a"),
        };
        let snapshot = snapshot::Snapshot {
            name: name.to_owned(),
            created: Timestamp::from_millis(1),
            topics: Vec::new(),
        };
        let head = list_snapshots::Answer {
            snapshots: vec![snapshot],
            next: Some(next.to_owned()),
            ..list_snapshots::Answer::default()
        };
        self.ok::<list_snapshots::Request>(&head, &[]);
    }

    fn produce(
        &self,
        asked: &produce::Request,
        body: &[u8],
        runs: &mut Runs,
    ) -> Result<produce::Answer, ErrorBody> {
        let aborted = runs.get(&(asked.topic.clone(), asked.partition));
        if aborted.is_some_and(|aborted| asked.run <= *aborted) {
            return Err(ErrorBody::new(ErrorCode::Aborted, "the run is aborted"));
        }
        let mut state = self.port.state.lock().unwrap();
        let (base, end) = state
            .find(&asked.topic, asked.id, asked.partition)?
            .append(body);
        drop(state);
        self.port.changed.send_modify(|count| *count += 1);
        let epoch = LeaderEpoch::ZERO;
        Ok(produce::Answer {
            base,
            end,
            epoch,
            level: asked.level.unwrap_or_default(),
        })
    }

    async fn fetch(&self, asked: &fetch::Request, tamper: fn(&mut [u8])) {
        let mut changed = self.port.changed.subscribe();
        let wait = std::time::Duration::from_millis(asked.max_wait_ms.into());
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let found = {
                let mut state = self.port.state.lock().unwrap();
                let log = state.find(&asked.topic, asked.id, asked.partition);
                log.and_then(|log| log.fetch(asked.offset, asked.max_bytes as usize))
            };
            let (head, mut body) = match found {
                Ok(found) => found,
                Err(error) => return self.err(fetch::Request::KIND.number(), &error),
            };
            if !body.is_empty() {
                tamper(&mut body);
                return self.ok::<fetch::Request>(&head, &body);
            }
            if tokio::time::timeout_at(deadline, changed.changed())
                .await
                .is_err()
            {
                return self.ok::<fetch::Request>(&head, &body);
            }
        }
    }

    fn fetch_nothing(&self, asked: &fetch::Request) {
        let mut state = self.port.state.lock().unwrap();
        let log = state.find(&asked.topic, asked.id, asked.partition).unwrap();
        let (head, _) = log.fetch(asked.offset, 0).unwrap();
        let head = fetch::Answer {
            next: asked.offset,
            ..head
        };
        drop(state);
        self.ok::<fetch::Request>(&head, &[]);
    }

    /// Answers with an error, and aborts the run if it was a Produce that was not applied. A head that is not read names none.
    fn refuse(&self, kind: u16, request: &Request, error: &ErrorBody, runs: &mut Runs) {
        let is_unread = error.is(ErrorCode::BadFrame) || error.is(ErrorCode::InvalidTopicName);
        if let Request::Produce(asked) = request
            && error.applied() == Applied::No
            && !is_unread
        {
            runs.insert((asked.topic.clone(), asked.partition), asked.run);
        }
        self.err(kind, error);
    }

    fn ok<R: Call>(&self, head: &R::Answer, body: &[u8]) {
        let mut out = Vec::new();
        answer::encode_ok::<R>(self.correlation, head, body.len(), &mut out).unwrap();
        out.extend_from_slice(body);
        drop(self.answers.send(out));
    }

    fn err(&self, kind: u16, error: &ErrorBody) {
        let mut out = Vec::new();
        answer::encode_err(kind, self.correlation, error, &mut out).unwrap();
        drop(self.answers.send(out));
    }
}
