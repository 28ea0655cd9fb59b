//! What a producer sends on one connection: encoded batches, in a closed loop or when they are due.

use std::collections::VecDeque;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::contender::Produce;
use crate::pace::Schedule;

/// Encoded requests, one for each batch.
pub struct Requests {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Requests {
    pub fn new(requests: impl IntoIterator<Item = Vec<u8>>) -> Arc<Self> {
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        for request in requests {
            ranges.push(bytes.len()..bytes.len() + request.len());
            bytes.extend(request);
        }
        Arc::new(Self { bytes, ranges })
    }
}

/// The batches of a producer.
pub struct Sending {
    requests: Arc<Requests>,
    pub batch_records: u64,
    window: usize,
    schedule: Option<Schedule>,
    batches: u64,
    begun: u64,
    acked: u64,
    /// What of the present request is not sent yet.
    rest: Range<usize>,
    /// When those in flight were begun, or were due.
    at: VecDeque<Instant>,
}

impl Sending {
    pub fn new(
        requests: Arc<Requests>,
        load: &Produce,
        batches: u64,
        schedule: Option<Schedule>,
    ) -> Self {
        Self {
            requests,
            batch_records: load.batch_records as u64,
            window: load.window,
            schedule,
            batches,
            begun: 0,
            acked: 0,
            rest: 0..0,
            at: VecDeque::new(),
        }
    }

    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Whether anything is still to come.
    pub fn is_open(&self) -> bool {
        self.acked < self.batches
    }

    /// Begins no more batches.
    pub fn end(&mut self) {
        self.batches = self.begun;
    }

    /// When the next batch is due by the schedule, if there is one and a batch is left. While the kernel has yet to
    /// take the rest of the one before, none is.
    pub fn next_due(&self) -> Option<Instant> {
        let schedule = self.schedule.as_ref()?;
        let is_next = self.rest.is_empty() && self.begun < self.batches;
        is_next.then(|| schedule.due(self.begun))
    }

    /// From when on the next batch counts, if it may be sent `now`: because it is due, or the window has room.
    fn next_from(&self, now: Instant) -> Option<Instant> {
        match &self.schedule {
            Some(_) => self.next_due().filter(|due| *due <= now),
            None => (self.begun < self.batches && self.at.len() < self.window).then_some(now),
        }
    }

    /// Sends all that may be; fails with `WouldBlock` if the kernel takes no more now.
    pub fn send(&mut self, mut stream: &mio::net::TcpStream) -> std::io::Result<()> {
        loop {
            if self.rest.is_empty() {
                let Some(from) = self.next_from(Instant::now()) else {
                    return Ok(());
                };
                let turn = self.begun as usize % self.requests.ranges.len();
                self.rest = self.requests.ranges[turn].clone();
                self.begun += 1;
                self.at.push_back(from);
            }
            self.rest.start += stream.write(&self.requests.bytes[self.rest.clone()])?;
        }
    }

    /// From when on the next batch counts that is acknowledged, if so many records in all make it one.
    pub fn acked(&mut self, records: u64) -> Option<Instant> {
        let is_whole = (self.acked + 1) * self.batch_records <= records;
        let from = self.at.pop_front_if(|_| is_whole)?;
        self.acked += 1;
        Some(from)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::contender::Level;

    fn sending(schedule: Option<Schedule>) -> Sending {
        let load = Produce {
            level: Level::Durable,
            record_bytes: 8,
            batch_records: 1,
            clients: 1,
            partitions: 1,
            window: 2,
            batches: 9,
            rate: None,
            seconds_max: 1.0,
        };
        let requests = Requests::new([vec![0; 8]]);
        Sending::new(requests, &load, load.batches, schedule)
    }

    /// Begins what may be sent `now`; gives from when on each counts.
    fn begin(sending: &mut Sending, now: Instant) -> Vec<Instant> {
        while let Some(from) = sending.next_from(now) {
            sending.begun += 1;
            sending.at.push_back(from);
        }
        sending.at.iter().copied().collect()
    }

    #[test]
    fn an_open_loop_counts_all_that_a_stall_held_up_from_when_it_was_due() {
        let begin_at = Instant::now();
        let mut sending = sending(Some(Schedule::new(begin_at, 100.0, (0, 1))));
        let at = |ms| begin_at + Duration::from_millis(ms);
        let counted = begin(&mut sending, at(45));
        assert_eq!(counted, [0, 10, 20, 30, 40].map(at));
        assert_eq!(sending.next_due(), Some(at(50)));
        assert_eq!(begin(&mut sending, at(900)).len(), 9);
        assert_eq!(sending.next_due(), None);
    }

    #[test]
    fn a_closed_loop_sends_while_its_window_has_room() {
        let (now, mut sending) = (Instant::now(), sending(None));
        assert_eq!(begin(&mut sending, now), [now; 2]);
        assert_eq!(sending.acked(0), None);
        assert_eq!(sending.acked(1), Some(now));
        assert_eq!(begin(&mut sending, now), [now; 2]);
        assert_eq!(sending.begun, 3);
    }
}
