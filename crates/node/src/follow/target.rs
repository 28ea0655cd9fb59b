//! Whom a partition is given to: a node, and where that is reached.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_record::{CopyId, NodeId};
use corelog_storage::format::replica::{Peer, Replica, Role};

use super::followers::Follower;
use super::line::Line;
use super::ownership::not_owner;
use crate::catalog::is_in_place_of;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, invalid};

/// The name that stands for the copy at an address of which nothing else is known, where several are told apart: no copy
/// has it, as theirs are drawn.
pub(super) fn copy_at(address: &str) -> CopyId {
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        (which, address).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    CopyId::from_bytes((half(0) << 64 | half(1)).to_le_bytes())
}

/// The copies elsewhere of a partition of this node that may come to own it, each with its address: those that follow it, and
/// those that it followed itself before.
pub(super) fn copies_of(owned: &Replica) -> impl Iterator<Item = (CopyId, &String)> {
    let outranked = owned.outranked.iter();
    let outranked = outranked.map(|address| (copy_at(address), address));
    let followers = owned.followers.iter();
    outranked.chain(followers.map(|peer| (peer.copy, &peer.address)))
}

/// Whom a partition is given to: a node, and where it is reached. Another one that is reached there by now is not meant, nor
/// does its word count.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) node: NodeId,
    pub(super) address: String,
}

impl Target {
    /// The node at the other end of a connection.
    pub(super) fn at(line: &Line) -> Self {
        let (node, address) = (line.node(), line.address().to_owned());
        Self { node, address }
    }

    /// As one of whose copy nothing is known: of who is not remembered, the chains alone tell.
    pub(super) fn as_peer(&self) -> Peer {
        Peer {
            node: self.node,
            copy: CopyId::from_bytes([0; 16]),
            address: self.address.clone(),
        }
    }
}

impl Core {
    /// The node that is meant by an address that was just named, where nothing was written down yet.
    ///
    /// # Errors
    /// As [`Line::connect`].
    pub(super) async fn target_named(&self, address: String) -> Result<Target, Failure> {
        let line = self.line_to_named(&address).await?;
        Ok(Target::at(&line))
    }

    /// The node that is meant by the address of whom a partition is given to: the one that is known already, or the one that is
    /// reached there. One that is not there any more may have followed from another address since.
    ///
    /// # Errors
    /// `SourceUnavailable` if none is known, nor reached there.
    pub(super) async fn target_at(
        &self,
        address: String,
        replica: &Replica,
    ) -> Result<Target, Failure> {
        let Some(node) = replica.target else {
            let line = self.line_to(&address).await?;
            return Ok(Target::at(&line));
        };
        let mut to = Target { node, address };
        let mut known = replica.followers.iter();
        let moved = known.find(|peer| peer.node == node && peer.address != to.address);
        if let Some(moved) = moved
            && self.line_to_target(&to).await.is_err()
        {
            to.address = moved.address.clone();
        }
        Ok(to)
    }

    /// To whom a partition is being given, or was until that was taken back; nobody if that is not known.
    ///
    /// # Errors
    /// `SourceUnavailable` if it is known, and not where it is reached.
    pub(super) async fn given_to(&self, replica: &Replica) -> Result<Option<Target>, Failure> {
        let mut known = replica.followers.iter();
        let known = known.find(|peer| Some(peer.node) == replica.target);
        let address = replica.sources.first();
        match (address.or(known.map(|peer| &peer.address)), replica.target) {
            (Some(address), _) => self.target_at(address.clone(), replica).await.map(Some),
            (None, Some(node)) => {
                let message = format!("it was given to node {node}, of which no address is known");
                Err(failure(ErrorCode::SourceUnavailable, message))
            }
            (None, None) => Ok(None),
        }
    }

    /// A connection to whom a partition is given to.
    ///
    /// # Errors
    /// `SourceUnavailable` also if another node is there by now.
    pub(super) async fn line_to_target(&self, to: &Target) -> Result<Rc<Line>, Failure> {
        let line = self.line_to(&to.address).await?;
        line.check_is(to.node)?;
        Ok(line)
    }

    /// Whom a partition is given to: once that has begun, the same node, wherever it is by now.
    pub(super) async fn target_of(
        &self,
        key: PartitionKey,
        replica: &Replica,
        to: Option<String>,
    ) -> Result<String, Failure> {
        let before = replica.sources.first();
        match (replica.role, to) {
            (Role::Owner, to) => to.map_or_else(|| self.only_follower(key, replica), Ok),
            (Role::HandingOver, to) if to.is_none() || to.as_ref() == before => {
                let none = || {
                    let message = "it is being taken back: finish that by aborting it again";
                    invalid("abort", message)
                };
                before.cloned().ok_or_else(none)
            }
            (Role::HandingOver, Some(to)) if self.is_target_at(&to, replica).await => Ok(to),
            (Role::HandingOver, _) => {
                let message = "it is being handed over to another node: finish or abort that";
                Err(invalid("to", message))
            }
            _ => Err(not_owner(replica)),
        }
    }

    /// If whom a partition is being given to is reached at an address.
    async fn is_target_at(&self, address: &str, replica: &Replica) -> bool {
        let line = self.line_to(address).await;
        let is_it = line.is_ok_and(|line| Some(line.node()) == replica.target);
        is_it && !replica.sources.is_empty()
    }

    /// The one that follows a partition. Those that were heard and are not written down yet count as well.
    fn only_follower(&self, key: PartitionKey, replica: &Replica) -> Result<String, Failure> {
        let mut all = replica.followers.clone();
        let heard = self.followers.of(key);
        for peer in heard.into_iter().filter_map(Follower::peer) {
            if !all.iter().any(|known| is_in_place_of(&peer, known)) {
                all.push(peer);
            }
        }
        match all.as_slice() {
            [one] => Ok(one.address.clone()),
            several => {
                let message = format!(
                    "{} nodes follow it: name the one to hand it to",
                    several.len()
                );
                Err(invalid("to", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::{topic, with_core};
    use crate::follow::samples::{heard, peer};

    /// The one that was written down got the partition, within a second of the coming of another one.
    #[test]
    fn a_follower_that_is_not_written_down_yet_is_one_to_choose_from() {
        with_core(|core| async move {
            let (_, key) = topic(1);
            let target = async |replica: &Replica| core.target_of(key, replica, None).await;
            let mut replica = Replica::owner(key.partition);
            assert!(
                target(&replica)
                    .await
                    .unwrap_err()
                    .is(ErrorCode::InvalidRequest)
            );
            core.followers.note(key, heard(&peer(1)));
            assert_eq!(target(&replica).await.unwrap(), peer(1).address);
            replica.followers = vec![peer(1)];
            assert_eq!(target(&replica).await.unwrap(), peer(1).address);
            core.followers.note(key, heard(&peer(2)));
            let refused = target(&replica).await.unwrap_err();
            assert!(refused.message.contains("2 nodes follow it"), "{refused:?}");
        });
    }
}
