//! The room of offline repair: a manifest and indexes from what the stores themselves tell.
//!
//! ```text
//! plan ─▶ Evidence (old manifest, mark, index headers) ─▶ walk of every store ─▶ which generation of
//!         each, in what order ─▶ a manifest in memory ─▶ Plan: what would be done ─▶ run
//! ```
//!
//! Lives here: [`plan`], which changes nothing and says all, and [`Plan::run`], which does it. Never
//! lives here: a guess. Where what is there does not tell what was, the plan is refused, and says
//! why.
//!
//! Laws kept: nothing is deleted: what is displaced gets another name, `<name>.old-<time>`. No bytes of
//! a store change. The manifest comes last, but for a mark that contradicts it: a repair that was interrupted is begun again.
//! No epoch that was ever begun is begun again.

mod choice;
mod damage;
mod epochs;
mod evidence;
mod mark;
mod plan;
mod rebuilt;
mod refusal;
mod walk;

pub use plan::{Known, Plan, Step, plan};
pub use refusal::Refusal;

#[cfg(test)]
mod tests;
