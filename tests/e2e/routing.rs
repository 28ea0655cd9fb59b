//! Which core a request reaches, and that it does not matter for the answer.

use std::net::{Ipv4Addr, SocketAddr};

use corelog_client::record::{PartitionId, Record, TopicName};
use corelog_client::{Client, ClientConfig, ConsumerConfig, End, NewTopic, ProducerConfig, Start};
use corelog_node::{Node, NodeConfig};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::list_offsets::{self, At};
use corelog_protocol::message::produce;
use corelog_record::Offset;
use corelog_record::batch::{Codec, View};

use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::server::{Server, Start as Serve};
use crate::support::wire::{Wire, batch};

/// A client that asks where partitions live talks to the cores that own them.
#[test]
fn an_aware_client_causes_no_hop_between_cores() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::connect(ClientConfig::new([server.address()]))
            .await
            .unwrap();
        let topic = TopicName::new("aware").unwrap();
        let new = NewTopic::new(topic.clone(), PARTITIONS);
        client.admin().create_topic(new).await.unwrap();
        let before = metric(server.ready.admin, "corelog_hops_total");

        let producer = client.producer(ProducerConfig::default());
        let mut consumer = client.consumer(ConsumerConfig::default());
        let mut deliveries = Vec::new();
        for number in 0..RECORDS {
            let partition = PartitionId::new(number % PARTITIONS);
            let record = Record {
                value: Some(number.to_string().into_bytes()),
                ..Record::default()
            };
            deliveries.push(
                producer
                    .send(&topic, Some(partition), record)
                    .await
                    .unwrap(),
            );
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        for partition in (0..PARTITIONS).map(PartitionId::new) {
            consumer.assign(&topic, partition, Start::Earliest, End::HighWatermark);
        }
        let mut found = 0;
        while let Some(received) = consumer.next().await {
            received.unwrap();
            found += 1;
        }
        assert_eq!(found, RECORDS);
        let hops = metric(server.ready.admin, "corelog_hops_total") - before;
        assert_eq!(
            hops, 0.0,
            "requests went to a core that does not own the partition"
        );
    });
}

/// A client that knows one port is served all the same: the node finds the way.
#[test]
fn an_unaware_client_gets_right_answers_through_the_router() {
    let folder = Folder::new();
    let server = two_cores(&folder);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("unaware", PARTITIONS, 1 << 20);
    let owners = wire.owners(&topic);
    assert!(
        owners.contains(&0) && owners.contains(&1),
        "on both cores: {owners:?}"
    );

    let before = metric(server.ready.admin, "corelog_hops_total");
    let doors = [
        server.ready.listen,
        server.ready.cores[0],
        server.ready.cores[1],
    ];
    for (round, door) in (0_u64..).zip(doors) {
        let mut wire = Wire::open(door).unwrap();
        for partition in 0..PARTITIONS {
            wire.send(&topic.produce(partition), &record(partition, round))
                .unwrap();
        }
        for _ in 0..PARTITIONS {
            let answer = wire.receive().unwrap().read::<produce::Request>();
            let (answer, _) = answer.unwrap();
            assert_eq!((answer.base.get(), answer.end.get()), (round, round + 1));
        }
        for partition in 0..PARTITIONS {
            let request = topic.fetch(partition, Offset::ZERO.plus(round));
            let (_, body) = wire.call(&request, &[]).unwrap().unwrap();
            let found = View::verify(&body).unwrap().records().unwrap().next();
            let value = found.unwrap().unwrap().value.unwrap();
            assert_eq!(value, text(partition, round).as_bytes());
        }
    }
    let hops = metric(server.ready.admin, "corelog_hops_total") - before;
    assert!(
        hops > 0.0,
        "each door leads to one core, and both own partitions"
    );
}

/// Peer and request, as the client knows them, name a frame on its whole way.
#[test]
fn the_log_tells_the_way_of_a_frame_through_router_and_partition() {
    let folder = Folder::new();
    let start = Serve::on(&folder.path().join("data")).cores(2);
    let server = start
        .arg("--log")
        .arg("info,corelog_node::frame_id=trace")
        .start();
    let mut wire = Wire::open(server.ready.cores[0]).unwrap();
    let topic = wire.topic("traced", PARTITIONS, 1 << 20);
    let owners = wire.owners(&topic);
    let away = (0..PARTITIONS)
        .find(|partition| owners[*partition as usize] == 1)
        .unwrap();
    let produced = wire.send(&topic.produce(away), &record(away, 0)).unwrap();
    let answer = wire.receive().unwrap().read::<produce::Request>();
    answer.unwrap();
    let fetched = wire.send(&topic.fetch(away, Offset::ZERO), &[]).unwrap();
    wire.receive().unwrap();
    let peer = wire.stream().local_addr().unwrap();
    drop(wire);
    let log = server.stop().log;
    for (request, does) in [(produced, "is appended to"), (fetched, "reads")] {
        let id = format!("peer={peer} request={request} ");
        let way: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
        let steps = [
            ("is taken", 0),
            ("goes to core 1", 0),
            ("has come from core 0", 1),
            (does, 1),
            ("is answered", 0),
        ];
        assert_eq!(way.len(), steps.len(), "{way:#?}");
        for (line, (step, core)) in way.iter().zip(steps) {
            assert!(line.contains(step), "{step}: {line}");
            assert!(line.ends_with(&format!("core={core}")), "{line}");
        }
    }
}

/// With room for one request between the cores, whoever finds the place taken is told so at once.
#[test]
fn a_full_lane_is_answered_busy_and_serves_again_afterwards() {
    let folder = Folder::new();
    let mut config = NodeConfig::new(folder.path().join("data"));
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.cores = 2;
    config.limits.lane_requests_max = 1;
    let node = Node::start(config).unwrap();
    let doors = node.addresses().cores.clone();
    let mut wire = Wire::open(doors[0]).unwrap();
    let topic = wire.topic("narrow", 2, 1 << 20);
    let owners = wire.owners(&topic);
    let away = owners.iter().position(|owner| *owner == 1).unwrap();
    let latest = topic.list_offsets(u32::try_from(away).unwrap(), At::Latest);

    let (mut busy, mut served) = (0, 0);
    // As many as a connection may have in flight, several times: each is answered.
    for _ in 0..10 {
        for _ in 0..64 {
            wire.send(&latest, &[]).unwrap();
        }
        for _ in 0..64 {
            match wire.receive().unwrap().read::<list_offsets::Request>() {
                Ok((answer, _)) => {
                    assert_eq!(answer.offset, Offset::ZERO);
                    served += 1;
                }
                Err(error) => {
                    assert_eq!(error.known_code(), Some(ErrorCode::Busy), "{error:?}");
                    busy += 1;
                }
            }
        }
    }
    println!("{busy} times busy, {served} times served");
    assert!(busy > 0, "one place was never found taken");
    assert!(served > 0, "nobody was served");
    wire.call(&latest, &[]).unwrap().unwrap();
    drop(wire);
    node.stop().unwrap();
}

fn record(partition: u32, round: u64) -> Vec<u8> {
    batch(Codec::None, [text(partition, round)])
}

fn text(partition: u32, round: u64) -> String {
    format!("round {round} of partition {partition}")
}

fn two_cores(folder: &Folder) -> Server {
    Serve::on(&folder.path().join("data")).cores(2).start()
}

const PARTITIONS: u32 = 8;
const RECORDS: u32 = 4_000;
