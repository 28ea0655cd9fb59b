//! Who wins, and that the documented file is the program's.

use super::*;
use crate::exit::Exit;

const DEPLOYED: &str = include_str!("../../deploy/corelog.toml");

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn decide(file: &Path, variables: &[(&str, &str)], options: &[&str]) -> anyhow::Result<Settings> {
    use clap::{Args as _, FromArgMatches as _};
    let command = Flags::augment_args(clap::Command::new("serve"));
    let words = ["serve", "--config", file.to_str().unwrap()];
    let words = words.iter().chain(options);
    let flags = Flags::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
    let pair = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    Sources::of(&flags, variables.iter().map(pair)).decide(|_config| Vec::new())
}

#[test]
fn the_command_line_wins_over_the_environment_over_the_file_over_the_default() {
    let file = file("scrub-rate = '1MiB'\nadmin = '127.0.0.1:1'\ninsecure = true\ncores = 3\n");
    let variables = [
        ("CORELOG_NODE_SCRUB_RATE", "2MiB"),
        ("CORELOG_NODE_ADMIN", "127.0.0.1:2"),
        ("CORELOG_NODE_INSECURE", "false"),
    ];
    let settings = decide(file.path(), &variables, &["--scrub-rate", "3MiB"]).unwrap();
    let told = |key| {
        let value = settings.get(key).unwrap();
        (value.text.as_str(), value.origin)
    };
    assert_eq!(told(Key::ScrubRate), ("3MiB", Origin::Flag));
    assert_eq!(told(Key::Admin), ("127.0.0.1:2", Origin::Environment));
    assert_eq!(told(Key::Insecure), ("false", Origin::Environment));
    assert_eq!(told(Key::Cores), ("3", Origin::File { line: 4 }));
    assert_eq!(told(Key::TransferRate), ("128MiB", Origin::Default));
    assert_eq!(settings.get(Key::Advertise), None);
    let config = settings.config().unwrap();
    assert_eq!(config.scrub_rate, ByteSize::from_mib(3));
    assert!(!config.is_insecure);
    assert_eq!(config.cores, 3);
    let place = |key| told(key).1.place(key, settings.file());
    let line = format!("{}:4", file.path().display());
    assert_eq!(place(Key::Cores), Some(line));
    assert_eq!(place(Key::Admin), Some("CORELOG_NODE_ADMIN".to_owned()));
    assert_eq!(place(Key::ScrubRate), Some("--scrub-rate".to_owned()));
}

#[test]
fn an_option_can_take_back_what_a_file_allows() {
    let file = file("insecure = true\n");
    for (option, is_insecure) in [("--insecure=false", false), ("--insecure", true)] {
        let config = decide(file.path(), &[], &[option]).unwrap().config();
        assert_eq!(config.unwrap().is_insecure, is_insecure, "{option}");
    }
}

#[test]
fn a_file_that_is_wrong_or_not_there_is_wrong_usage() {
    for text in ["datadir = '/x'", "cores = 0", "cores = 'two'", "["] {
        let file = file(text);
        let error = decide(file.path(), &[], &[]).unwrap_err();
        assert_eq!(crate::exit::of(&error), Exit::Usage, "{text}");
        let said = error.to_string();
        assert!(said.contains(&*file.path().to_string_lossy()), "{said}");
    }
    let missing = decide(Path::new("/no/such/file"), &[], &[]);
    assert_eq!(crate::exit::of(&missing.unwrap_err()), Exit::Usage);
}

#[test]
fn what_changed_is_told_and_can_be_taken_over_one_by_one() {
    let (before, after) = (file("cores = 1\n"), file("cores = 2\nadvertise = 'log1'\n"));
    let mut settings = decide(before.path(), &[], &[]).unwrap();
    let later = decide(after.path(), &[], &[]).unwrap();
    let change = |key, from: Option<&str>, to: &str| Change {
        key,
        from: from.map(str::to_owned),
        to: Some(to.to_owned()),
    };
    let (advertise, cores) = (
        change(Key::Advertise, None, "log1"),
        change(Key::Cores, Some("1"), "2"),
    );
    assert_eq!(settings.changes(&later), [advertise, cores]);
    settings.take(Key::Advertise, &later);
    assert_eq!(settings.changes(&later).len(), 1);
    settings.take(Key::Cores, &later);
    assert_eq!(settings.changes(&later), []);
}

#[test]
fn the_deployed_file_lists_every_key_with_its_default() {
    let nothing = file("");
    let defaults = decide(nothing.path(), &[], &[]).unwrap();
    let as_it_is = file(DEPLOYED);
    let as_it_is = decide(as_it_is.path(), &[], &[]).unwrap();
    assert_eq!(as_it_is.changes(&defaults), [], "it says nothing");
    let said: Vec<&str> = DEPLOYED.lines().filter_map(uncommented).collect();
    let said = file(&said.join("\n"));
    let settings = decide(said.path(), &[], &[]).unwrap();
    for key in Key::all() {
        let value = settings.get(key).unwrap();
        let is_in_file = matches!(value.origin, Origin::File { .. });
        assert!(is_in_file, "{} is missing", key.name());
        // Neither has a default that holds on every machine.
        if !matches!(key, Key::Advertise | Key::Cores) {
            let default = &defaults.get(key).unwrap().text;
            assert_eq!(&value.text, default, "{}", key.name());
        }
    }
}

/// The key that a line of the file would say without its `#`.
fn uncommented(line: &str) -> Option<&str> {
    let said = line.strip_prefix('#')?;
    let (name, _) = said.split_once(" = ")?;
    let is_key = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    is_key.then_some(said)
}
