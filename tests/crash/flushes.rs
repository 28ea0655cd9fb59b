//! A promise is more than a page cache: what SIGKILL cannot show, the device's own count of
//! flushes does.

use corelog_node::sys::probe::{WriteCache, device};
use corelog_record::batch::Codec;

use crate::support::folder::Folder;
use crate::support::mount::Mount;
use crate::support::server::Start;
use crate::support::wire::{Wire, batch};

/// With one record in flight, the device flushes its cache at least once for every promise. It is one that nobody else
/// writes to, where one may be mounted. On another one without a volatile cache, or that writes past it, or below a file
/// system that does not tell, there is nothing to count: there the disks of the unit tests, which lose what was not synced,
/// stand in.
#[test]
fn every_promise_costs_the_device_a_flush() {
    let folder = Folder::new();
    let own = Mount::try_small(&folder, DISK_BYTES).filter(|mount| mount.kind == "ext4");
    let (start, path) = match &own {
        Some(own) => {
            let start = Start::on(&own.inside("data")).through(own.wrapper());
            (start, own.outside("data"))
        }
        None => {
            println!("no device of its own may be mounted: the flushes of others count as well");
            let path = folder.path().join("data");
            (Start::on(&path), path)
        }
    };
    let found = device(&path).unwrap();
    let flushes = || device(&path).unwrap().and_then(|device| device.flushes);
    let server = start.start();
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
        (Some(before), Some(after)) if can_count => {
            println!("{PROMISES} promises, {} flushes", after - before);
            assert!(after - before >= PROMISES, "{} flushes", after - before);
        }
        _ => {
            assert!(own.is_none(), "its own device counts its flushes");
            println!("the device has no volatile cache, passes it, or does not count its flushes");
        }
    }
}

/// Enough that flushes of the file system's own, or of others, do not hide one promise in ten without its own.
const PROMISES: u64 = 500;
const DISK_BYTES: u64 = 64 << 20;
