//! What a manifest remembers of damage, and when it forgets.

use corelog_record::Offset;

use super::{Segment, State};
use crate::format::damage::{Damage, Known, place};

impl State {
    /// The damage that it remembers, of what is still there, lowest first.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        let settings = self.settings.iter();
        let all = settings.filter_map(|(key, to)| Damage::of(key, to));
        let is_there =
            |damage: &Damage| self.find(damage.segment).is_ok() && self.log_start < damage.to;
        // Ranges that are told as one by now stand beside it until the log has let go of them.
        all.filter(is_there).collect::<Known>().to_vec()
    }

    /// Forgets damage of segments that are gone, in order.
    pub(super) fn forget_damage_of(&mut self, gone: &[Segment]) {
        let is_gone = |base: Offset| gone.binary_search_by_key(&base, |it| it.base).is_ok();
        let is_stale = |key: &str| place(key).is_some_and(|(base, _)| is_gone(base));
        self.settings.retain(|key, _| !is_stale(key));
    }

    /// Forgets damage from `offset` on: other bytes will stand there.
    pub(super) fn cut_damage(&mut self, offset: Offset) {
        let is_cut = |key: &str| place(key).is_some_and(|(_, from)| offset <= from);
        self.settings.retain(|key, _| !is_cut(key));
        for (key, to) in &mut self.settings {
            if Damage::of(key, to).is_some_and(|damage| offset < damage.to) {
                *to = offset.to_string();
            }
        }
    }
}
