//! Two logs of which nothing is left that both have: neither can become a copy of the other. Or one is more than the other.

use std::path::Path;
use std::process::Command;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::replica_status::Role;
use corelog_protocol::message::{delete_topic, rejoin};

use super::copies::{
    assert_equal, bytes, forget, level_pair, remembered, segments, status, wait_until_level,
};
use super::handover::handing;
use super::node::Node;
use super::promote::{cut_off, promote, rejoin, rejoining};
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
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

/// It waited without a word of it, as for a copy that lags, or stopped, and was to put aside what only it had, while what came to
/// the owner parted the two. The owner said nothing, and handed over to it took no writes.
#[test]
fn a_copy_that_has_more_than_its_owner_tells_so_and_its_owner_does() {
    for is_clean in [true, false] {
        let folder = Folder::new();
        let (mut a, mut b, topic) = level_pair(&folder, 1);
        until("the owner remembers its follower", || {
            remembered(&a, &topic) == 1
        });
        let (dir, older) = (a.topic_dir(&topic), folder.path().join("older"));
        a.stop();
        copy(&dir, &older);
        if !is_clean {
            std::fs::remove_file(older.join("0/mark")).unwrap();
        }
        a.up();
        a.fill(&topic, 0, 1);
        wait_until_level(&a, &b, &topic, 0);
        a.stop();
        std::fs::remove_dir_all(&dir).unwrap();
        copy(&older, &dir);
        a.up();
        let words = match is_clean {
            true => "the owner has less",
            false => "the two logs part",
        };
        until("it tells so", || {
            let error = status(&b, &topic, 0).error;
            error.is_some_and(|error| error.message.contains(words))
        });
        let admin = a.server().ready.admin;
        until("its owner does, where alerts are made of", || {
            metric(admin, "corelog_surpassed_partitions{core=\"0\"") == 1.0
        });
        // What was acknowledged would be put aside.
        let refused = b.ask(&rejoining(&topic, &a)).unwrap_err();
        assert!(
            refused.message.contains("`corelog promote` this one"),
            "{refused:?}"
        );
        assert_eq!(status(&b, &topic, 0).role, Role::Follower);
        let refused = a.ask(&handing(&topic)).unwrap_err();
        let code = match is_clean {
            true => ErrorCode::NotEqual,
            // One that has stopped never follows on by itself.
            false => ErrorCode::NotFollower,
        };
        assert!(refused.is(code), "{refused:?}");
        assert_eq!(status(&a, &topic, 0).role, Role::Owner);
        assert_eq!(a.log_at_stop().matches("promote that one").count(), 1);
        assert_eq!(b.log_at_stop().contains("promote this copy"), is_clean);
    }
}

/// It was told that the two part at offset 0, and to see `rejoin`, which it was.
#[test]
fn an_owner_that_went_on_from_an_older_copy_of_its_files_rejoins_the_copy_that_has_what_it_lost() {
    for (batches, is_killed) in [(2, false), (9, true)] {
        let folder = Folder::new();
        let (mut a, b, topic) = level_pair(&folder, 5);
        let common = segments(&a, &topic, 0).high_watermark;
        let (dir, older) = (a.topic_dir(&topic), folder.path().join("older"));
        a.stop();
        copy(&dir, &older);
        a.up();
        a.fill(&topic, 0, 5);
        wait_until_level(&a, &b, &topic, 0);
        a.stop();
        std::fs::remove_dir_all(&dir).unwrap();
        copy(&older, &dir);
        a.up();
        let end = a.fill(&topic, 0, batches);
        // The other way round what was acknowledged would be put aside.
        until("the copy is not asked to rejoin it", || {
            let refused = b.ask(&rejoining(&topic, &a)).unwrap_err();
            refused.message.contains("`corelog promote` this one")
        });
        if is_killed {
            a.kill();
        }
        promote(&b, &topic);
        b.fill(&topic, 0, 1);
        if is_killed {
            // It begins an epoch that the copy has not heard of.
            a.up();
        }
        // Nor now, where the two may own it both.
        let refused = b.ask(&rejoining(&topic, &a)).unwrap_err();
        let codes = [ErrorCode::Diverged, ErrorCode::NotOwner];
        assert!(codes.iter().any(|code| refused.is(*code)), "{refused:?}");
        let rejoined = rejoin(&a, &topic, &b);
        let told = (rejoined.common, rejoined.records);
        assert_eq!(told, (common, end.since(common)));
        let file = rejoined.file.unwrap();
        assert!(a.server().ready.data.join(file).exists());
        wait_until_level(&b, &a, &topic, 0);
        assert_equal(&b, &a, &topic, 0);
    }
}
