//! Partitions of other nodes that this one holds copies of, and other nodes that hold copies of its.
//!
//! ```text
//! address   where other nodes are reached, as clients and followers name it
//! line      a connection of this core to another node
//! incoming  what comes over it, as frames
//! lines     these connections, each shared by a number of partitions
//! places    where a source has the partitions of a topic
//! questions what other nodes are asked of a partition
//! followings which partitions follow, each by a task of its own
//! task      the life of a follower: from what it has to what its source has, and on
//! tail      fetching what a source has behind the end of a follower's log, and waiting there for more
//! followed  the source that is followed just now: the owner, or a copy itself
//! beginning where its log begins: it goes on, or becomes a copy
//! files     whole sealed segments of a source, received as files
//! copying   what came from a source goes into the log
//! progress  how far a follower is, and what it last heard of its source
//! followers who follows a partition of this core, and up to where
//! hearing   what they say of their own logs, and what they are told
//! asking    those that are silent are asked whether they own it by now
//! newcomers those that come to be remembered, and may own it by then
//! pause     a node that stood still asks them again
//! unasked   which of those have yet to be asked, since it was opened or time stood still, if they own it by now
//! lineage   the epochs of two logs on the wire, and where the logs part
//! parted    a log that has parted from one that is to be its source
//! ownership who owns a partition, changing: its laws, and what the next ones share
//! hands     one change of a partition's owner at a time
//! promote   making a follower the owner
//! outranked those that it followed, told of that
//! samples   other nodes, and what they tell, for tests
//! lately    what was found out of other nodes a moment ago
//! handover  giving a partition to a follower
//! target    whom it is given to, and where that is reached
//! near      whether that follows it, is near, and has the topic as it is here
//! take_back calling that off
//! take_over owning it, as that follower
//! rejoin    making a former owner a follower
//! rival     another node that owns a partition, or may: found by asking
//! claim     what shows that it does
//! held      a partition that serves nobody, as a copy has shown that another node owns it, or came to
//! ahead     partitions of which a copy has more than their owner
//! contested partitions that two nodes own, which a person has to end
//! fence     taking no more appends because another node owns the partition
//! heal      damaged segments replaced by a peer's
//! repairs   which of that goes on, and when the next may begin
//! unread    the same of what the disk does not give the scrub
//! status    all of that, as clients are told
//! ```
//!
//! What a node is to a partition:
//!
//! ```text
//!           promote, or a TakeOver          hand_over                the target owns it
//! follower ────────────────────────▶ owner ◀────────▶ handing over ────────────────────▶ follower
//!     ▲                                │     abort         │
//!     │ rejoin                         └─────────┬─────────┘
//!     └───────────────────── fenced ◀────────────┘ another node shows that it owns it, by a later epoch; or rejoin
//! ```
//!
//! A promotion that accepts a loss makes a fenced one the owner as well.
//!
//! Who asks whom for what, beside what is copied:
//!
//! | who | whom | for what |
//! |---|---|---|
//! | an owner | its followers, and those above and below them | ReplicaStatus, Segments: who owns it by now (`rival`) |
//! | an owner | who says that it does | Segments, ChainAt: that it goes on from here (`claim`) |
//! | a promoted copy | whom it followed, and those above | that they ask it, by a Fetch that tells its epochs; a copy passes that on to its source (`outranked`) |
//! | who is to be promoted | its source | ReplicaStatus, Segments: that nothing is lost (`promote`) |
//! | who rejoins | the owner | Segments, ChainAt: up to where the two are the same (`rejoin`) |
//! | a follower | its source | ReplicaStatus: if it is still one (`followed`) |
//! | who gives it away | its target | if that is near and alike (`near`), then TakeOver (`handover`) |
//! | who takes it back | its target | TakeOver, which that refuses: a promise (`take_back`) |
//!
//! A follower asks, its source answers: nothing is ever pushed. What a follower appends was durable
//! and readable at its source, so all that it holds may be read here, too. It makes nothing of its
//! own: segments begin where the source's do, epochs are the source's, and what the source let go of
//! goes here.
//!
//! Never lives here: who owns a partition (`catalog/replicas`), the bytes of sealed segments
//! (`transfer`).

mod address;
mod ahead;
mod asking;
mod beginning;
mod claim;
mod contested;
mod copying;
mod fence;
mod files;
mod followed;
mod followers;
mod followings;
mod handover;
mod hands;
mod heal;
mod hearing;
mod held;
mod incoming;
mod lately;
mod line;
mod lineage;
mod lines;
mod near;
mod newcomers;
mod outranked;
mod ownership;
mod parted;
mod pause;
mod places;
mod progress;
mod promote;
mod questions;
mod rejoin;
mod repairs;
mod rival;
#[cfg(test)]
pub(crate) mod samples;
mod status;
mod tail;
mod take_back;
mod take_over;
mod target;
mod task;
mod unasked;
mod unread;

use std::time::Duration;

pub(crate) use address::check_addresses;
pub(crate) use followers::{FOLLOWERS_MAX, Followers};
pub(crate) use followings::Followings;
pub(crate) use handover::tell_unfinished;
pub(crate) use hands::Hands;
pub(crate) use heal::READER_WAIT_MAX_MS;
pub(crate) use hearing::Hearing;
pub(crate) use lately::{FOLLOWED_FOR, Lately, SILENT_FOR};
pub(crate) use line::Line;
pub(crate) use lineage::told;
pub(crate) use lines::Lines;
pub(crate) use places::topic_at;
pub(crate) use questions::segments_of;
pub(crate) use repairs::Repairs;
pub(crate) use unread::Unread;

/// How long one is waited for that is probably gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long another node may take for an answer that it does not wait with.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(10);
