//! Metadata: which topics there are and where their partitions live.

use corelog_record::{CoreId, NodeId, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::bounded;
use super::settings::TopicSettings;
use crate::error::ErrorBody;

super::call!(Metadata);

/// Which topics to tell about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// The topics; default nil, all of them.
    pub topics: Option<Vec<TopicName>>,
}

/// The node, its cores and the topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The node.
    pub node: NodeId,
    /// The advertised address, `host:port`, of each core's own port; index = core. Default empty.
    #[serde(
        default,
        deserialize_with = "bounded::list::<{ bounded::CORES }, _, _>"
    )]
    pub cores: Vec<String>,
    /// The advertised address of the port that all cores share; default empty.
    #[serde(default)]
    pub shared: String,
    /// The topics, by name; default empty.
    #[serde(default)]
    pub topics: Vec<Topic>,
    /// The topics asked for of which nothing can be told; default empty.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "bounded::list::<{ bounded::TOPICS }, _, _>"
    )]
    pub errors: Vec<TopicError>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its id, which every request for one of its partitions carries.
    pub id: TopicId,
    /// Its settings; default all defaults.
    #[serde(default)]
    pub settings: TopicSettings,
    /// Its partitions, by number; default empty.
    #[serde(default)]
    pub partitions: Vec<Partition>,
}

/// Where one partition lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// The core that owns it.
    pub core: CoreId,
    /// The advertised address, `host:port`, of that core's own port; default empty, the shared one.
    #[serde(default)]
    pub address: String,
}

/// A topic of which nothing can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicError {
    /// The name as it was asked for.
    pub name: TopicName,
    /// Why.
    pub error: ErrorBody,
}
