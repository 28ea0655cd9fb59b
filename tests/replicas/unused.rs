//! Partitions without a record: which log they are their files tell, and without files nothing.

use super::node::Node;
use crate::support::folder::Folder;

/// The copy of the restored one was of another history for as long as no record came: it was said to be no copy of it, and
/// the partition could not be handed over, nor did a rejoin help, while the others of its topic could.
#[test]
fn a_restored_partition_that_was_never_used_is_handed_over_with_the_others() {
    let folder = Folder::new();
    let [a, b] = ["a", "b"].map(|name| Node::start(&folder, name));
    let topic = a.topic("used", 2);
    a.fill(&topic, 1, 3);
    let (here, there) = (a.corelog(), b.corelog());
    let [a_at, b_at] = [&a, &b].map(Node::address);
    there
        .run(["clone", "used", "--from", &a_at, "--follow"])
        .done();
    // With its epoch the unused one gets files, and with them it comes into the snapshot.
    here.run(["handover", "used", "--to", &b_at]).done();
    there
        .run(["snapshot", "create", "s", "--topic", "used"])
        .done();
    there.run(["restore", "s", "--topic", "back"]).done();

    here.run(["clone", "back", "--from", &b_at, "--follow"])
        .done();
    // Also before it has begun.
    here.run(["compare", "back", "--with", &b_at]).done();
    there.run(["handover", "back", "--to", &a_at]).done();
    here.run(["compare", "back", "--with", &b_at]).done();
    here.run(["handover", "back", "--to", &b_at]).done();
    there
        .feed(["produce", "back", "--partition", "0"], b"first\n")
        .done();
    here.run(["compare", "back", "--with", &b_at]).done();
}
