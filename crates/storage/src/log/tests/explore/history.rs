//! One run of an operation: what it did to the disk, and what was promised after each step.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::model::Model;
use super::super::world::{Disk, World};
use super::kind::Kind;
use crate::disk::memory::{Choices, CrashStates, MemoryDir, Step, Trace};
use crate::log::Options;

/// What was promised after so many operations of the disk, rising.
type Timeline = Rc<RefCell<Vec<(usize, Model)>>>;

/// Which operations a disk only says it did.
pub(in super::super) type Lie = fn(&Step) -> bool;

/// One recorded run.
pub(super) struct History {
    trace: Trace,
    timeline: Vec<(usize, Model)>,
    options: Options,
}

impl History {
    /// Runs an operation of `kind`, on a disk that only says that it did what `is_lie` names.
    pub(super) fn new(kind: Kind, seed: u64, is_lie: Lie) -> Self {
        let timeline = Timeline::default();
        let notes = Rc::clone(&timeline);
        let watch = move |disk: &Disk, model: &Model| {
            let (at, mut notes) = (disk.inner().recorded(), notes.borrow_mut());
            if notes.last().is_some_and(|(last, _)| *last == at) {
                notes.pop();
            }
            notes.push((at, model.clone()));
        };
        let mut world = kind.past(seed);
        world.disk.inner().record();
        world.watch = Some(Box::new(watch));
        world.advance();
        kind.run(&mut world);
        world.advance();
        let World { disk, options, .. } = world;
        let trace = disk.inner().trace();
        let mut timeline = timeline.take();
        for (at, _) in &mut timeline {
            *at -= trace.steps()[..*at]
                .iter()
                .filter(|step| is_lie(step))
                .count();
        }
        let trace = trace.without(is_lie);
        Self {
            trace,
            timeline,
            options,
        }
    }

    /// How the log behaved.
    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// How many operations of the disk there were.
    pub(super) fn len(&self) -> usize {
        self.trace.len()
    }

    /// What was promised when so many operations were done.
    pub(super) fn promised(&self, count: usize) -> &Model {
        let known = self.timeline.partition_point(|(at, _)| *at <= count);
        let (_, model) = &self.timeline[known - 1];
        model
    }

    /// The disks that a power cut may leave.
    pub(super) fn crash_states(&self, seed: u64) -> CrashStates {
        self.trace.crash_states(Choices {
            seed,
            ..Choices::default()
        })
    }

    /// The disk after so many operations, with all that was in doubt.
    pub(super) fn disk_after(&self, count: usize) -> MemoryDir {
        self.trace.disk_after(count)
    }
}
