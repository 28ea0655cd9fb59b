//! What a server refuses since another one owns it: refused here, before a dry run says what would go or consent is asked.

use corelog_client::Error;
use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_protocol::message::describe_topic::Partition;
use corelog_protocol::message::replica_status::{Role, State};
use corelog_record::TopicName;

use crate::exit::say;

/// Looks if a partition is the server's that tells of it, and stays so.
///
/// # Errors
/// As the server refuses it, with the address of the owner.
pub(crate) fn check(topic: &TopicName, partition: &Partition) -> Result<(), Error> {
    match partition.role {
        Role::Owner | Role::Unknown => Ok(()),
        Role::Follower | Role::HandingOver | Role::Fenced => Err(not_owner(topic, partition)),
    }
}

/// Looks if a topic may be altered at the server that tells of its partitions: what is handed over, or went, may not be.
///
/// # Errors
/// As the server refuses it, with the address of the owner.
pub(super) fn check_all(topic: &TopicName, partitions: &[Partition]) -> Result<(), Error> {
    let is_given =
        |one: &&Partition| matches!(one.role, Role::HandingOver | Role::Fenced | Role::Unknown);
    let given = partitions.iter().find(is_given);
    given.map_or(Ok(()), |one| Err(not_all(topic, partitions, one)))
}

/// A copy that the server lets nobody alter if it is to follow: that, it does not tell. What was copied to its end is its own.
fn copy(partitions: &[Partition]) -> Option<&Partition> {
    let is_copied = |one: &Partition| one.role == Role::Follower && one.copying != State::Done;
    let is_owned = |one: &Partition| one.role == Role::Owner;
    let is_one_s = partitions.iter().any(is_owned) || partitions.iter().all(is_copied);
    partitions.iter().find(|one| is_one_s && is_copied(one))
}

/// Looks if what is to be altered goes on to follow another node's, as far as one can tell; says so where one cannot.
///
/// # Errors
/// As the server refuses it, with the address of the owner.
pub(super) fn check_copy(topic: &TopicName, partitions: &[Partition]) -> Result<(), Error> {
    match copy(partitions) {
        None => Ok(()),
        Some(one) if one.copying == State::Following => Err(not_all(topic, partitions, one)),
        Some(one) => {
            let place = format!("{topic}/{}", one.id);
            say(&format!(
                "{place} is being copied: if it is to follow its source, this is refused"
            ));
            Ok(())
        }
    }
}

/// That `one` is another node's; where others are this one's, that nobody may alter the topic: no address then, where the same
/// is refused.
fn not_all(topic: &TopicName, partitions: &[Partition], one: &Partition) -> Error {
    if !partitions.iter().any(|one| one.role == Role::Owner) {
        return not_owner(topic, one);
    }
    let is_elsewhere = |one: &&Partition| one.role != Role::Owner && one.copying != State::Done;
    let elsewhere: Vec<_> = partitions.iter().filter(is_elsewhere).collect();
    let named = elsewhere.iter().take(NAMED_MAX);
    let named: Vec<_> = named.map(|one| one.id.to_string()).collect();
    let more = match elsewhere.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "partitions {}{more} of topic {topic} are another node's, or being given to it, and others are this one's: one \
         node has to own all of them before the topic is altered there; `corelog handover {topic}` at the one gives what \
         it owns to the other",
        named.join(", ")
    );
    refused(ErrorBody::new(ErrorCode::NotOwner, message))
}

fn not_owner(topic: &TopicName, partition: &Partition) -> Error {
    let place = format!("{topic}/{}", partition.id);
    let message = match partition.role {
        Role::HandingOver => format!(
            "{place} is being handed over: the same `corelog handover` goes on with it, --abort calls it off"
        ),
        _ => format!("another node owns {place}"),
    };
    let detail = Detail {
        address: partition.source.clone(),
        ..Detail::default()
    };
    refused(ErrorBody::new(ErrorCode::NotOwner, message).with_detail(detail))
}

fn refused(body: ErrorBody) -> Error {
    Error::Refused {
        body: Box::new(body),
    }
}

/// So many partitions are named where several are another node's.
const NAMED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use corelog_protocol::message::describe_topic;

    use super::super::closed::tests::partition;
    use super::*;

    fn partitions(roles: &[(Role, State)]) -> Vec<Partition> {
        let of = |&(role, copying): &(Role, State)| Partition {
            role,
            copying,
            source: Some("log1:7400".to_owned()),
            ..partition(0, describe_topic::State::Ok, Some(1))
        };
        roles.iter().map(of).collect()
    }

    /// A copy with an end, which its server lets one alter, was refused while it was under way.
    #[test]
    fn only_what_a_server_refuses_for_certain_is_refused_before_it_is_asked() {
        let refused = |roles: &[(Role, State)]| {
            check_all(&TopicName::new("t").unwrap(), &partitions(roles)).is_err()
        };
        use Role::{Fenced, Follower, HandingOver, Owner, Unknown};
        let (own, copied) = ((Owner, State::Idle), (Follower, State::Done));
        assert!(!refused(&[own, own]));
        for state in [State::Copying, State::Waiting, State::Stopped] {
            assert!(!refused(&[(Follower, state)]), "{state:?}");
        }
        assert!(refused(&[own, (HandingOver, State::Idle)]));
        assert!(refused(&[copied, (Fenced, State::Idle)]));
        assert!(refused(&[own, (Unknown, State::Idle)]));
    }

    /// A dry run approved at a copy what its server refuses.
    #[test]
    fn a_dry_run_refuses_what_follows_and_no_copy_that_may_have_an_end() {
        let refused = |roles: &[(Role, State)]| {
            check_copy(&TopicName::new("t").unwrap(), &partitions(roles)).is_err()
        };
        use Role::{Follower, Owner};
        let (own, copied) = ((Owner, State::Idle), (Follower, State::Done));
        let follows = (Follower, State::Following);
        assert!(!refused(&[own, own]));
        assert!(!refused(&[copied, own]));
        assert!(!refused(&[copied, follows]));
        assert!(refused(&[follows, follows]));
        assert!(refused(&[own, follows]));
        assert!(!refused(&[(Follower, State::Waiting)]));
    }

    /// Each of two servers that own a part named the other one as that which alters the topic.
    #[test]
    fn a_topic_that_is_split_is_altered_nowhere_before_one_server_owns_all() {
        use Role::{Fenced, Follower, Owner};
        let topic = TopicName::new("t").unwrap();
        let own = (Owner, State::Idle);
        let split = [own, (Fenced, State::Idle)];
        let follows = [own, (Follower, State::Following)];
        for error in [
            check_all(&topic, &partitions(&split)).unwrap_err(),
            check_copy(&topic, &partitions(&follows)).unwrap_err(),
        ] {
            let said = error.to_string();
            assert!(said.contains("`corelog handover t`"), "{said}");
            assert_eq!(error.refusal().unwrap().detail.address, None);
        }
        let whole = check_all(&topic, &partitions(&[(Fenced, State::Idle)])).unwrap_err();
        let address = whole.refusal().unwrap().detail.address.as_deref();
        assert_eq!(address, Some("log1:7400"));
    }

    #[test]
    fn who_is_refused_is_told_who_owns_it_or_that_it_is_being_handed_over() {
        let said = |role| {
            let one = Partition {
                role,
                source: Some("log1:7400".to_owned()),
                ..partition(3, describe_topic::State::Ok, Some(1))
            };
            let error = check(&TopicName::new("t").unwrap(), &one).unwrap_err();
            let error = anyhow::Error::new(error);
            let sentence = crate::exit::sentence(&error);
            let next = crate::advice::after(&error, &sentence).unwrap_or_default();
            format!("{sentence}; {next}")
        };
        assert!(said(Role::Follower).ends_with("--server log1:7400"));
        assert!(said(Role::Fenced).contains("another node owns t/3"));
        let said = said(Role::HandingOver);
        assert!(said.contains("`corelog handover`"), "{said}");
        assert!(!said.contains("--server"), "{said}");
    }
}
