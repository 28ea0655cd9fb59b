//! `corelog topic alter`.

use std::fmt::Write as _;

use corelog_client::Client;
use corelog_protocol::message::describe_topic::Answer;
use corelog_protocol::message::settings::{RetentionHold, TopicSettings};
use corelog_record::{ByteSize, TopicName};
use serde_json::json;

use super::closed::held;
use super::owner;
use super::policy::Policy;
use crate::consent::{self, Decision};
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};
use crate::quantity::{Amount, Span};
use crate::{cli, quantity, session};

/// Change a topic's policy; what is not named stays.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Change a topic's policy; what is not named stays.\n\n\
        Lowering a retention removes records for good, so it asks first on a terminal and needs \
        --yes elsewhere. A topic that follows another server's has the policy of that one: change \
        it there.",
    after_long_help = "EXAMPLES\n  \
        corelog topic alter events --retention-age 30d\n  \
        corelog topic alter events --retention-age never\n  \
        corelog topic alter events --retention-bytes 1GiB --dry-run   # says what would go"
)]
pub(super) struct Args {
    /// The topic's name.
    #[arg(value_name = "NAME", value_parser = quantity::topic_name)]
    name: TopicName,
    #[command(flatten)]
    policy: Policy,
    #[command(flatten)]
    consent: cli::Consent,
    #[command(flatten)]
    client: cli::Client,
}

/// Changes the policy, after asking if records go by it, and prints the one in force.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.policy.is_empty() {
        return Err(stop(
            Exit::Usage,
            "nothing to change; see `corelog topic alter --help`",
        ));
    }
    // What the server would refuse is neither approved by a dry run nor anything to ask consent for.
    args.policy.check()?;
    session::run(&args.client, |client| alter(args, client))
}

async fn alter(args: &Args, client: Client) -> anyhow::Result<Exit> {
    let (admin, topic) = client.admin().of(&args.name).await?;
    let change = args.policy.change();
    let after = change.apply(&topic.settings);
    let server = session::server(&admin);
    let loss = loss(&args.name, &topic, &after).map(|loss| format!("{loss} at {server}"));
    let by_server = |error| session::by(server, error);
    // Where nothing is said before, the server says it itself.
    if loss.is_some() || args.consent.dry_run {
        owner::check_all(&args.name, &topic.partitions).map_err(by_server)?;
        owner::check_copy(&args.name, &topic.partitions).map_err(by_server)?;
    }
    if let Some(loss) = loss
        && consent::ask(args.consent, args.client.output, &loss)? == Decision::Leave
    {
        return Ok(Exit::Done);
    }
    if args.consent.dry_run {
        consent::print_dry_run(args.client.output, None)?;
        return Ok(Exit::Done);
    }
    let answer = admin
        .alter_topic(&args.name, Some(topic.id), None, change)
        .await;
    let answer = session::changing(server, answer)?;
    print(args, &answer.settings, answer.partitions)
}

fn print(args: &Args, policy: &TopicSettings, partitions: u32) -> anyhow::Result<Exit> {
    let mut out = Out::new();
    match args.client.output {
        Format::Table => {
            let topic = [("topic", args.name.to_string())];
            out.facts(topic.into_iter().chain(super::policy::facts(policy)))?;
        }
        Format::Json => out.json(&json!({
            "name": args.name.as_str(),
            "partitions": partitions,
            "policy": super::policy::json(policy),
        }))?,
    }
    out.flush()?;
    super::policy::warn(policy);
    Ok(Exit::Done)
}

/// What a lower retention lets go, in words; nothing if none is lower.
fn loss(name: &TopicName, topic: &Answer, after: &TopicSettings) -> Option<String> {
    let before = &topic.settings;
    let is_lower = |before: Option<u64>, after: Option<u64>| {
        after.is_some_and(|after| before.is_none_or(|before| after < before))
    };
    let is_known = topic.partitions.iter().all(|p| !p.closed);
    let mut losses = Vec::new();
    if let Some(age_ms) = after.retention_age_ms
        && is_lower(before.retention_age_ms, after.retention_age_ms)
    {
        losses.push(format!(
            "sealed segments older than {}",
            Span::from_millis(age_ms)
        ));
    }
    if let Some(bytes) = after.retention_bytes
        && is_lower(before.retention_bytes, after.retention_bytes)
    {
        let over = topic
            .partitions
            .iter()
            .map(|p| p.bytes.saturating_sub(bytes))
            .sum();
        let (limit, over) = (ByteSize::from_bytes(bytes), Amount(over));
        let over = match is_known {
            true => format!(" (at most {over} now)"),
            false => String::new(),
        };
        losses.push(format!(
            "the oldest sealed segments of each partition beyond {limit}{over}"
        ));
    }
    let hold = before.retention_hold;
    // What waits for one may have what it is to wait for now.
    let is_hold_lower = !hold.is_none()
        && (after.retention_hold != hold
            || is_lower(before.retention_hold_bytes, after.retention_hold_bytes));
    if is_hold_lower && (after.retention_age_ms.is_some() || after.retention_bytes.is_some()) {
        let until = match hold {
            RetentionHold::Snapshotted => " until a snapshot holds it",
            RetentionHold::Replicated => " until every follower holds it",
            RetentionHold::None | RetentionHold::Unknown => "",
        };
        losses.push(format!("what retention holds back{until}"));
    }
    let mut held = held(&topic.partitions);
    if is_known {
        let segments: u32 = topic.partitions.iter().map(|p| p.segments).sum();
        let _ = write!(held, " in {segments} segments");
    }
    let lost = losses.join(" and ");
    (!losses.is_empty()).then(|| format!("{lost} of topic {name}, which holds {held}"))
}

#[cfg(test)]
mod tests {
    use super::super::closed::tests::partition;
    use super::*;
    use corelog_protocol::message::describe_topic::{Partition, State};
    use corelog_record::TopicId;

    fn loss_between(before: TopicSettings, after: &TopicSettings) -> Option<String> {
        loss_of(Vec::new(), before, after)
    }

    fn loss_of(
        partitions: Vec<Partition>,
        settings: TopicSettings,
        after: &TopicSettings,
    ) -> Option<String> {
        let topic = Answer {
            id: TopicId::from_bytes([0; 16]),
            settings,
            partitions,
        };
        loss(&TopicName::new("t").unwrap(), &topic, after)
    }

    fn keeping(retention_age_ms: Option<u64>, retention_bytes: Option<u64>) -> TopicSettings {
        TopicSettings {
            retention_age_ms,
            retention_bytes,
            ..TopicSettings::default()
        }
    }

    #[test]
    fn only_a_lower_retention_loses_something() {
        assert!(loss_between(keeping(None, None), &keeping(None, None)).is_none());
        assert!(loss_between(keeping(Some(5), Some(5)), &keeping(Some(5), None)).is_none());
        assert!(loss_between(keeping(Some(5), None), &keeping(Some(6), None)).is_none());
        assert!(loss_between(keeping(Some(5), None), &keeping(Some(4), None)).is_some());
        assert!(loss_between(keeping(None, None), &keeping(None, Some(1))).is_some());
    }

    /// Of a topic of which nothing was open it said "at most 0 B now", and that it holds 0 B in 0 segments.
    #[test]
    fn what_is_not_open_may_lose_more_than_nothing() {
        let said = |bytes| {
            let partitions = vec![partition(0, State::Opening, bytes)];
            loss_of(partitions, keeping(None, None), &keeping(None, Some(1_024))).unwrap()
        };
        let told = said(Some(2_048));
        assert!(told.contains("beyond 1KiB (at most 1.0 KiB now)"), "{told}");
        assert!(told.ends_with("holds 2.0 KiB in 0 segments"), "{told}");
        let told = said(None);
        assert!(told.contains("beyond 1KiB of topic t"), "{told}");
        let holds = "which holds an unknown amount (1 partitions are not open)";
        assert!(told.ends_with(holds), "{told}");
    }

    /// What waited for a follower went at once when it was to wait for a snapshot, which there was.
    #[test]
    fn what_waits_for_one_and_is_to_wait_for_another_may_go() {
        let holding = |retention_hold, retention_age_ms| TopicSettings {
            retention_hold,
            ..keeping(retention_age_ms, None)
        };
        let (by_snapshot, by_follower) = (RetentionHold::Snapshotted, RetentionHold::Replicated);
        let lost = |before, after| loss_between(holding(before, Some(5)), &holding(after, Some(5)));
        for (before, after, until) in [
            (by_follower, by_snapshot, "until every follower holds it"),
            (by_snapshot, by_follower, "until a snapshot holds it"),
            (
                by_follower,
                RetentionHold::None,
                "until every follower holds it",
            ),
        ] {
            assert!(lost(before, after).unwrap().contains(until), "{until}");
        }
        assert!(lost(by_follower, by_follower).is_none());
        assert!(lost(RetentionHold::None, by_follower).is_none());
        let kept = loss_between(holding(by_follower, None), &holding(by_snapshot, None));
        assert!(kept.is_none(), "nothing is removed for its age or size");
    }
}
