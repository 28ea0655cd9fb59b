//! The room of verification: holding the files of a node against all that is written down of them,
//! without a server and changing nothing.
//!
//! ```text
//! survey(PATH) ─▶ findings of what is small (names, lengths, manifests, marks, topic and node files)
//!              └▶ a StoreCheck for each store ─▶ run, on as many threads as one likes ─▶ findings
//! ```
//!
//! Lives here: [`survey`], which looks at a directory of any kind or at one store; [`StoreCheck`],
//! which reads one store with its index; [`Finding`], what there is to say. Never lives here: threads,
//! printing, and any repair.
//!
//! Laws kept: nothing is written. A server may be running: what its log does not name any more, or
//! names otherwise, when something is found, is no finding, nor is a topic or a snapshot that is gone
//! by then, or another one of its name; behind the mark, an end that is being written is none either, nor a
//! store that a server has not named yet, or names no more.

mod ending;
mod finding;
mod node;
mod partition;
mod rows;
mod snapshot;
mod store;
mod subject;
mod survey;
mod walker;

pub use finding::{Finding, Grade, What};
pub use node::is_unfinished;
pub use partition::tells_of;
pub use store::{Checked, Hooks, LookInto, StoreCheck};
pub use survey::{Survey, survey};

#[cfg(test)]
mod tests;
