//! Several servers that are named, each of which is asked before a topic is made or deleted: two of one name are two logs.

use std::collections::BTreeSet;

use anyhow::Context as _;
use corelog_client::{Client, Error};
use corelog_protocol::message::describe_topic::Answer;
use corelog_record::{NodeId, TopicName};
use tokio::task::JoinSet;

use crate::{cli, exit, session};

/// What one of them says.
pub(crate) struct Told {
    /// Its address, as it was named.
    pub(crate) server: String,
    /// What it has of the topic.
    pub(crate) topic: Result<Answer, Error>,
    /// What it is, if it could be reached.
    pub(crate) reached: Option<Reached>,
}

/// A server that could be reached.
pub(crate) struct Reached {
    /// A client of it alone.
    pub(crate) client: Client,
    node: NodeId,
}

/// Where a topic is to be.
pub(crate) struct Place {
    /// The server's address, as it was named.
    pub(crate) server: String,
    /// A client of it alone.
    pub(crate) client: Client,
    /// It has a topic of that name.
    pub(crate) is_taken: bool,
}

/// What each server that `options` name has of a topic, in their order; all are asked at once.
pub(crate) async fn ask(options: &cli::Client, topic: &TopicName) -> Vec<Told> {
    let mut asking = JoinSet::new();
    for (number, server) in options.server.iter().cloned().enumerate() {
        let (options, topic) = (options.clone(), topic.clone());
        asking.spawn(async move { (number, ask_one(&options, server, &topic).await) });
    }
    let mut told = asking.join_all().await;
    told.sort_by_key(|(number, _)| *number);
    told.into_iter().map(|(_, told)| told).collect()
}

/// The same of each node once, by however many of its addresses it is named.
pub(crate) async fn ask_nodes(options: &cli::Client, topic: &TopicName) -> Vec<Told> {
    let mut nodes = BTreeSet::new();
    let mut told = ask(options, topic).await;
    told.retain(|one| {
        let is_new = |reached: &Reached| nodes.insert(reached.node);
        one.reached.as_ref().is_none_or(is_new)
    });
    told
}

async fn ask_one(options: &cli::Client, server: String, topic: &TopicName) -> Told {
    let reached = async {
        let client = session::connect(options, vec![server.clone()]).await?;
        let node = client.hello().await?.node;
        Ok(Reached { client, node })
    };
    match reached.await {
        Ok(reached) => Told {
            server,
            topic: reached.client.admin().describe_topic(topic).await,
            reached: Some(reached),
        },
        Err(error) => Told {
            server,
            topic: Err(error),
            reached: None,
        },
    }
}

/// Where a topic of this name is, or may be made: of several servers at the one that has it, or at the first once each says
/// that it has none. One server makes, or refuses, it by itself.
///
/// # Errors
/// Exit code 3 where one has such a topic and cannot read it, 4 where one does not say; nothing is `done` then.
pub(crate) async fn place_of(
    options: &cli::Client,
    topic: &TopicName,
    done: &str,
) -> anyhow::Result<Place> {
    if let [server] = &options.server[..] {
        return Ok(Place {
            server: server.clone(),
            client: session::connected(options).await?,
            is_taken: false,
        });
    }
    let (mut free, mut unsaid) = (None, Vec::new());
    for told in ask_nodes(options, topic).await {
        let is_taken = match told.topic {
            Ok(_) => true,
            Err(error) if error.is_unknown_topic() => false,
            Err(error) => {
                unsaid.push((told.server, error));
                continue;
            }
        };
        let place = told.reached.map(|reached| Place {
            server: told.server,
            client: reached.client,
            is_taken,
        });
        match place {
            Some(place) if is_taken => return Ok(place),
            place => free = free.or(place),
        }
    }
    let is_damage = |(_, error): &(_, Error)| exit::is_damage(error);
    let damaged = unsaid.iter().position(is_damage);
    if let Some(found) = damaged {
        let (server, error) = unsaid.swap_remove(found);
        return Err(error).with_context(|| format!("nothing is {done}, by the word of {server}"));
    }
    if let Some((server, error)) = unsaid.into_iter().next() {
        return Err(error).with_context(|| {
            format!(
                "nothing is {done}: {server} does not say whether it has a topic {topic}, which would be another one; ask \
                 again when it answers, or name the one server that is to have it with --server"
            )
        });
    }
    free.ok_or_else(|| Error::NoServer.into())
}
