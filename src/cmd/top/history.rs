//! What the last polls showed, for drawings over time.

use super::picture::Picture;

/// Series of what was seen, the newest last; what was not known has a hole.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) records: Vec<Option<f64>>,
    pub(super) in_bytes: Vec<Option<f64>>,
    pub(super) out_bytes: Vec<Option<f64>>,
    pub(super) sync_p99_us: Vec<Option<f64>>,
    busy: Vec<Vec<Option<f64>>>,
}

/// More columns than a terminal has.
const LENGTH_MAX: usize = 512;

impl History {
    /// Takes in what a picture shows, and gives each core what was seen of it before.
    pub(super) fn see(&mut self, picture: &mut Picture) {
        let totals = &picture.totals;
        push(&mut self.records, totals.records_per_s);
        push(&mut self.in_bytes, totals.in_bytes_per_s);
        push(&mut self.out_bytes, totals.out_bytes_per_s);
        push(&mut self.sync_p99_us, totals.sync_p99_us);
        self.busy.resize(picture.cores.len(), Vec::new());
        for (core, series) in picture.cores.iter_mut().zip(&mut self.busy) {
            push(series, core.busy);
            core.busy_before.clone_from(series);
        }
    }

    /// The node was not there: a hole in all series.
    pub(super) fn miss(&mut self) {
        let own = [
            &mut self.records,
            &mut self.in_bytes,
            &mut self.out_bytes,
            &mut self.sync_p99_us,
        ];
        own.into_iter()
            .chain(&mut self.busy)
            .for_each(|series| push(series, None));
    }
}

fn push(series: &mut Vec<Option<f64>>, point: Option<f64>) {
    if series.len() == LENGTH_MAX {
        series.remove(0);
    }
    series.push(point);
}
