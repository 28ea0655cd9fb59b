//! What a core is told by the thread that started it, and its life between start and end.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_record::{CoreId, TopicName};
use flume::{Receiver, Sender};

use super::Addresses;
use crate::catalog::{self, Admin, CatalogError, LastSnapshots, Topic};
use crate::conn::{self, Connections, PerAddress};
use crate::core::{Core, Disk, Opened, Shared};
use crate::follow;
use crate::metrics::{
    ConnectionSnapshot, Counters, PartitionSnapshot, PulseSnapshot, ReplicaSnapshot, SlowAcks,
    TopicSnapshot,
};
use crate::router::{self, LaneEnds};
use crate::rt::{self, Listener, Port};

/// What a core is told.
#[derive(Debug)]
pub(super) enum Control {
    /// To core 0, first: read the catalog.
    Load {
        reply: Sender<Result<Catalog, CatalogError>>,
    },
    /// Open your partitions; tell how many, how many could not be opened, and how many take longer.
    Recover {
        topics: Vec<Arc<Topic>>,
        unreadable: BTreeSet<TopicName>,
        snapshots: Arc<LastSnapshots>,
        reply: Sender<Opened>,
    },
    /// Take connections.
    Listen {
        shared: Port,
        own: Port,
        addresses: Addresses,
        reply: Sender<io::Result<()>>,
    },
    /// Tell how your loop goes.
    Pulse { reply: Sender<PulseSnapshot> },
    /// Tell your partitions' states.
    Partitions {
        reply: Sender<Vec<PartitionSnapshot>>,
    },
    /// Tell your slowest acknowledgements.
    Slowest { reply: Sender<SlowAcks> },
    /// Tell which of them are copies, or are copied.
    Replicas { reply: Sender<Vec<ReplicaSnapshot>> },
    /// Tell who is connected.
    Connections {
        reply: Sender<Vec<ConnectionSnapshot>>,
    },
    /// Tell the topics.
    Topics { reply: Sender<Vec<TopicSnapshot>> },
    /// Take no more requests; answer what is in flight, within this time.
    Drain {
        timeout: Duration,
        reply: Sender<()>,
    },
    /// Close every partition; tell how many are not clean. The core ends.
    Close { reply: Sender<usize> },
}

/// What the data directory holds beside logs.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) topics: Vec<Topic>,
    /// Topics that cannot be read.
    pub(super) unreadable: BTreeSet<TopicName>,
    pub(super) snapshots: LastSnapshots,
}

/// What a core is made of.
pub(super) struct Parts {
    pub(super) id: CoreId,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) per_address: PerAddress,
    pub(super) data_dir: PathBuf,
    pub(super) lanes: LaneEnds,
    pub(super) seed: u64,
    pub(super) control: Receiver<Control>,
}

/// The life of a core: does what it is told until it is told to close, or nobody is left to tell.
pub(super) async fn live(parts: Parts) {
    let Parts {
        id,
        shared,
        counters,
        per_address,
        data_dir,
        lanes,
        seed,
        control,
    } = parts;
    let (lanes, inboxes) = lanes.open();
    let root = Disk::new(data_dir);
    let core = Core::new(id, shared, counters, root, lanes, seed);
    core.start_keepers();
    router::start_inboxes(&core, inboxes);
    let mut listeners = Vec::new();
    let connections = Rc::new(Connections::new(per_address, core.receive_budget.clone()));
    while let Ok(told) = control.recv_async().await {
        // Whoever asked may have given up waiting: no answer is owed then.
        match told {
            Control::Load { reply } => {
                let _ = reply.send(load(&core).await);
            }
            Control::Recover {
                topics,
                unreadable,
                snapshots,
                reply,
            } => {
                core.routes.borrow_mut().set_unreadable(unreadable);
                core.keep_snapshots(snapshots).await;
                let _ = reply.send(recover(&core, topics).await);
            }
            Control::Listen {
                shared,
                own,
                addresses,
                reply,
            } => {
                let _ = core.shared.addresses.set(addresses);
                let _ = reply.send(listen(&core, &connections, [shared, own], &mut listeners));
                let topics: Vec<_> = core.routes.borrow().topics().cloned().collect();
                for topic in &topics {
                    core.follow(topic.id).await;
                }
                rt::spawn_background(Rc::clone(&core).keep_asking_followers()).detach();
                rt::spawn_background(Rc::clone(&core).keep_noticing_pauses()).detach();
                if core.admin.get().is_some() {
                    rt::spawn_background(Rc::clone(&core).keep_as_sources()).detach();
                }
            }
            Control::Pulse { reply } => drop(reply.send(core.pulse())),
            Control::Partitions { reply } => drop(reply.send(core.snapshot().await)),
            Control::Replicas { reply } => drop(reply.send(core.replica_snapshots().await)),
            Control::Connections { reply } => {
                drop(reply.send(connections.snapshot(core.id).await));
            }
            Control::Topics { reply } => drop(reply.send(core.topic_snapshots())),
            Control::Slowest { reply } => drop(reply.send(core.slowest())),
            Control::Drain { timeout, reply } => {
                drain(&core, &listeners, timeout).await;
                let _ = reply.send(());
            }
            Control::Close { reply } => {
                let _ = reply.send(close(&core).await);
                return;
            }
        }
        // Who asks may ask much at once.
        rt::yield_if_needed().await;
    }
}

async fn load(core: &Core) -> Result<Catalog, CatalogError> {
    catalog::sweep_restores(&core.root).await;
    let snapshots = catalog::load_snapshots(&core.root).await;
    let (topics, unreadable) = catalog::load(&core.root, core.shared.core_count).await?;
    follow::tell_unfinished(&topics);
    Ok(Catalog {
        topics,
        unreadable,
        snapshots,
    })
}

async fn recover(core: &Rc<Core>, topics: Vec<Arc<Topic>>) -> Opened {
    for topic in &topics {
        core.routes.borrow_mut().put(Arc::clone(topic));
    }
    let opened = core.open_all(topics).await;
    if core.id == CoreId::new(0) {
        let admin = Admin::new(Rc::clone(core));
        assert!(core.admin.set(admin).is_ok(), "a core recovers once");
        rt::spawn_background(Rc::clone(core).keep_settled()).detach();
    }
    opened
}

fn listen(
    core: &Rc<Core>,
    connections: &Rc<Connections>,
    ports: [Port; 2],
    listeners: &mut Vec<Rc<Listener>>,
) -> io::Result<()> {
    for port in ports {
        let listener = Rc::new(port.listen()?);
        let (core, connections) = (Rc::clone(core), Rc::clone(connections));
        rt::spawn(conn::serve_listener(
            core,
            connections,
            Rc::clone(&listener),
        ))
        .detach();
        listeners.push(listener);
    }
    Ok(())
}

async fn drain(core: &Rc<Core>, listeners: &[Rc<Listener>], timeout: Duration) {
    listeners.iter().for_each(|listener| listener.stop());
    core.begin_stop();
    if rt::timeout(timeout, core.no_connections()).await.is_none() {
        tracing::warn!(
            core = core.id.get(),
            connections = core.connection_count(),
            "cut connections that did not drain in time"
        );
        core.cut_connections();
        core.no_connections().await;
    }
}

async fn close(core: &Rc<Core>) -> usize {
    let closed = rt::at_once(core.at_once(), core.partition_slots(), |slot| {
        let core = Rc::clone(core);
        async move { core.close_partition(slot).await }
    });
    let closed = closed.await;
    closed.iter().filter(|is_clean| !**is_clean).count()
}

/// Tells a core something and waits for its answer.
pub(super) fn ask<T>(
    control: &Sender<Control>,
    told: Control,
    answer: &Receiver<T>,
) -> Result<T, io::Error> {
    let gone = || io::Error::other("the core has ended");
    control.send(told).map_err(|_gone| gone())?;
    answer.recv().map_err(|_gone| gone())
}
