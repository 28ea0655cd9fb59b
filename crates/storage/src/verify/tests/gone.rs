//! What a server removes, or makes anew, while it is looked at, is no damage.

use std::fs;
use std::path::{Path, PathBuf};

use super::snapshot::{snapped, topic_file};
use super::*;
use crate::verify::node;
use crate::verify::subject::Subject;

/// A node's data directory with a topic `t` and a snapshot of it.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        let data = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(data.topic()).unwrap();
        fs::rename(Partition::filled(60).path(), data.topic().join("0")).unwrap();
        write_topic_file(&data.topic(), 7);
        fs::create_dir_all(data.snapshot()).unwrap();
        snapped(&data.snapshot());
        write_topic_file(&data.snapshot().join("topics/t"), 7);
        data
    }

    fn topic(&self) -> PathBuf {
        self.0.path().join("topics/t")
    }

    fn snapshot(&self) -> PathBuf {
        self.0.path().join("snapshots/monday")
    }

    /// Removes the topic as a server does.
    fn bury_topic(&self) {
        let deleted = self.0.path().join("deleted");
        fs::create_dir_all(&deleted).unwrap();
        fs::rename(self.topic(), deleted.join("t-07")).unwrap();
    }
}

fn write_topic_file(dir: &Path, id: u8) {
    fs::write(dir.join("topic"), topic_file(id).encode().unwrap()).unwrap();
}

/// What the checks of a survey come to.
fn found(survey: &Survey) -> Vec<What> {
    let hooks = Hooks {
        progress: &|_bytes| {},
        records: None,
    };
    let stores = survey.stores.iter();
    let found = stores.flat_map(|store| store.run(&hooks).findings);
    found.map(|finding| finding.what).collect()
}

/// These were missing stores, so damage, with 3.
#[test]
fn stores_of_a_topic_or_a_snapshot_that_goes_meanwhile_are_no_damage() {
    let data = Data::new();
    let survey = survey(data.0.path()).unwrap().unwrap();
    assert_eq!(found(&survey), []);
    data.bury_topic();
    // Its own file goes first, the others one by one.
    fs::remove_file(data.snapshot().join("snapshot")).unwrap();
    fs::remove_dir_all(data.snapshot().join("topics/t/0")).unwrap();
    let found = found(&survey);
    assert_eq!(found, vec![What::Changed; survey.stores.len()]);
}

#[test]
fn stores_of_a_topic_that_is_made_anew_meanwhile_are_no_damage() {
    let data = Data::new();
    let survey = survey(&data.topic().join("0")).unwrap().unwrap();
    data.bury_topic();
    fs::create_dir_all(data.topic().join("0")).unwrap();
    write_topic_file(&data.topic(), 8);
    assert_eq!(found(&survey), vec![What::Changed; survey.stores.len()]);
}

#[test]
fn a_store_that_is_gone_from_a_topic_that_is_there_is_damage() {
    let data = Data::new();
    let survey = survey(data.0.path()).unwrap().unwrap();
    for partition in [data.topic().join("0"), data.snapshot().join("topics/t/0")] {
        fs::remove_file(&files(&partition, "log")[0]).unwrap();
    }
    fs::remove_file(data.topic().join("0/manifest")).unwrap();
    let found = found(&survey);
    let missing = found.iter().filter(|what| **what == What::MissingStore);
    assert_eq!(missing.count(), 2, "{found:?}");
}

/// Nothing was amiss: a partition without records has no directory either.
#[test]
fn a_partition_without_its_directory_or_manifest_is_damage_where_something_tells_of_it() {
    let data = Data::new();
    let (topic, away) = (data.topic(), data.0.path().join("away"));
    let (partition, begun) = (topic.join("0"), topic.join("0.begun"));
    fs::write(&begun, b"").unwrap();
    assert_eq!(verify(&topic).findings, []);
    fs::rename(&partition, &away).unwrap();
    assert_eq!(kinds(&verify(&topic)), [What::Gone]);
    fs::create_dir(&partition).unwrap();
    assert_eq!(kinds(&verify(&topic)), [What::Gone]);
    fs::remove_file(&begun).unwrap();
    assert_eq!(verify(&topic).findings, []);
    fs::copy(away.join("mark"), partition.join("mark")).unwrap();
    assert_eq!(kinds(&verify(&topic)), [What::Gone]);
}

/// It was none of what can be verified, and a file of no partition told of one.
#[test]
fn a_partition_that_is_gone_is_found_by_itself_and_only_where_it_may_be() {
    let data = Data::new();
    let (topic, away) = (data.topic(), data.0.path().join("away"));
    let partition = topic.join("0");
    fs::write(topic.join("0.begun"), b"").unwrap();
    fs::rename(&partition, &away).unwrap();
    assert_eq!(kinds(&verify(&partition)), [What::Gone]);
    fs::create_dir(&partition).unwrap();
    assert_eq!(kinds(&verify(&partition)), [What::Gone]);
    fs::copy(away.join("mark"), partition.join("mark")).unwrap();
    assert_eq!(kinds(&verify(&partition)), [What::Gone]);
    fs::remove_dir_all(&partition).unwrap();
    std::os::unix::fs::symlink(&away, &partition).unwrap();
    assert_eq!(kinds(&verify(&topic)), [], "a server follows it");
    fs::remove_file(&partition).unwrap();
    fs::rename(&away, &partition).unwrap();
    let all = |dir: &Path| {
        let found = verify(dir).findings.into_iter();
        found.map(|finding| finding.what).collect::<Vec<_>>()
    };
    for name in ["events.begun", "007.begun"] {
        fs::write(topic.join(name), b"").unwrap();
        assert_eq!(all(&topic), [What::Stranger], "{name}");
        fs::remove_file(topic.join(name)).unwrap();
    }
    fs::write(topic.join("4000.begun"), b"").unwrap();
    assert_eq!(kinds(&verify(&topic)), [What::Foreign, What::Gone]);
    let of_snapshot = data.snapshot().join("topics/t");
    let before = all(&data.snapshot());
    fs::write(of_snapshot.join("0.begun"), b"").unwrap();
    let found = all(&data.snapshot());
    assert_eq!(found.len(), before.len() + 1, "{found:?}");
    assert!(found.contains(&What::Stranger), "{found:?}");
}

#[test]
fn a_node_without_the_directory_of_its_topics_is_damage() {
    let data = Data::new();
    fs::write(data.0.path().join("node"), b"").unwrap();
    let gone = || {
        let found = kinds(&verify(data.0.path()));
        found.into_iter().filter(|what| *what == What::Gone).count()
    };
    fs::rename(data.0.path().join("topics"), data.0.path().join("away")).unwrap();
    assert_eq!(gone(), 0, "it was not started yet");
    fs::create_dir(data.0.path().join("deleted")).unwrap();
    assert_eq!(gone(), 1);
}

/// It was listed, and its file was found missing.
#[test]
fn a_topic_that_goes_before_its_file_is_read_is_no_damage() {
    let data = Data::new();
    let mut survey = Survey::default();
    data.bury_topic();
    node::topic(&data.topic(), None, &mut survey).unwrap();
    let found = survey.findings.iter().map(|finding| finding.what);
    assert_eq!(found.collect::<Vec<_>>(), [What::Changed]);
}

#[test]
fn what_is_found_stands_unless_its_topic_or_snapshot_is_another_by_then() {
    let data = Data::new();
    let told = |subject: &Subject, change: &dyn Fn()| {
        let mut survey = Survey::default();
        let look = |survey: &mut Survey| {
            change();
            survey.find(Finding::of(What::Foreign, data.topic(), "ours", "another"));
            Ok(())
        };
        survey.within(subject, look).unwrap();
        survey.findings[0].what
    };
    let topic = Subject::topic(&data.topic());
    let partition = Subject::partition(&data.topic().join("0"));
    let snapshot = Subject::snapshot(&data.snapshot());
    for subject in [&topic, &partition, &snapshot] {
        assert_eq!(told(subject, &|| {}), What::Foreign, "{subject:?}");
    }
    let anew = || write_topic_file(&data.topic(), 8);
    assert_eq!(told(&topic, &anew), What::Changed);
    assert_eq!(told(&partition, &|| {}), What::Changed);
    let again = || alter(&data.snapshot().join("snapshot"), |bytes| bytes.push(0));
    assert_eq!(told(&snapshot, &again), What::Changed);
}
