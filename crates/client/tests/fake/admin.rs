//! Administration: what takes several answers, and what is asked once.

use std::sync::Arc;
use std::time::Duration;

use corelog_client::protocol::error::ErrorCode;
use corelog_client::protocol::message::settings::SettingsChange;
use corelog_client::protocol::request::Request;
use corelog_client::record::{PartitionId, TopicName};
use corelog_client::{Client, ClientConfig, Error, NewTopic, Outcome};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::server::{Act, Server};
use crate::{config, config_of, connect, connect_to, error, hang};

#[tokio::test]
async fn a_long_list_of_snapshots_is_asked_for_until_it_leads_no_further() {
    let server = Server::start(1).await;
    let listed = connect(&server).await.admin().list_snapshots().await;
    let names = listed.unwrap().snapshots.into_iter().map(|one| one.name);
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c"]);
}

/// The same server was asked again until the time was over.
#[tokio::test]
async fn what_another_node_has_to_alter_is_told_at_once() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(|seen| match seen.request {
        Request::AlterTopic(_) => Act::Refuse(error(ErrorCode::NotOwner)),
        _ => Act::Serve,
    });
    let client = connect(&server).await;
    let id = client.topic(&topic).await.unwrap().id;
    let change = SettingsChange::default();
    let altered = client
        .admin()
        .alter_topic(&topic, Some(id), Some(2), change)
        .await;
    let refused = altered.unwrap_err();
    assert!(refused.refusal().unwrap().is(ErrorCode::NotOwner));
    assert_eq!(server.count(None, "AlterTopic"), 1);
}

/// What went was the copy that another server had, as another task had turned to that one meanwhile.
#[tokio::test]
async fn a_topic_is_deleted_where_it_was_looked_up() {
    let (home, other) = (Server::start(1).await, Server::start(1).await);
    let topic = home.topic("numbers", 1);
    other.copy(&home);
    let elsewhere = other.topic("elsewhere", 1);
    let client = connect_to([&home, &other]).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    home.script(move |seen| match seen.request {
        Request::DescribeTopic(_) => Act::Later(Arc::clone(&held)),
        _ => Act::Serve,
    });
    let admin = client.admin();
    let deleting = tokio::spawn({
        let topic = topic.clone();
        async move { admin.delete_topic(&topic, None).await }
    });
    home.until(|home| home.count(None, "DescribeTopic") == 1)
        .await;
    client.topic(&elsewhere).await.unwrap();
    gate.add_permits(1);
    deleting.await.unwrap().unwrap();
    let has = |server: &Server| server.state.lock().unwrap().topics.contains_key(&topic);
    assert_eq!((has(&home), has(&other)), (false, true));
}

/// The copy went that another server had, in the place of what was shown.
#[tokio::test]
async fn a_topic_is_deleted_where_it_was_looked_at_or_nowhere() {
    let (home, other) = (Server::start(1).await, Server::start(1).await);
    let topic = home.topic("numbers", 1);
    other.copy(&home);
    let elsewhere = other.topic("elsewhere", 1);
    let has = |server: &Server| server.state.lock().unwrap().topics.contains_key(&topic);
    let client = connect_to([&home, &other]).await;
    let (admin, told) = client.admin().of(&topic).await.unwrap();
    client.topic(&elsewhere).await.unwrap();
    home.script(|seen| match (seen.request, seen.nth) {
        (Request::DeleteTopic(_), 0) => Act::Refuse(error(ErrorCode::Stopping)),
        _ => Act::Serve,
    });
    assert_eq!(admin.describe_topic(&topic).await.unwrap().id, told.id);
    assert_eq!(other.state.lock().unwrap().count_all("DescribeTopic"), 0);
    admin.delete_topic(&topic, Some(told.id)).await.unwrap();
    assert_eq!((has(&home), has(&other)), (false, true));
}

/// What one server had begun, another one was asked about.
#[tokio::test]
async fn what_one_server_does_no_other_one_is_asked_about() {
    let (home, other) = (Server::start(1).await, Server::start(1).await);
    let topic = home.topic("numbers", 1);
    other.copy(&home);
    let elsewhere = other.topic("elsewhere", 1);
    let client = connect_to([&home, &other]).await;
    let (admin, hello) = client.admin().of_one().await.unwrap();
    client.topic(&elsewhere).await.unwrap();
    let (same, again) = admin.of_one().await.unwrap();
    assert_eq!(hello, again);
    same.describe_topic(&topic).await.unwrap();
    let asked = |server: &Server| server.state.lock().unwrap().count_all("DescribeTopic");
    assert_eq!((asked(&home), asked(&other)), (1, 0));
}

/// The refusal was all that was told: that it was not applied.
#[tokio::test]
async fn what_became_of_a_change_that_got_lost_no_later_refusal_tells() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.script(|seen| match (seen.request, seen.nth) {
        (Request::AlterTopic(_), 0) => Act::ServeAndCut,
        (Request::AlterTopic(_), _) => Act::Refuse(error(ErrorCode::Fenced)),
        _ => Act::Serve,
    });
    let client = connect(&server).await;
    let id = client.topic(&topic).await.unwrap().id;
    let (admin, change) = (client.admin(), SettingsChange::default());
    let altered = admin.alter_topic(&topic, Some(id), None, change);
    assert_eq!(altered.await.unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(server.state.lock().unwrap().count_all("AlterTopic"), 2);
}

/// The caller was told that nobody knows whether it was applied.
#[tokio::test]
async fn what_was_not_asked_since_the_topic_could_not_be_looked_up_changed_nothing() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    hang(&server);
    let config = ClientConfig {
        timeout: Duration::from_secs(3),
        ..config(&server)
    };
    let admin = Client::connect(config).await.unwrap().admin();
    let partition = PartitionId::new(0);
    let forgotten = admin.forget_follower(&topic, None, None, "log2:7400").await;
    let forgotten = forgotten.unwrap_err();
    let reopened = admin.reopen_partition(&topic, partition).await;
    for error in [forgotten, reopened.unwrap_err()] {
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
        assert!(error.is_unreachable(), "{error}");
    }
    let state = server.state.lock().unwrap();
    assert_eq!(state.count_all("DescribeTopic"), 1);
    assert_eq!(state.count_all("Metadata"), 1);
}

/// It was created once more, on another server.
#[tokio::test]
async fn what_may_be_done_on_one_server_is_asked_of_no_other_one() {
    let (home, other) = (Server::start(1).await, Server::start(1).await);
    let client = Client::connect(ClientConfig {
        timeout: Duration::from_secs(3),
        ..config_of([&home, &other])
    });
    let admin = client.await.unwrap().admin();
    home.script(|_| Act::ServeAndCut);
    let topic = NewTopic {
        if_not_exists: true,
        ..NewTopic::new(TopicName::new("numbers").unwrap(), 1)
    };
    let error = admin.create_topic(topic).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    let asked = |server: &Server| server.state.lock().unwrap().count_all("CreateTopic");
    assert_eq!((asked(&home), asked(&other)), (1, 0));
}

/// Each had as much time as both were to have, and so had each way to look the topic up.
#[tokio::test]
async fn a_change_and_the_look_up_before_it_share_the_time_that_they_have() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let limit = Duration::from_secs(8);
    let mut first = None;
    server.script(move |seen| match seen.request {
        Request::DescribeTopic(_) => {
            match first.get_or_insert_with(Instant::now).elapsed() < limit / 2 {
                true => Act::Refuse(error(ErrorCode::Busy)),
                false => Act::Serve,
            }
        }
        Request::DeleteTopic(_) => Act::Ignore,
        _ => Act::Serve,
    });
    let config = ClientConfig {
        timeout: limit,
        ..config(&server)
    };
    let admin = Client::connect(config).await.unwrap().admin();
    let error = admin.delete_topic(&topic, None).await.unwrap_err();
    let Error::TimedOut { after, .. } = error else {
        panic!("{error}");
    };
    assert!(after <= limit / 2, "{after:?}");
}
