//! Two logs of which nothing is left that both have: neither can become a copy of the other. Or one is more than the other.

use std::path::Path;
use std::process::Command;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::{delete_topic, rejoin};

use super::copies::{assert_equal, bytes, forget, level_pair, segments, status, wait_until_level};
use super::node::Node;
use super::promote::{cut_off, promote};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::wire::Target;

/// Has a node let go of all that it has.
fn let_go(node: &Node, topic: &Target) {
    let end = node.fill(topic, 0, 60);
    node.truncate(topic, end);
}

#[test]
fn an_old_owner_does_not_rejoin_once_either_let_go_of_where_they_part() {
    for is_old_one in [true, false] {
        let folder = Folder::new();
        let (a, b, topic, common) = cut_off(&folder, 20);
        // Neither tells the other one that it was replaced: it gives readers nothing from then on.
        forget(&a, &topic, &b);
        assert_eq!(promote(&b, &topic).end, common);
        let end = a.fill(&topic, 0, 10);
        b.fill(&topic, 0, 5);
        let_go(if is_old_one { &a } else { &b }, &topic);

        let own = segments(&a, &topic, 0);
        let oldest = own.log_start.max(segments(&b, &topic, 0).log_start);
        assert!(common < oldest, "{common}, {oldest}");
        let before = (bytes(&a, &topic, 0, own.high_watermark), a.quarantine());
        let refused = a.ask(&rejoin::Request {
            topic: topic.name.clone(),
            id: topic.id,
            partition: None,
            to: b.address(),
        });
        let refused = refused.unwrap_err();
        assert!(refused.is(ErrorCode::Diverged), "{refused:?}");
        assert_eq!(refused.detail.log_start, Some(oldest));
        let parting = refused.detail.offset;
        assert!(parting <= Some(common), "{refused:?}");
        // Who calls the command is told what is left to do; it was to call it again.
        let address = b.address();
        let args = ["rejoin", "t", "--to", &address];
        let said = a.corelog().run(args).failed(3);
        let told = format!("one of them begins at {oldest} by now");
        assert!(said.contains(&told), "{said}");
        assert!(
            said.contains("delete the topic here, and clone it"),
            "{said}"
        );
        assert!(!said.contains("`corelog rejoin`"), "{said}");
        assert_ne!(status(&a, &topic, 0).role, Role::Follower);
        assert!(end <= segments(&a, &topic, 0).high_watermark);
        let after = (bytes(&a, &topic, 0, own.high_watermark), a.quarantine());
        assert!(after == before, "nothing is cut");

        // And that does it.
        a.ask(&delete_topic::Request {
            name: topic.name.clone(),
            id: topic.id,
        })
        .unwrap();
        a.follow(&topic, &[&b]);
        wait_until_level(&b, &a, &topic, 0);
        assert_equal(&b, &a, &topic, 0);
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// It waited without a word of it, as for a copy that lags, while what came to the owner parted the two.
#[test]
fn a_copy_that_has_more_than_its_owner_tells_so() {
    let folder = Folder::new();
    let (mut a, mut b, topic) = level_pair(&folder, 1);
    let (dir, older) = (a.topic_dir(&topic), folder.path().join("older"));
    a.stop();
    copy(&dir, &older);
    a.up();
    a.fill(&topic, 0, 1);
    wait_until_level(&a, &b, &topic, 0);
    a.stop();
    std::fs::remove_dir_all(&dir).unwrap();
    copy(&older, &dir);
    a.up();
    until("it tells so", || {
        let error = status(&b, &topic, 0).error;
        error.is_some_and(|error| error.message.contains("the owner has less"))
    });
    assert!(b.log_at_stop().contains("promote this copy"));
}
