//! Space of a file, made a step ahead of what is written, beside it: a group waits for the part alone that it comes to.

use std::cell::Cell;
use std::io::Result;
use std::ops::Range;
use std::rc::Rc;

use glommio::io::DmaFile;
use glommio::spawn_local;
use glommio::sync::Semaphore;

/// So much is made at once, once less than that is left.
const STEP_BYTES: u64 = 8 << 20;
/// It is zeroed in parts of this size.
pub(crate) const PART_BYTES: u64 = 512 << 10;

pub(crate) struct Space {
    file: Rc<DmaFile>,
    asked: u64,
    made: Rc<Made>,
}

struct Made {
    end: Cell<u64>,
    /// Told for each part.
    parts: Semaphore,
}

impl Space {
    pub(crate) fn of(file: &Rc<DmaFile>) -> Self {
        Self {
            file: Rc::clone(file),
            asked: 0,
            made: Rc::new(Made {
                end: Cell::new(0),
                parts: Semaphore::new(0),
            }),
        }
    }

    /// Waits until there is space up to `end`: allocated, and zeroed for small groups.
    pub(crate) async fn wait(&mut self, end: u64, is_zeroed: bool) {
        loop {
            let made = self.made.end.get();
            if made == self.asked && made < end + STEP_BYTES {
                self.asked = end + 2 * STEP_BYTES;
                let (file, made) = (Rc::clone(&self.file), Rc::clone(&self.made));
                spawn_local(make(file, made, self.asked, is_zeroed)).detach();
            }
            if end <= made {
                return;
            }
            self.made.parts.acquire(1).await.expect("open");
        }
    }
}

async fn make(file: Rc<DmaFile>, made: Rc<Made>, end: u64, is_zeroed: bool) {
    file.pre_allocate(end, false).await.expect("space");
    while made.end.get() < end {
        let from = made.end.get();
        let to = match is_zeroed {
            true => end.min(from + PART_BYTES),
            false => end,
        };
        if is_zeroed {
            zero(&file, from..to).await.expect("zeros");
        }
        made.end.set(to);
        made.parts.signal(1);
    }
}

pub(crate) async fn zero(file: &DmaFile, range: Range<u64>) -> Result<()> {
    let mut zeros = file.alloc_dma_buffer((range.end - range.start) as usize);
    zeros.as_bytes_mut().fill(0);
    file.write_at(zeros, range.start).await?;
    Ok(())
}
