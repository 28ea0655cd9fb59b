//! Whether a server that nobody says anything to finds the memory that it may come to take on this machine.

use corelog_node::NodeConfig;
use corelog_record::ByteSize;

use super::check::Check;
use crate::memory;

/// What is left, against what so many cores take at most as they are set where nobody says otherwise.
pub(super) fn left(cores: usize) -> Check {
    let node = NodeConfig::new("");
    let each = node.tail_memory.saturating_add(node.traffic_memory);
    judged(
        memory::missing(each, cores),
        memory::wanted(each, cores),
        cores,
    )
}

fn judged(missing: Option<String>, wanted: usize, cores: usize) -> Check {
    const NAME: &str = "memory";
    match missing {
        None => {
            let most = ByteSize::from_bytes(wanted as u64);
            Check::good(
                NAME,
                format!("enough for {most}, which {cores} cores take at most"),
            )
        }
        Some(why) => Check::fair(
            NAME,
            format!("{why}; a server that runs here has taken some of it"),
            "corelog serve with fewer --cores, or less --traffic-memory (198MiB or more)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn too_little_memory_is_fair_and_says_what_to_choose() {
        assert_eq!(judged(None, 1 << 30, 1).verdict, Verdict::Good);
        let check = judged(Some("2 cores may come to take".to_owned()), 1 << 30, 2);
        assert_eq!(check.verdict, Verdict::Fair);
        assert!(check.mend.unwrap().contains("--traffic-memory"));
    }
}
