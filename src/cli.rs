//! The command line: what can be asked, and the options that all clients share. What each
//! subcommand takes stands beside what it does, in [`crate::cmd`].

use std::env;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::cmd;
use crate::output;
use crate::quantity::{ParseError, Span, WAIT_MAX};

/// Where a server listens unless it is told otherwise.
pub(crate) const DEFAULT_SERVER: &str = "127.0.0.1:7400";

/// Where a server tells of itself over HTTP unless it is told otherwise.
pub(crate) const DEFAULT_ADMIN: &str = "127.0.0.1:7399";

/// A thread-per-core partitioned storage node for append-only logs.
#[derive(Debug, Parser)]
#[command(
    name = "corelog",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    long_about = "A thread-per-core partitioned storage node for append-only logs.\n\n\
        A topic is a named set of partitions; a partition is one log: records in the order they \
        were appended, each with an offset that counts from 0. A record is acknowledged once it \
        is on disk.\n\n\
        One binary is both the server (`corelog serve`) and every tool around it.",
    after_long_help = "EXAMPLES\n  \
        corelog serve                                  # keeps its data in ./corelog-data\n  \
        corelog topic create events --partitions 4\n  \
        printf 'one\\ntwo\\n' | corelog produce events   # a record per line\n  \
        corelog consume events                         # prints them\n  \
        corelog consume events --follow --from latest  # prints what comes from now on\n\n\
        EXIT CODES\n  \
        0 done   1 failed   2 wrong usage   3 damage or difference found\n  \
        4 unreachable or timed out   5 outcome unknown   6 denied\n  \
        A command that cannot write to stdout ends with 1, or as what it found says (3), and what\n  \
        it has changed stays so. A reader that has left (`| head`) changes no code, but that of\n  \
        `verify`, which has not checked all then (1).\n\n\
        Data goes to stdout, all else to stderr. Sizes are written like 128MiB, durations like \
        7d, times in RFC 3339; binary in JSON is base64. CORELOG_LOG=debug makes a client say \
        what it does."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands, in the order in which one meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<cmd::serve::Args>),
    Topic(cmd::topic::Args),
    Produce(cmd::produce::Args),
    Consume(cmd::consume::Args),
    Offsets(cmd::offsets::Args),
    Truncate(cmd::truncate::Args),
    Compare(cmd::compare::Args),
    Partition(cmd::partition::Args),
    Snapshot(cmd::snapshot::Args),
    Restore(cmd::restore::Args),
    Clone(cmd::clone::Args),
    Promote(cmd::promote::Args),
    Handover(cmd::handover::Args),
    Rejoin(cmd::rejoin::Args),
    Scrub(cmd::scrub::Args),
    Inspect(cmd::inspect::Args),
    Verify(cmd::verify::Args),
    Repair(cmd::repair::Args),
    Doctor(cmd::doctor::Args),
    Debug(cmd::debug::Args),
    Config(cmd::config::Args),
    Top(cmd::top::Args),
    Bench(cmd::bench::Args),
    Completions(cmd::completions::Args),
    Man(cmd::man::Args),
}

/// What the command line and the environment say.
///
/// # Errors
/// What clap says of a wrong usage, and what is asked for with `--help`.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let mut command = heard(Cli::command());
    let mut matches = command.try_get_matches_from_mut(env::args_os())?;
    if let Some(("repair", repair)) = matches.subcommand() {
        cmd::repair::check_place(repair)
            .map_err(|why| command.error(ErrorKind::ArgumentConflict, why))?;
    }
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// A variable that is empty says nothing, as of a server: scripts and manifests unset one that way. A number below 0 behind an
/// option is its value, which says by itself what it may be.
fn heard(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| {
        let value = arg.get_env().and_then(env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    let told = command.mut_args(|arg| {
        let has_value = arg.get_long().is_some() && arg.get_action().takes_values();
        let arg = match has_value {
            true => arg.allow_negative_numbers(true),
            false => arg,
        };
        match is_empty(&arg) {
            true => arg.env(None),
            false => arg,
        }
    });
    told.mut_subcommands(heard)
}

/// How a client finds its server, and how it prints.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server and output")]
pub(crate) struct Client {
    /// The server; several with commas are tried in turn.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "CORELOG_SERVER",
        value_delimiter = ',',
        value_parser = address,
        default_value = DEFAULT_SERVER
    )]
    pub(crate) server: Vec<String>,
    /// How long to wait for an answer before giving up (exit 4, or 5 where something may have been changed).
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "30s")]
    timeout: Span,
    /// How to print results on stdout.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: output::Format,
}

impl Client {
    /// The servers that are named, as they were.
    pub(crate) fn servers(&self) -> String {
        self.server.join(",")
    }

    /// How long to wait for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.0
    }
}

/// An address as `--server` and its like take it; whether it can be found is for the connection to say.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let is_address = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    // What a URL has before its host would be looked up as part of it, and so would all but the last of several.
    if is_address && !text.contains(['/', ',']) {
        Ok(text.to_owned())
    } else {
        Err("an address is written HOST:PORT, as in 127.0.0.1:7400".to_owned())
    }
}

/// A duration in which an answer may come, and that clocks can be moved on by.
fn timeout(text: &str) -> Result<Span, ParseError> {
    Span::within(Duration::from_millis(1)..=WAIT_MAX, text)
}

/// What a command that loses data for good needs before it does.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Safety")]
pub(crate) struct Consent {
    /// Do it without asking; needed where no terminal can be asked.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Say what would go, and change nothing.
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        heard(Cli::command()).debug_assert();
    }

    #[test]
    fn every_command_of_the_runbook_is_one() {
        let runbook = include_str!("../deploy/RUNBOOK.md");
        let (mut is_in_block, mut count) = (false, 0);
        for line in runbook.lines() {
            if line.starts_with("```") {
                is_in_block = !is_in_block;
            }
            let (line, _) = line.split_once(" # ").unwrap_or((line, ""));
            let pieces: Vec<&str> = if is_in_block {
                line.split(['|', '&']).collect()
            } else {
                line.split('`').skip(1).step_by(2).collect()
            };
            for words in pieces.iter().map(|piece| piece.split_whitespace()) {
                if words.clone().next() != Some("corelog") {
                    continue;
                }
                count += 1;
                let kind = Cli::try_parse_from(words).map_err(|error| error.kind());
                let is_fit = match kind {
                    Ok(_) | Err(ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => true,
                    // Beside the blocks a command is also called by its name alone.
                    Err(
                        ErrorKind::MissingRequiredArgument
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                    ) => !is_in_block,
                    Err(_) => false,
                };
                assert!(is_fit, "{line}: {kind:?}");
            }
        }
        assert!(count > 70, "the commands are found: {count}");
    }

    /// Nothing answers in no time: whatever was asked had timed out.
    #[test]
    fn a_timeout_of_nothing_or_beyond_what_a_clock_can_hold_is_refused() {
        let refused = |text| timeout(text).unwrap_err().to_string();
        assert_eq!(timeout("365d").unwrap().0, WAIT_MAX);
        assert_eq!(refused("366d"), "`366d` is not between 1ms and 365d");
        for nothing in ["0", "0s"] {
            let said = format!("`{nothing}` is not between 1ms and 365d");
            assert_eq!(refused(nothing), said);
        }
        assert!(timeout("18446744073709551615s").is_err());
        assert!(refused("soon").contains("no duration"));
    }

    /// The tip was `-- -1`, which is another wrong usage.
    #[test]
    fn a_number_below_0_is_told_as_what_it_was_meant_for() {
        let said = |words: &[&str]| {
            let command = heard(Cli::command());
            let refused = command.try_get_matches_from([&["corelog"], words].concat());
            refused.unwrap_err().to_string()
        };
        for words in [
            &["consume", "t", "--partition", "-1"][..],
            &["partition", "reopen", "t", "-1"],
        ] {
            let said = said(words);
            assert!(
                said.contains("`-1` is no partition: they count from 0"),
                "{said}"
            );
        }
        let said = said(&["offsets", "t", "--timeout", "-1"]);
        assert!(said.contains("`-1` is no duration"), "{said}");
    }

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for address in ["localhost:7400", "[::1]:7400", "log1.example.com:1"] {
            assert_eq!(super::address(address).unwrap(), address);
        }
        for wrong in [
            "foo",
            "foo:",
            ":7400",
            "foo:65536",
            "http://foo:7400",
            "a:1,b:2",
            "",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    /// Their schemas are what scripts may rely on; that they hold is tested end to end.
    #[test]
    fn every_command_that_prints_json_has_a_schema() {
        fn collect(command: &clap::Command, path: &[&str], into: &mut BTreeSet<String>) {
            if command.get_arguments().any(|arg| arg.get_id() == "output") {
                into.insert(format!("{}.json", path.join("-")));
            }
            for child in command.get_subcommands() {
                collect(child, &[path, &[child.get_name()]].concat(), into);
            }
        }
        let mut commands = BTreeSet::new();
        collect(&Cli::command(), &[], &mut commands);
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas");
        let files = std::fs::read_dir(dir).unwrap();
        let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let files: BTreeSet<String> = files.collect();
        assert_eq!(commands, files, "the commands, and tests/schemas");
    }

    #[test]
    fn every_subcommand_teaches_by_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(
                command.get_about().is_some(),
                "{path} says nothing about itself"
            );
            let help = command
                .get_after_long_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let has_examples = help.contains("EXAMPLES");
            assert!(
                has_examples || command.has_subcommands(),
                "{path} shows no example"
            );
            command
                .get_subcommands()
                .for_each(|child| check(child, &path));
        }
        check(&Cli::command(), "");
    }
}
