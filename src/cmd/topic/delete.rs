//! `corelog topic delete`.

use corelog_client::{Client, Error};
use corelog_protocol::message::describe_topic::{Answer, Partition};
use corelog_protocol::message::replica_status::Role;
use corelog_record::TopicName;
use serde_json::json;

use super::closed::held;
use crate::consent::{self, Decision};
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::{cli, quantity, servers, session};

/// Delete a topic and all its records.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Delete a topic and all its records.\n\n\
        Asks first on a terminal and needs --yes elsewhere. A topic of the same name created \
        later is another one: whoever still uses the old one is told so.\n\n\
        What goes is what one server has; copies at others stay. Of several servers it is the one that \
        owns all of the topic, or nothing is deleted: each of them has to answer (else it ends with 4), and no \
        other may own any of a topic of that name (6). A copy goes where its server is the only \
        one named.",
    after_long_help = "EXAMPLES\n  \
        corelog topic delete events --dry-run\n  \
        corelog topic delete events --yes\n  \
        corelog topic delete events --server log2:7400 --yes   # also if that is a copy"
)]
pub(super) struct Args {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    #[command(flatten)]
    consent: cli::Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Deletes it, after asking.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    session::run_unconnected(|| delete(args))
}

async fn delete(args: &Args) -> anyhow::Result<Exit> {
    let Holder {
        server,
        client,
        topic,
    } = &holder(args).await?;
    let held_as = HeldAs::of(&topic.partitions);
    let loss = format!(
        "topic {} with {} partitions and {} at {server} ({})",
        args.name,
        topic.partitions.len(),
        held(&topic.partitions),
        held_as.said()
    );
    if consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave {
        return Ok(Exit::Done);
    }
    // The id makes sure that it is the topic just described that goes.
    let admin = client.admin();
    let deleted = admin.delete_topic(&args.name, Some(topic.id)).await;
    session::changing(server, deleted)?;
    let mut out = Out::new();
    match args.client.output {
        Format::Table => out.line(&format!("deleted {loss}"))?,
        Format::Json => out.json(&json!({
            "name": args.name.as_str(),
            "id": topic.id.to_string(),
            "server": server,
            "held_as": held_as.word(),
        }))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// A server that has the topic, and what it has.
struct Holder {
    server: String,
    /// A client of it alone.
    client: Client,
    topic: Answer,
}

impl Holder {
    fn said(&self) -> String {
        let held_as = HeldAs::of(&self.topic.partitions).said();
        format!("{} ({held_as}, id {})", self.server, self.topic.id)
    }
}

/// Whose topic goes: the only server's that is named, or of several the one's that owns all of it, where no other owns any of a
/// topic of that name.
///
/// # Errors
/// Exit code 6 where it is none of them, or more than one; 3 or 4 where one does not say what it has.
async fn holder(args: &Args) -> anyhow::Result<Holder> {
    if let [server] = &args.client.server[..] {
        let client = session::connected(&args.client).await?;
        let topic = client.admin().describe_topic(&args.name).await;
        let topic = topic.map_err(|error| session::by(server, error))?;
        return Ok(Holder {
            server: server.clone(),
            client,
            topic,
        });
    }
    let (mut holders, mut unknown, mut unsaid) = (Vec::new(), Error::NoServer, Vec::new());
    for told in servers::ask_nodes(&args.client, &args.name).await {
        match (told.topic, told.reached) {
            (Ok(topic), Some(reached)) => holders.push(Holder {
                server: told.server,
                client: reached.client,
                topic,
            }),
            (Err(error), _) if error.is_unknown_topic() => unknown = error,
            (Err(error), _) => unsaid.push((told.server, error)),
            (Ok(_), None) => {}
        }
    }
    let all = args.client.servers();
    chosen(&args.name, holders, unsaid)?.ok_or_else(|| session::by(&all, unknown))
}

/// The one of them whose topic goes; none if none has one.
fn chosen(
    name: &TopicName,
    mut holders: Vec<Holder>,
    unsaid: Vec<(String, Error)>,
) -> anyhow::Result<Option<Holder>> {
    let owns = |one: &&Holder| HeldAs::of(&one.topic.partitions).owns();
    let owning: Vec<_> = holders.iter().filter(owns).collect();
    let silent = unsaid
        .iter()
        .map(|(server, error)| format!("{server} ({error})"));
    let all = holders.iter().map(Holder::said).chain(silent);
    let all = || all.clone().collect::<Vec<_>>().join(", ");
    if let [one, _, ..] = owning[..] {
        let message = format!(
            "nothing is deleted: more than one of these servers owns partitions of a topic {name}: {}; to delete what one has, \
             name it alone, as with --server {}",
            all(),
            one.server
        );
        return Err(stop(Exit::Denied, message));
    }
    let is_whole = |one: &Holder| HeldAs::of(&one.topic.partitions) == HeldAs::Owner;
    if let Some(first) = holders.first()
        && !holders.iter().any(is_whole)
    {
        let others = holders.iter().flat_map(|one| &one.topic.partitions);
        let others = others.filter(|one| one.role != Role::Owner);
        let owner = others.filter_map(|one| one.source.as_deref()).next();
        let owner = owner.map_or(String::new(), |owner| format!(" (that may be {owner})"));
        let message = format!(
            "nothing is deleted: none of these servers tells that it owns all of topic {name}: {}; ask its owner{owner} alone, \
             or to delete what one has, name it alone, as with --server {}",
            all(),
            first.server
        );
        return Err(stop(Exit::Denied, message));
    }
    if let Some((server, error)) = unsaid.into_iter().next() {
        let next = match owning.first() {
            Some(owner) => format!(
                "; ask again when it does, or to delete what {} has, name it alone with --server {}",
                owner.said(),
                owner.server
            ),
            None => String::new(),
        };
        let message = format!(
            "nothing is deleted: {server} does not say what it has of a topic {name}{next}"
        );
        return Err(anyhow::Error::new(error).context(message));
    }
    let whole = holders.iter().position(is_whole);
    Ok(whole.map(|at| holders.swap_remove(at)))
}

/// What a server's partitions of a topic are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldAs {
    /// It owns all of them.
    Owner,
    /// It owns some.
    Part,
    /// It owned some, or all, and another server owns them by now: it may have records that no other has.
    Replaced,
    /// It owns none.
    Copy,
}

impl HeldAs {
    fn of(partitions: &[Partition]) -> Self {
        let owned = partitions.iter().filter(|one| one.role.owns()).count();
        let is_replaced = |one: &Partition| one.role == Role::Fenced;
        match owned {
            owned if owned == partitions.len() => Self::Owner,
            0 if partitions.iter().any(is_replaced) => Self::Replaced,
            0 => Self::Copy,
            _ => Self::Part,
        }
    }

    const fn owns(self) -> bool {
        matches!(self, Self::Owner | Self::Part)
    }

    const fn said(self) -> &'static str {
        match self {
            Self::Owner => "its owner",
            Self::Part => "the owner of some, not of others",
            Self::Replaced => {
                "its owner until another took its place, maybe with records that no other has"
            }
            Self::Copy => "a copy",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Part => "part",
            Self::Replaced => "replaced",
            Self::Copy => "copy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::topic::closed::tests::partition;

    /// What only such a server had was deleted as one of several copies.
    #[test]
    fn a_server_that_was_replaced_as_the_owner_has_no_mere_copy() {
        use corelog_protocol::message::describe_topic::State;
        let held_as = |roles: &[Role]| {
            let of = |role: &Role| Partition {
                role: *role,
                ..partition(0, State::Ok, Some(1))
            };
            HeldAs::of(&roles.iter().map(of).collect::<Vec<_>>())
        };
        assert_eq!(held_as(&[Role::Owner, Role::HandingOver]), HeldAs::Owner);
        assert_eq!(held_as(&[Role::Owner, Role::Fenced]), HeldAs::Part);
        assert_eq!(held_as(&[Role::Follower, Role::Fenced]), HeldAs::Replaced);
        assert_eq!(held_as(&[Role::Follower]), HeldAs::Copy);
    }
}
