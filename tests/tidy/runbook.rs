//! The runbook tells of everything that an operator can be woken by, and of nothing else.

use crate::source;

fn text(path: &str) -> String {
    std::fs::read_to_string(source::root().join(path)).unwrap()
}

/// What follows `mark` in the lines that begin with it, blanks aside.
fn marked(text: &str, mark: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(mark));
    let mut found: Vec<_> = lines.map(str::to_owned).collect();
    found.sort();
    assert!(!found.is_empty(), "nothing begins with {mark:?}");
    found
}

#[test]
fn every_alert_has_a_section_a_link_to_it_and_a_test() {
    let rules = text("deploy/prometheus/alerts.yml");
    let alerts = marked(&rules, "- alert: ");
    assert_eq!(alerts, marked(&text("deploy/RUNBOOK.md"), "### "));
    let mut links: Vec<_> = alerts.iter().map(|alert| alert.to_lowercase()).collect();
    links.sort();
    assert_eq!(links, marked(&rules, "runbook: RUNBOOK.md#"));
    let tests =
        text("deploy/prometheus/alerts_test.yml") + &text("deploy/prometheus/scrub_test.yml");
    for alert in alerts {
        let is_fired = format!("alertname: {alert}\n        eval_time");
        let is_counted = format!("alertname=\"{alert}\"");
        assert!(
            tests.contains(&is_fired) || tests.contains(&is_counted),
            "{alert}"
        );
    }
}

/// What an operator was to look for in the log were none of its words.
#[test]
fn what_is_looked_for_in_the_log_is_said_there() {
    let mut files = source::rust_files();
    files.retain(|file| !file.path.starts_with("tests/") && !source::is_test(file));
    let code = files.iter().flat_map(|file| file.text.lines());
    let code = code.filter(|line| !line.trim_start().starts_with("//"));
    // A text that goes on in the next line is one.
    let said: String = code
        .map(|line| match line.trim_start().strip_suffix('\\') {
            Some(begun) => begun.to_owned(),
            None => format!("{}\n", line.trim_start()),
        })
        .collect();
    let patterns = patterns(&text("deploy/RUNBOOK.md"));
    assert!(patterns.len() > 20, "they are found: {patterns:?}");
    for pattern in patterns {
        assert!(said.contains(&pattern), "nothing says {pattern:?}");
    }
}

/// All partitions were told to be well by a node that was down, and by one that has no series for each partition.
#[test]
fn what_a_node_does_not_tell_is_not_told_as_good_news() {
    let runbook = text("deploy/RUNBOOK.md");
    let filters = |line: &&str| line.starts_with("curl ") && line.contains("| grep");
    let filtered: Vec<_> = runbook.lines().filter(filters).collect();
    assert!(filtered.len() > 5, "they are found: {filtered:?}");
    for line in filtered {
        assert!(!line.contains("||"), "{line}");
    }
}

/// Typed as root it passed what the user of the service may not do: a kernel that keeps io_uring for root, a directory of root's.
#[test]
fn the_machine_is_looked_at_as_the_user_that_serves() {
    let runbook = text("deploy/RUNBOOK.md");
    let is_look = |line: &&str| line.contains("corelog doctor --");
    let looks = Vec::from_iter(runbook.lines().filter(is_look));
    assert!(looks.len() > 2, "they are found: {looks:?}");
    for look in looks {
        assert!(look.starts_with("sudo -u corelog corelog doctor"), "{look}");
    }
}

/// Two namespaces that each had a `corelog-0` were one node to whoever watched.
#[test]
fn a_pod_is_named_with_its_namespace() {
    for path in [
        "deploy/prometheus/prometheus.yml",
        "deploy/kubernetes/corelog.yaml",
    ] {
        let text = text(path);
        let is_name = |line: &&str| line.contains("__meta_kubernetes_pod_name]");
        let names = Vec::from_iter(text.lines().filter(is_name));
        assert!(!names.is_empty(), "{path}");
        for name in names {
            assert!(
                name.contains("[__meta_kubernetes_namespace, "),
                "{path}: {name}"
            );
        }
    }
}

/// In a container that can write nothing else.
#[test]
fn what_the_book_writes_to_is_mounted_in_containers() {
    let mounts: [(&str, &[&str]); 2] = [
        (
            "deploy/docker/compose.yaml",
            &["- scratch:/var/tmp", "# - /mnt/exports:/mnt"],
        ),
        (
            "deploy/kubernetes/corelog.yaml",
            &[
                "- { name: scratch, mountPath: /var/tmp }",
                "# - { name: exports, mountPath: /mnt }",
                "# - { name: exports, persistentVolumeClaim: { claimName: exports } }",
            ],
        ),
    ];
    for (path, mounts) in mounts {
        let text = text(path);
        for mount in mounts {
            assert!(
                text.lines().any(|line| line.trim() == *mount),
                "{path}: {mount}"
            );
        }
    }
}

/// Where no descriptor is left, what makes room on a disk helps nobody, and removes records.
#[test]
fn whoever_finds_no_room_is_told_to_look_at_descriptors() {
    let runbook = text("deploy/RUNBOOK.md");
    for alert in [
        "CorelogPartitionFull",
        "CorelogPartitionOpening",
        "CorelogChoresFailed",
    ] {
        let (_, section) = runbook.split_once(&format!("### {alert}\n")).expect(alert);
        let section = section.split("\n### ").next().unwrap_or_default();
        assert!(section.contains("descriptor"), "{alert}");
    }
}

/// A unit that is killed is started again after five seconds, as the owner of what a copy was promoted for.
#[test]
fn nobody_is_told_to_kill_what_is_started_again() {
    assert!(!text("deploy/RUNBOOK.md").contains("systemctl kill"));
}

/// Each of what the commands that read the log look for.
fn patterns(text: &str) -> Vec<String> {
    let commands = text.lines().filter(|line| line.starts_with("journalctl "));
    let looked_for = commands.filter_map(|line| {
        let (_, grep) = line.split_once("grep ")?;
        let quote = grep.find(['\'', '"'])?;
        let (_, rest) = grep.split_at(quote + 1);
        rest.split(&grep[quote..=quote]).next()
    });
    let each = looked_for.flat_map(|all| all.split('|'));
    each.map(str::to_owned).collect()
}

#[test]
fn every_error_code_has_a_row() {
    let told = codes(&text("deploy/RUNBOOK.md"));
    assert_eq!(codes(&text("crates/protocol/PROTOCOL.md")), told);
}

/// Number and name of each row like "| 43 | `Fenced` | …".
fn codes(text: &str) -> Vec<(u16, String)> {
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let number = cells.next()?.parse().ok()?;
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let is_code = name.chars().all(|letter| letter.is_ascii_alphabetic());
        let is_code = is_code && name.starts_with(|letter: char| letter.is_ascii_uppercase());
        is_code.then(|| (number, name.to_owned()))
    });
    let codes: Vec<_> = rows.collect();
    assert!(codes.len() > 40, "the table is found: {codes:?}");
    codes
}
