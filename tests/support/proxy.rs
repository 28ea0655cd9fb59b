//! A way to the server on which things go wrong: a Produce is answered `Busy` here, a connection is
//! cut, perhaps in the middle of a frame, a frame is late, or a bit of it is another one; by chance, or
//! as a test says. It keeps the rule of the page: answers of a partition keep their order, and after one that says *not
//! applied* the rest of its run is aborted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_protocol::frame::{CorrelationId, Decoder, Frame, Peek};
use corelog_protocol::kind::Kind;
use corelog_protocol::message::describe_topic;
use corelog_protocol::{answer, limits, request};
use corelog_record::PartitionId;

/// How often things go wrong; one in so many frames, or never if 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odds {
    pub(crate) busy: u32,
    pub(crate) cut: u32,
    /// A bit of the frame is turned, anywhere but in its length.
    pub(crate) corrupt: u32,
    /// The connection stands still one way, for at most `stall_ms`.
    pub(crate) stall: u32,
    pub(crate) stall_ms: usize,
}

/// How often they went wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) busy: u64,
    pub(crate) aborted: u64,
    pub(crate) cut: u64,
    pub(crate) corrupt: u64,
    pub(crate) stalled: u64,
}

/// Ports in a row that lead to a server's.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    odds: Mutex<Odds>,
    random: Mutex<fastrand::Rng>,
    /// The server's ports, once there is a server.
    targets: Mutex<Vec<SocketAddr>>,
    /// What everybody is told who connects, and no more.
    words: Mutex<Option<&'static [u8]>>,
    links: Mutex<Vec<Weak<Link>>>,
    /// Ports, and the kinds of requests whose answers do not come back by them.
    held: Mutex<BTreeSet<(usize, Kind)>>,
    /// Partitions whose logs tell nothing, or refuse, and with what.
    logs: Mutex<BTreeMap<PartitionId, Option<ErrorCode>>>,
    /// How many requests of each kind were sent on.
    asked: Mutex<BTreeMap<u16, u64>>,
    counts: Mutex<Counts>,
    /// What a server may not do and did: a thread of the proxy's own fails no test.
    faults: Mutex<Vec<&'static str>>,
}

/// One connection through the proxy.
struct Link {
    state: Arc<State>,
    /// The index of its port.
    port: usize,
    client: TcpStream,
    server: TcpStream,
    lanes: Mutex<BTreeMap<u32, Lane>>,
}

/// The Produce requests of one partition that are not answered yet.
#[derive(Default)]
struct Lane {
    open: VecDeque<Open>,
    aborted_run: Option<u32>,
}

enum Open {
    /// The server will answer it.
    There(u32),
    /// The answer, which has to wait for those in front of it.
    Here(Vec<u8>),
}

impl Proxy {
    /// Listens on `ports` ports in a row.
    pub(crate) fn listen(ports: u16, odds: Odds, mut random: fastrand::Rng) -> Self {
        let listeners = row(ports, &mut random);
        let address = listeners[0].local_addr().unwrap();
        let state = Arc::new(State {
            odds: Mutex::new(odds),
            random: Mutex::new(random),
            targets: Mutex::default(),
            words: Mutex::default(),
            links: Mutex::default(),
            held: Mutex::default(),
            logs: Mutex::default(),
            asked: Mutex::default(),
            counts: Mutex::default(),
            faults: Mutex::default(),
        });
        for (index, listener) in listeners.into_iter().enumerate() {
            let state = Arc::clone(&state);
            // It ends with the test's process.
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    // A server that is not there is a connection that is cut.
                    let _ = Link::open(&state, client, index);
                }
            });
        }
        Self { address, state }
    }

    /// From now on the ports lead to these.
    pub(crate) fn lead_to(&self, targets: Vec<SocketAddr>) {
        *self.state.words.lock().unwrap() = None;
        *self.state.targets.lock().unwrap() = targets;
    }

    /// From now on the ports lead nowhere, all connections end, and whoever makes one is told `words` and no more.
    pub(crate) fn lead_to_words(&self, words: &'static [u8]) {
        self.lead_nowhere();
        *self.state.words.lock().unwrap() = Some(words);
    }

    /// From now on the ports lead nowhere, and all connections end.
    pub(crate) fn lead_nowhere(&self) {
        self.lead_to(Vec::new());
        for link in self.state.links.lock().unwrap().drain(..) {
            link.upgrade().iter().for_each(|link| link.cut());
        }
    }

    /// From now on no answer to a request of this kind comes back by the port with this index, nor what is
    /// behind it on its connection.
    pub(crate) fn hold(&self, port: usize, kind: Kind) {
        self.state.held.lock().unwrap().insert((port, kind));
    }

    /// They come back again, those that were held among them.
    pub(crate) fn release(&self, port: usize, kind: Kind) {
        self.state.held.lock().unwrap().remove(&(port, kind));
    }

    /// From now on what is asked of this partition's segments and chains is not sent on, nor answered; nor what all cores of
    /// a server have to answer.
    pub(crate) fn silence(&self, partition: u32) {
        let mut logs = self.state.logs.lock().unwrap();
        logs.insert(PartitionId::new(partition), None);
    }

    /// From now on that is refused with this, as by a server which tells that the log is not open.
    pub(crate) fn close(&self, partition: u32, why: ErrorCode) {
        let mut logs = self.state.logs.lock().unwrap();
        logs.insert(PartitionId::new(partition), Some(why));
    }

    /// From now on it is as the server says.
    pub(crate) fn open(&self, partition: u32) {
        let mut logs = self.state.logs.lock().unwrap();
        logs.remove(&PartitionId::new(partition));
    }

    /// How many requests of this kind were sent on so far.
    pub(crate) fn asked(&self, kind: Kind) -> u64 {
        let asked = self.state.asked.lock().unwrap();
        asked.get(&kind.number()).copied().unwrap_or_default()
    }

    /// The connections of the port with this index end.
    pub(crate) fn cut(&self, port: usize) {
        let links = self.state.links.lock().unwrap();
        let links = links.iter().filter_map(Weak::upgrade);
        links
            .filter(|link| link.port == port)
            .for_each(|link| link.cut());
    }

    pub(crate) fn set(&self, odds: Odds) {
        *self.state.odds.lock().unwrap() = odds;
    }

    /// What went wrong so far.
    pub(crate) fn counts(&self) -> Counts {
        self.assert_no_faults();
        *self.state.counts.lock().unwrap()
    }

    fn assert_no_faults(&self) {
        let faults = self.state.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_no_faults();
        }
    }
}

/// Sockets on ports in a row, below those that the system gives out by itself, and behind those of servers, which may be
/// down for a while.
fn row(ports: u16, random: &mut fastrand::Rng) -> Vec<TcpListener> {
    for _ in 0..100 {
        let first = random.u16(20_000..30_000);
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if let Ok(listeners) = (first..first + ports).map(bind).collect() {
            return listeners;
        }
    }
    panic!("no {ports} free ports in a row");
}

impl State {
    /// If what has these odds happens now; then it is counted.
    fn strikes(
        &self,
        odds: impl Fn(&Odds) -> u32,
        count: impl Fn(&mut Counts) -> &mut u64,
    ) -> bool {
        let odds = odds(&self.odds.lock().unwrap());
        let strikes = odds > 0 && self.random.lock().unwrap().u32(..odds) == 0;
        if strikes {
            *count(&mut self.counts.lock().unwrap()) += 1;
        }
        strikes
    }

    fn any(&self, below: usize) -> usize {
        self.random.lock().unwrap().usize(..below.max(1))
    }
}

impl Link {
    fn open(state: &Arc<State>, client: TcpStream, index: usize) -> io::Result<()> {
        if let Some(words) = *state.words.lock().unwrap() {
            thread::spawn(move || tell(client, words));
            return Ok(());
        }
        let target = state.targets.lock().unwrap().get(index).copied();
        let target = target.ok_or(io::ErrorKind::NotConnected)?;
        let server = TcpStream::connect(target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let link = Arc::new(Self {
            state: Arc::clone(state),
            port: index,
            client,
            server,
            lanes: Mutex::default(),
        });
        let mut links = state.links.lock().unwrap();
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        // The port may have been led elsewhere since, and its connections been cut.
        if state.targets.lock().unwrap().get(index) != Some(&target) {
            link.cut();
            return Err(io::ErrorKind::NotConnected.into());
        }
        drop(links);
        for is_request in [true, false] {
            let link = Arc::clone(&link);
            thread::spawn(move || {
                // Whatever ends one direction ends both.
                let _ = link.carry(is_request);
                link.cut();
            });
        }
        Ok(())
    }

    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// Carries frames one way until either side closes, or the connection is cut.
    fn carry(&self, is_request: bool) -> io::Result<()> {
        let (mut from, mut to, decoder) = if is_request {
            let decoder = Decoder::requests(limits::FRAME_BYTES_MAX);
            (&self.client, &self.server, decoder)
        } else {
            let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
            (&self.server, &self.client, decoder)
        };
        let mut received = Vec::new();
        let mut chunk = [0; 64 << 10];
        loop {
            let count = from.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            received.extend_from_slice(&chunk[..count]);
            let mut done = 0;
            while let Peek::Frame(frame) =
                decoder.peek(&received[done..]).map_err(io::Error::other)?
            {
                let bytes = &received[done..done + frame.header.total_bytes()];
                if self
                    .state
                    .strikes(|odds| odds.stall, |counts| &mut counts.stalled)
                {
                    self.stall();
                }
                if self
                    .state
                    .strikes(|odds| odds.cut, |counts| &mut counts.cut)
                {
                    let kept = self.state.any(bytes.len());
                    let _lanes = self.lanes.lock().unwrap();
                    to.write_all(&bytes[..kept])?;
                    return Ok(());
                }
                if self
                    .state
                    .strikes(|odds| odds.corrupt, |counts| &mut counts.corrupt)
                {
                    let bent = self.bend(bytes);
                    let _lanes = self.lanes.lock().unwrap();
                    to.write_all(&bent)?;
                } else if is_request {
                    self.request(&frame, bytes)?;
                } else {
                    self.wait_while_held(&frame);
                    self.answer(&frame, bytes)?;
                }
                done += bytes.len();
            }
            received.drain(..done);
        }
    }

    /// Waits for up to as long as a connection may stand still, or until it is cut.
    fn stall(&self) {
        let most = self.state.odds.lock().unwrap().stall_ms;
        let most = Duration::from_millis(self.state.any(most) as u64);
        let over = Instant::now() + most;
        while Instant::now() < over && self.client.peer_addr().is_ok() {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits with an answer for as long as its port holds such.
    fn wait_while_held(&self, frame: &Frame<'_>) {
        let is_held =
            |(port, kind): &(usize, Kind)| *port == self.port && kind.number() == frame.header.kind;
        while self.state.held.lock().unwrap().iter().any(is_held) {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// The frame with one bit turned.
    fn bend(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bent = bytes.to_vec();
        let at = LENGTH_BYTES + self.state.any(bytes.len() - LENGTH_BYTES);
        bent[at] ^= 1 << self.state.any(8);
        bent
    }

    /// Sends a request on, or answers it here.
    fn request(&self, frame: &Frame<'_>, bytes: &[u8]) -> io::Result<()> {
        let (mut server, correlation) = (&self.server, frame.header.correlation);
        *self
            .state
            .asked
            .lock()
            .unwrap()
            .entry(frame.header.kind)
            .or_default() += 1;
        let decoded = request::Request::decode(frame).map_err(io::Error::other)?;
        let produce = match decoded {
            request::Request::Produce(produce) => produce,
            request::Request::Segments(asked) if self.is_told_here(frame, asked.partition)? => {
                return Ok(());
            }
            request::Request::ChainAt(asked) if self.is_told_here(frame, asked.partition)? => {
                return Ok(());
            }
            request::Request::DescribeTopic(_) if self.is_any_silent() => return Ok(()),
            _ => return server.write_all(bytes),
        };
        let mut lanes = self.lanes.lock().unwrap();
        let lane = lanes.entry(produce.partition.get()).or_default();
        let error = if lane.aborted_run == Some(produce.run) {
            self.state.counts.lock().unwrap().aborted += 1;
            ErrorBody::new(ErrorCode::Aborted, "behind what was not applied").with_detail(Detail {
                run: Some(produce.run),
                cause: Some(ErrorCode::Busy.number()),
                ..Detail::default()
            })
        } else if self
            .state
            .strikes(|odds| odds.busy, |counts| &mut counts.busy)
        {
            lane.aborted_run = Some(produce.run);
            ErrorBody::new(ErrorCode::Busy, "by chance")
        } else {
            lane.open.push_back(Open::There(correlation.get()));
            drop(lanes);
            return server.write_all(bytes);
        };
        lane.open
            .push_back(Open::Here(refusal(Kind::Produce, correlation, &error)));
        self.answer_what_is_due(lane)
    }

    /// If what is asked of a partition's log is not sent on; what there is to say to it is said.
    fn is_told_here(&self, frame: &Frame<'_>, partition: PartitionId) -> io::Result<bool> {
        let said = self.state.logs.lock().unwrap().get(&partition).copied();
        if let Some(Some(why)) = said {
            let kind = Kind::from_number(frame.header.kind).unwrap();
            let error = ErrorBody::new(why, "as if it were so");
            let mut client = &self.client;
            let _lanes = self.lanes.lock().unwrap();
            client.write_all(&refusal(kind, frame.header.correlation, &error))?;
        }
        Ok(said.is_some())
    }

    fn is_any_silent(&self) -> bool {
        let logs = self.state.logs.lock().unwrap();
        logs.values().any(Option::is_none)
    }

    /// What a server tells of a topic, in which the logs are closed that refuse.
    fn closed(&self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        let logs = self.state.logs.lock().unwrap();
        if logs.is_empty() {
            return None;
        }
        let told = answer::decode::<describe_topic::Request>(frame).ok()?;
        let mut told = told.ok()?;
        for partition in &mut told.partitions {
            let why = logs.get(&partition.id).copied().flatten();
            partition.closed |= why.is_some();
            partition.state = match why {
                Some(ErrorCode::StorageFull) => describe_topic::State::Full,
                Some(_) => describe_topic::State::Opening,
                None => partition.state,
            };
        }
        let (mut bytes, correlation) = (Vec::new(), frame.header.correlation);
        answer::encode_ok::<describe_topic::Request>(correlation, &told, 0, &mut bytes).unwrap();
        Some(bytes)
    }

    /// Sends an answer on, and those of ours that waited for it.
    fn answer(&self, frame: &Frame<'_>, bytes: &[u8]) -> io::Result<()> {
        let correlation = frame.header.correlation.get();
        let mut client = &self.client;
        let closed = self.closed(frame);
        let mut lanes = self.lanes.lock().unwrap();
        client.write_all(closed.as_deref().unwrap_or(bytes))?;
        let is_its = |lane: &&mut Lane| match lane.open.front() {
            Some(Open::There(first)) => *first == correlation,
            _ => false,
        };
        let is_produce = frame.header.kind == Kind::Produce.number();
        match lanes.values_mut().find(is_its) {
            Some(lane) if is_produce => {
                lane.open.pop_front();
                self.answer_what_is_due(lane)
            }
            _ if is_produce => {
                let fault = "an answer to a Produce came out of the order of its partition";
                self.state.faults.lock().unwrap().push(fault);
                Err(io::Error::other(fault))
            }
            _ => Ok(()),
        }
    }

    fn answer_what_is_due(&self, lane: &mut Lane) -> io::Result<()> {
        let mut client = &self.client;
        while let Some(Open::Here(bytes)) = lane.open.front() {
            client.write_all(bytes)?;
            lane.open.pop_front();
        }
        Ok(())
    }
}

/// Says something, and waits for the other side to close: who closes with something unread resets the connection.
fn tell(mut client: TcpStream, words: &[u8]) {
    let told = client.write_all(words);
    let _ = told.and_then(|()| client.read_to_end(&mut Vec::new()));
}

fn refusal(kind: Kind, correlation: CorrelationId, error: &ErrorBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    answer::encode_err(kind.number(), correlation, error, &mut bytes).unwrap();
    bytes
}

/// A frame begins with its length: bent, it would only be waited for.
const LENGTH_BYTES: usize = 4;
