//! A promise is more than a page cache: what SIGKILL cannot show, the device's own count of
//! flushes does.

use corelog_node::sys::probe::{WriteCache, device};
use corelog_record::batch::Codec;

use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::wire::{Wire, batch};

/// With one record in flight, the device flushes its cache at least once for every promise. On a
/// device without a volatile cache, or that writes past it, or below a file system that does not tell, there is nothing to
/// count: there the disks of the unit tests, which lose what was not synced, stand in.
#[test]
fn every_promise_costs_the_device_a_flush() {
    let folder = Folder::new();
    let found = device(folder.path()).unwrap();
    let flushes = || {
        let device = device(folder.path()).unwrap();
        device.and_then(|device| device.flushes)
    };
    let server = Server::start(&folder.path().join("data"));
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("promises", 1, 1 << 20);
    let before = flushes();
    for number in 0..PROMISES {
        let record = batch(Codec::None, [format!("promise {number}")]);
        wire.call(&topic.produce(0), &record).unwrap().unwrap();
    }
    let after = flushes();
    // A write may pass the cache of one that can do that, and a device on others counts none.
    let can_count = found.is_some_and(|device| {
        device.write_cache == WriteCache::Back && device.has_fua == Some(false)
    });
    match (before, after) {
        (Some(before), Some(after)) if can_count && before > 0 => {
            println!("{PROMISES} promises, {} flushes", after - before);
            assert!(after - before >= PROMISES, "{} flushes", after - before);
        }
        _ => println!("the device has no volatile cache, passes it, or does not count its flushes"),
    }
}

/// Enough that flushes of others on the device do not hide one promise in ten without its own.
const PROMISES: u64 = 500;
