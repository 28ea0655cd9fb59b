//! What takes several answers.

use crate::connect;
use crate::server::Server;

#[tokio::test]
async fn a_long_list_of_snapshots_is_asked_for_until_it_leads_no_further() {
    let server = Server::start(1).await;
    let listed = connect(&server).await.admin().list_snapshots().await;
    let names = listed.unwrap().snapshots.into_iter().map(|one| one.name);
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c"]);
}
