//! A tiny replicated state machine: a map that a leader and a follower hold alike, because both apply
//! the same commands in the same order out of their logs.
//!
//! ```text
//! cargo run -p corelog-storage --example replicated_state_machine [FOLDER] [ROUNDS]
//! ```
//!
//! Kill it at any moment, as hard as you like, and run it again: each replica recovers its state from
//! its last checkpoint and the commands behind it, the follower catches up, and all goes on where it
//! stopped. Each command counts itself, so that a lost or doubled one would show.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use corelog_record::Offset;
use corelog_storage::Wal;
use corelog_storage::disk::std::StdDir;
use corelog_storage::disk::{Dir, block_on};
use corelog_storage::wal::Options;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(default_folder, PathBuf::from);
    let rounds: u64 = arguments.next().map_or(Ok(12), |rounds| rounds.parse())?;
    println!("replicas in {}", folder.display());
    let mut leader = Replica::open("leader", &folder)?;
    let mut follower = Replica::open("follower", &folder)?;
    follower.catch_up(&leader)?;
    for _ in 0..rounds {
        let from = leader.wal.log_end();
        for number in from.get()..from.get() + COMMANDS_A_ROUND {
            leader.propose(&format!("key-{} is {number}", number % 10))?;
        }
        // One sync for all of them; only now may anyone hear of them.
        leader.commit()?;
        let copied = follower.catch_up(&leader)?;
        println!(
            "acknowledged {}: {COMMANDS_A_ROUND} commands, {copied} copied to the follower",
            leader.applied
        );
        assert_eq!(leader.state, follower.state, "replicas hold the same");
        if leader.wal.readable().end.since(leader.wal.log_start()) >= CHECKPOINT_EVERY {
            leader.checkpoint()?;
            follower.checkpoint()?;
        }
    }
    println!("the state: {:?}", leader.state);
    leader.wal.close()?;
    follower.wal.close()?;
    Ok(())
}

/// One copy of the state, and the log that it follows from.
struct Replica {
    name: &'static str,
    dir: StdDir,
    wal: Wal,
    state: BTreeMap<String, String>,
    /// All commands below are in `state`.
    applied: Offset,
}

impl Replica {
    /// Recovers the replica in `folder`: its checkpoint, then what its log has behind it.
    fn open(name: &'static str, folder: &Path) -> Result<Self> {
        let path = folder.join(name);
        let (wal, report) = Wal::open(path.join("wal"), Options::default())?;
        let dir = StdDir::new(path);
        let (applied, state) = read_checkpoint(&dir)?;
        let mut replica = Self {
            name,
            dir,
            wal,
            state,
            applied,
        };
        let replayed = replica.apply_log()?;
        println!(
            "{name}: a checkpoint of {applied} commands and {replayed} from the log, {} in all{}",
            replica.applied,
            match report.is_clean {
                true => "",
                false => ", after a crash",
            }
        );
        Ok(replica)
    }

    /// Appends a command. Nothing has happened yet: it is neither durable nor applied.
    fn propose(&mut self, command: &str) -> Result<()> {
        self.wal.append(command.as_bytes())?;
        Ok(())
    }

    /// Makes all proposed commands durable, then applies them.
    fn commit(&mut self) -> Result<()> {
        self.wal.sync()?;
        self.apply_log()?;
        Ok(())
    }

    /// Applies what is durable and was not applied yet. Returns how many commands.
    fn apply_log(&mut self) -> Result<u64> {
        let mut count = 0;
        let mut reader = self.wal.reader(self.applied);
        while let Some(entry) = reader.read_next()? {
            assert_eq!(entry.offset, self.applied, "commands come without a gap");
            apply(&mut self.state, std::str::from_utf8(entry.value)?)?;
            self.applied = entry.offset.plus(1);
            count += 1;
        }
        Ok(count)
    }

    /// Copies what the leader has and this one has not. Returns how many commands.
    fn catch_up(&mut self, leader: &Self) -> Result<u64> {
        // What the leader does not have was never acknowledged by it.
        if leader.wal.log_end() < self.wal.log_end() {
            self.wal.truncate_suffix(leader.wal.log_end())?;
        }
        let mut count = 0;
        let mut reader = leader.wal.reader(self.wal.log_end());
        while let Some(entry) = reader.read_next()? {
            let offset = self.wal.append(entry.value)?;
            assert_eq!(
                offset, entry.offset,
                "a copy has the offsets of the original"
            );
            count += 1;
        }
        self.commit()?;
        Ok(count)
    }

    /// Writes the state beside the log, durably; the commands that it holds are then not needed.
    fn checkpoint(&mut self) -> Result<()> {
        let lines = self
            .state
            .iter()
            .map(|(key, value)| format!("{key} is {value}\n"));
        let text = format!("{}\n{}", self.applied, lines.collect::<String>());
        block_on(self.dir.write_aside(CHECKPOINT, text.as_bytes()))?;
        self.wal.truncate(self.applied)?;
        println!("{}: a checkpoint of {} commands", self.name, self.applied);
        Ok(())
    }
}

/// Applies a command: `KEY is VALUE`. Counts it, too.
fn apply(state: &mut BTreeMap<String, String>, command: &str) -> Result<()> {
    let (key, value) = command.split_once(" is ").ok_or("not a command")?;
    state.insert(key.to_owned(), value.to_owned());
    let count = state
        .get("commands")
        .map_or(Ok(0), |count| count.parse::<u64>())?
        + 1;
    state.insert("commands".to_owned(), count.to_string());
    Ok(())
}

/// The last checkpoint: how many commands it holds, and the state. An empty one if there is none.
fn read_checkpoint(dir: &StdDir) -> Result<(Offset, BTreeMap<String, String>)> {
    let bytes = match block_on(dir.read(CHECKPOINT, 1 << 20)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8(bytes)?;
    let mut lines = text.lines();
    let applied = lines.next().ok_or("an empty checkpoint")?.parse()?;
    let applied = Offset::new(applied).ok_or("a checkpoint of too much")?;
    let pairs = lines.filter_map(|line| line.split_once(" is "));
    let state = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok((applied, state.collect()))
}

fn default_folder() -> PathBuf {
    std::env::temp_dir().join("corelog-replicated-state-machine")
}

const CHECKPOINT: &str = "checkpoint";
const COMMANDS_A_ROUND: u64 = 10;
const CHECKPOINT_EVERY: u64 = 50;
