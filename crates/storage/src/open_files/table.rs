//! A bounded table of things that are held: the least recently used goes first.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// Something that holds what a table counts.
pub(crate) trait Holder {
    /// Lets go of what is held, unless somebody uses it. Returns whether it did. It is called with
    /// the table borrowed, and must not use it.
    fn let_go(&self) -> bool;

    /// Where in the table it is; the table keeps this up to date.
    fn place(&self) -> &Place;
}

/// Where in a table a holder is, if it is.
#[derive(Debug, Default)]
pub(crate) struct Place(Cell<Option<u64>>);

/// See the [module](self).
pub(crate) struct Table {
    max: usize,
    used: usize,
    /// Counts uses: the key of the latest.
    clock: u64,
    /// By last use.
    entries: BTreeMap<u64, Entry>,
}

struct Entry {
    holder: Weak<dyn Holder>,
    weight: usize,
}

impl Table {
    /// A table that holds up to `max`, in whatever its weights count.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            used: 0,
            clock: 0,
            entries: BTreeMap::new(),
        }
    }

    /// How much is held or reserved.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Changes how much may be held, and lets go of what is too much.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        while self.max < self.used && self.shrink(self.max) {}
    }

    /// Makes room for something of this weight and counts it. Goes beyond the limit if the rest is
    /// in use.
    pub(crate) fn reserve(&mut self, weight: usize) {
        self.shrink(self.max.saturating_sub(weight));
        self.used += weight;
    }

    /// Gives back what was reserved.
    pub(crate) fn cancel(&mut self, weight: usize) {
        assert!(weight <= self.used, "what is given back was reserved");
        self.used -= weight;
    }

    /// Takes in a holder whose weight was reserved, as the latest used.
    pub(crate) fn insert(&mut self, holder: &Rc<impl Holder + 'static>, weight: usize) {
        assert!(holder.place().0.get().is_none(), "it is in the table once");
        let holder: Weak<dyn Holder> = Rc::downgrade(&(Rc::clone(holder) as Rc<dyn Holder>));
        self.put(Entry { holder, weight });
    }

    /// Notes that a holder is used.
    pub(crate) fn touch(&mut self, place: &Place) {
        if let Some(key) = place.0.get().filter(|key| *key != self.clock)
            && let Some(entry) = self.entries.remove(&key)
        {
            self.put(entry);
        }
    }

    /// Forgets a holder: it has let go by itself.
    pub(crate) fn remove(&mut self, place: &Place) {
        if let Some(entry) = place.0.take().and_then(|key| self.entries.remove(&key)) {
            self.cancel(entry.weight);
        }
    }

    /// Lets go of a quarter of what is held, because the system has less than the limit says.
    pub(crate) fn shed(&mut self) {
        self.shrink(self.used - self.used.div_ceil(4));
    }

    /// Lets go until no more than `max` is held, or the next few are in use. Returns whether it let
    /// go of anything.
    fn shrink(&mut self, max: usize) -> bool {
        let (mut in_use, mut has_let_go) = (0, false);
        while max < self.used && in_use < IN_USE_MAX.min(self.entries.len()) {
            let Some((_, entry)) = self.entries.pop_first() else {
                break;
            };
            let holder = entry.holder.upgrade();
            if holder.as_ref().is_some_and(|holder| !holder.let_go()) {
                // What is in use now is used last.
                in_use += 1;
                self.put(entry);
                continue;
            }
            if let Some(holder) = holder {
                holder.place().0.set(None);
            }
            self.cancel(entry.weight);
            has_let_go = true;
        }
        has_let_go
    }

    fn put(&mut self, entry: Entry) {
        self.clock += 1;
        if let Some(holder) = entry.holder.upgrade() {
            holder.place().0.set(Some(self.clock));
        }
        self.entries.insert(self.clock, entry);
    }
}

/// So many holders are asked in vain before a limit is overstepped: a search through thousands would
/// cost more than a file too many.
const IN_USE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Thing {
        place: Place,
        is_held: Cell<bool>,
        is_used: Cell<bool>,
    }

    impl Holder for Thing {
        fn let_go(&self) -> bool {
            if !self.is_used.get() {
                self.is_held.set(false);
            }
            !self.is_used.get()
        }

        fn place(&self) -> &Place {
            &self.place
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// Opens it, or touches it if it is held.
        Use(usize),
        Pin(usize, bool),
        Close(usize),
        Limit(usize),
        Shed,
    }

    const THINGS: usize = 12;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let thing = 0..THINGS;
        let step = prop_oneof![
            6 => thing.clone().prop_map(Step::Use),
            2 => (thing.clone(), any::<bool>()).prop_map(|(thing, is_used)| Step::Pin(thing, is_used)),
            1 => thing.prop_map(Step::Close),
            1 => (0..2 * THINGS).prop_map(Step::Limit),
            1 => Just(Step::Shed),
        ];
        proptest::collection::vec(step, 50..200)
    }

    /// What the table should hold: things by last use, with their weights.
    #[derive(Default)]
    struct Model {
        max: usize,
        held: Vec<usize>,
    }

    impl Model {
        fn used(&self) -> usize {
            self.held.iter().map(|thing| weight(*thing)).sum()
        }

        fn shrink(&mut self, max: usize, is_used: impl Fn(usize) -> bool) {
            let mut in_use = Vec::new();
            while max < self.used() && in_use.len() < self.held.len() {
                match self.held.remove(0) {
                    thing if is_used(thing) => {
                        in_use.push(thing);
                        self.held.push(thing);
                    }
                    _ => {}
                }
            }
        }
    }

    fn weight(thing: usize) -> usize {
        1 + thing % 3
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_goes_was_used_least_recently_and_is_not_in_use(steps in steps()) {
            let things: Vec<Rc<Thing>> = (0..THINGS).map(|_| Rc::default()).collect();
            let mut table = Table::new(8);
            let mut model = Model { max: 8, held: Vec::new() };
            for step in steps {
                let is_used = |thing: usize| things[thing].is_used.get();
                let was_in_use: Vec<_> =
                    things.iter().map(|thing| thing.is_held.get() && thing.is_used.get()).collect();
                let was_held: Vec<_> = things.iter().map(|thing| thing.is_held.get()).collect();
                match step {
                    Step::Use(thing) if was_held[thing] => {
                        table.touch(&things[thing].place);
                        model.held.retain(|other| *other != thing);
                        model.held.push(thing);
                    }
                    Step::Use(thing) => {
                        table.reserve(weight(thing));
                        things[thing].is_held.set(true);
                        table.insert(&things[thing], weight(thing));
                        model.shrink(model.max.saturating_sub(weight(thing)), is_used);
                        model.held.push(thing);
                    }
                    Step::Pin(thing, is_used) => things[thing].is_used.set(is_used),
                    Step::Close(thing) => {
                        things[thing].is_held.set(false);
                        table.remove(&things[thing].place);
                        model.held.retain(|other| *other != thing);
                        continue;
                    }
                    Step::Limit(max) => {
                        table.set_max(max);
                        model.max = max;
                        model.shrink(max, is_used);
                    }
                    Step::Shed => {
                        let used = model.used();
                        table.shed();
                        model.shrink(used - used.div_ceil(4), is_used);
                    }
                }
                for (thing, was_in_use) in things.iter().zip(was_in_use) {
                    prop_assert!(thing.is_held.get() || !was_in_use, "it was in use and went");
                }
                prop_assert_eq!(table.used(), model.used());
                for (number, thing) in things.iter().enumerate() {
                    prop_assert_eq!(thing.is_held.get(), model.held.contains(&number));
                    prop_assert_eq!(thing.place.0.get().is_some(), thing.is_held.get());
                }
                let fresh = match step {
                    Step::Use(thing) if !was_held[thing] => Some(thing),
                    Step::Limit(_) => None,
                    _ => continue,
                };
                let others = model.held.iter().filter(|thing| Some(**thing) != fresh);
                let can_go = others.map(|thing| is_used(*thing)).any(|is_used| !is_used);
                prop_assert!(table.used() <= model.max || !can_go, "it could have made room");
            }
        }
    }

    #[test]
    fn a_holder_that_is_gone_leaves_no_trace() {
        let mut table = Table::new(2);
        let thing = Rc::<Thing>::default();
        table.reserve(1);
        table.insert(&thing, 1);
        table.remove(&thing.place);
        assert_eq!((table.used(), table.entries.len()), (0, 0));
        table.remove(&thing.place);
        table.reserve(1);
        table.cancel(1);
        assert_eq!(table.used(), 0);
    }
}
