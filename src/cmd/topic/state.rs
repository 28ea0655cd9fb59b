//! The word for what may be done with a partition: one and the same in `topic describe` and in `top`.

use corelog_protocol::message::describe_topic::{Awaited, Partition, State};

use super::policy::word;

/// What a node tells of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// The node's own word, which metrics have too.
    pub(crate) word: &'a str,
    pub(crate) is_read_only: bool,
    /// Another node owns it now, and this one follows nobody.
    pub(crate) is_replaced: bool,
}

impl<'a> Told<'a> {
    /// The word that is shown, which has what the node's own leaves open; damage that keeps it from being written comes first.
    pub(crate) fn shown(self) -> &'a str {
        match self.word {
            "ok" | "damaged" if self.is_read_only => "read-only",
            "ok" if self.is_replaced => "replaced",
            word => word,
        }
    }
}

/// The node's own word, which the wire says in two: what is damaged and not open could not be opened.
pub(crate) fn own_word(partition: &Partition) -> String {
    match (partition.state, partition.closed) {
        (State::Damaged, true) => "failed".to_owned(),
        (state, _) => word(&state),
    }
}

/// Whom a partition waits for that serves nobody.
pub(crate) fn awaited(Awaited { address, owner }: &Awaited) -> String {
    match owner {
        Some(owner) => format!("{owner}, which owns it by what {address} has shown"),
        None => format!("{address}, which may own it by now"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::closed::tests::partition;
    use super::*;

    /// It was "rotten" to `top`, and "read-only" and "replaced" to that alone.
    #[test]
    fn a_partition_is_told_by_what_can_be_done_with_it() {
        let shown = |word, is_read_only, is_replaced| {
            let told = Told {
                word,
                is_read_only,
                is_replaced,
            };
            told.shown()
        };
        assert_eq!(shown("ok", false, false), "ok");
        assert_eq!(shown("ok", true, false), "read-only");
        assert_eq!(shown("damaged", true, true), "read-only");
        assert_eq!(shown("damaged", false, false), "damaged");
        assert_eq!(shown("full", true, false), "full");
        assert_eq!(shown("ok", false, true), "replaced");
    }

    #[test]
    fn what_could_not_be_opened_has_failed_and_what_is_served_around_damage_has_not() {
        let own = |bytes| own_word(&partition(0, State::Damaged, bytes));
        assert_eq!([own(None), own(Some(1))], ["failed", "damaged"]);
    }
}
