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
    // A write may pass the cache of one that can do that, and a device on others counts none.
    let can_count = found.is_some_and(|device| {
        device.write_cache == WriteCache::Back && device.has_fua == Some(false)
    });
    for (name, bytes, promises) in KINDS {
        let topic = wire.topic(name, 1, 64 << 20);
        let before = flushes();
        for _ in 0..promises {
            let record = batch(Codec::None, [vec![b'x'; bytes]]);
            wire.call(&topic.produce(0), &record).unwrap().unwrap();
        }
        match (before, flushes()) {
            (Some(before), Some(after)) if can_count => {
                let flushes = after - before;
                println!("{promises} {name} promises, {flushes} flushes");
                assert!(promises <= flushes, "{name}: {flushes} flushes");
            }
            _ => {
                assert!(own.is_none(), "its own device counts its flushes");
                println!(
                    "the device has no volatile cache, passes it, or does not count its flushes"
                );
            }
        }
    }
}

/// Small groups are written durably, large ones are written and then synced. Of each enough that flushes of the file
/// system's own, or of others, do not hide one promise in ten without its own.
const KINDS: [(&str, usize, u64); 2] = [("small", 12, 500), ("large", 200_000, 100)];
const DISK_BYTES: u64 = 256 << 20;
