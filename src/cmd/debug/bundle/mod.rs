//! `corelog debug bundle`: one file with what a maintainer needs, and no record.
//!
//! ```text
//! pack       members within a size and a time, and what was left out; the file made of them
//! machine    the machine, the process, the log
//! server     what an admin address tells
//! directory  what a data directory holds, but for its records
//! whose      which directory is the server's, and if that is here
//! ```
//!
//! Whatever cannot be had is told and left out: a bundle is asked for when things are broken.

mod directory;
mod machine;
mod pack;
mod server;
mod whose;

use std::path::{Path, PathBuf};

use corelog_record::{ByteSize, Timestamp};

use crate::cli;
use crate::cmd::{config, doctor};
use crate::config::{Config, Flags, Key, Settings, Sources};
use crate::exit::{Exit, say, sentence};
use crate::output::{Format, Out};
use crate::quantity::{self, Amount, Span};

use pack::Pack;

/// Collect what a maintainer needs to look into a fault, without any record.
#[derive(clap::Args, Debug)]
#[command(
    long_about = "Collect what a maintainer needs to look into a fault, without any record.\n\n\
        Version, configuration, what `corelog doctor` says, metrics and /v1/* of the server, the \
        end of its log, limits and mounts of its process; of the data directory names and sizes \
        of all files, manifests and marks in words, and the last batch headers of each partition. \
        Never keys, values or headers of records. Names of topics, addresses of clients and \
        names of hosts are in it: look at it before you give it away.\n\n\
        Works with the server down, or with nothing but its admin address. Of a server on another \
        machine there is what it answers, and nothing of a node here: what is said of machine, \
        process and settings is this one's then. What cannot be had is \
        named in MANIFEST.json and on stderr, and the bundle is made without it: exit code 0.",
    after_long_help = "EXAMPLES\n  \
        corelog debug bundle\n  \
        corelog debug bundle --config /etc/corelog/corelog.toml --out /tmp/bundle.tar.gz\n  \
        corelog debug bundle --admin 10.0.0.7:7399 --output json\n  \
        corelog debug bundle --data-dir /var/lib/corelog --log /var/log/corelog.log"
)]
pub(crate) struct Args {
    /// The server's admin address [default: what its configuration says].
    #[arg(long, value_name = "HOST:PORT", value_parser = cli::address)]
    admin: Option<String>,
    /// The data directory [default: what the server says, if that is here, or its configuration names].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file that the server logs to [default: the journal of the unit corelog].
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The file to write; there must be none yet [default: ./corelog-bundle-TIME.tar.gz, with a number where that is there].
    #[arg(long, value_name = "FILE.tar.gz")]
    out: Option<PathBuf>,
    /// How large all members may be together, before they are compressed.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    size_max: ByteSize,
    /// What is not begun within this time is left out.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    within: Span,
    /// How to print results on stdout.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// Writes the bundle, and prints what is in it.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let now = corelog_client::now();
    let mut pack = Pack::new(args.size_max.bytes(), args.within.0);
    collect(args, &mut pack);
    let paths = match &args.out {
        Some(path) => vec![path.clone()],
        None => (1..=SAME_SECOND_MAX)
            .map(|number| default_path(now, number))
            .collect(),
    };
    let made = pack.write(&paths, now)?;
    for missed in &made.missed {
        say(&format!("left out {}: {}", missed.name, missed.why));
    }
    let mut out = Out::new();
    match args.output {
        Format::Json => out.json(&made)?,
        Format::Table => {
            let row = |member: &pack::Taken| {
                let size = Amount(member.bytes).to_string();
                vec![member.name.clone(), size]
            };
            out.table(&["MEMBER", "SIZE"], made.members.iter().map(row))?;
            out.line("")?;
            let (file, size) = (&made.file, Amount(made.file_bytes));
            out.line(&format!("{file}  {size}"))?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// After the time it is made; of several in one second all but the first have a number, too.
fn default_path(now: Timestamp, number: u32) -> PathBuf {
    let time: String = quantity::rfc3339(now)
        .chars()
        .take_while(|c| *c != '.')
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let ending = match number {
        1 => String::new(),
        number => format!("-{number}"),
    };
    PathBuf::from(format!("corelog-bundle-{time}{ending}.tar.gz"))
}

/// So many bundles of one second find a name.
const SAME_SECOND_MAX: u32 = 100;

/// What is asked first is what is there for sure, what is asked last what takes longest.
fn collect(args: &Args, pack: &mut Pack) {
    pack.json("version.json", machine::version);
    let settings = settings(args.config.as_deref());
    let known = settings.as_ref().ok().and_then(|s| s.config().ok());
    let is_said = settings.as_ref().is_ok_and(|s| s.is_said(Key::DataDir));
    pack.json("config.json", || {
        Ok(config::objects(&settings?, Key::all()))
    });
    machine::collect(pack);
    let node = match admin(args, known.as_ref()) {
        Some(address) => server::collect(&address, pack),
        None => {
            pack.miss("server", "no address is known; name it with --admin");
            None
        }
    };
    // Where nobody said one, and the server tells none, the default is anybody's.
    let configured = known.as_ref().filter(|_| is_said || node.is_some());
    let configured = configured.map(|config| &*config.data_dir);
    let found = whose::directory(node.as_ref(), configured);
    let server = node.as_ref().filter(|_| found.is_ok());
    machine::collect_process(server, pack);
    match (&args.log, &found) {
        (None, Err(_)) => pack.miss("log.txt", "the server is not here; name its log with --log"),
        (file, _) => machine::collect_log(file.as_deref(), pack),
    }
    let dir = directory(args, found, pack);
    if let Some(dir) = &dir {
        directory::collect(dir, pack);
    }
    let dir = dir.unwrap_or_else(|| PathBuf::from("."));
    pack.json("doctor.json", || {
        Ok(serde_json::to_value(doctor::checks(&dir)?)?)
    });
}

fn settings(file: Option<&Path>) -> anyhow::Result<Settings> {
    let sources = match file {
        Some(file) => Sources::of_file(file),
        None => Sources::new(&Flags::default()),
    };
    sources.decide(|_config| Vec::new())
}

fn admin(args: &Args, config: Option<&Config>) -> Option<String> {
    let named = args.admin.clone();
    named.or_else(|| config.map(|config| config.admin.to_string()))
}

/// What the command line says, else what was found; why there is none is told.
fn directory(
    args: &Args,
    found: anyhow::Result<Option<PathBuf>>,
    pack: &mut Pack,
) -> Option<PathBuf> {
    if args.data_dir.is_some() {
        return args.data_dir.clone();
    }
    match found {
        Ok(Some(dir)) => return Some(dir),
        Ok(None) => pack.miss("data", "no directory is known; name it with --data-dir"),
        Err(doubt) => pack.miss("data", sentence(&doubt)),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second one of a second failed: a file was there that nobody had named.
    #[test]
    fn a_bundle_is_named_after_the_time_it_was_made_and_its_number_in_that_second() {
        let now = Timestamp::from_millis(1_800_000_000_123);
        for (number, name) in [
            (1, "corelog-bundle-20270115T080000.tar.gz"),
            (2, "corelog-bundle-20270115T080000-2.tar.gz"),
        ] {
            assert_eq!(default_path(now, number), Path::new(name));
        }
    }
}
