//! The Produces of a connection: most have the head of the one before, which is read once for all of them.

use corelog_protocol::frame::{Frame, FrameError};
use corelog_protocol::message::produce;
use corelog_protocol::request::Request;

/// A longer head has keys that no Produce has, and is read each time.
const HEAD_BYTES_MAX: usize = 512;

/// The last Produce of a connection, as far as its head goes.
#[derive(Default)]
pub(super) struct LastProduce {
    /// Empty if it was long.
    head: Vec<u8>,
    request: Option<produce::Request>,
}

impl LastProduce {
    /// What a frame asks whose kind is Produce.
    ///
    /// # Errors
    /// As [`Request::decode`].
    pub(super) fn of(&mut self, frame: &Frame<'_>) -> Result<&produce::Request, FrameError> {
        let is_known = !frame.head.is_empty() && self.head == frame.head;
        let request = match self.request.take().filter(|_| is_known) {
            Some(request) => request,
            None => self.read(frame)?,
        };
        Ok(self.request.insert(request))
    }

    fn read(&mut self, frame: &Frame<'_>) -> Result<produce::Request, FrameError> {
        self.head.clear();
        let Request::Produce(request) = Request::decode(frame)? else {
            unreachable!("a kind has one request");
        };
        if frame.head.len() <= HEAD_BYTES_MAX {
            self.head.extend_from_slice(frame.head);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
    use corelog_protocol::limits::FRAME_BYTES_MAX;
    use corelog_protocol::request;
    use corelog_record::{PartitionId, TopicId};

    use super::*;

    fn asked(partition: u32) -> produce::Request {
        produce::Request {
            topic: "t".parse().expect("a name"),
            id: TopicId::from_bytes([1; 16]),
            partition: PartitionId::new(partition),
            level: None,
            run: 0,
        }
    }

    fn framed(partition: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let correlation = CorrelationId::new(1);
        request::encode(correlation, &asked(partition), 0, &mut bytes).expect("a frame");
        bytes
    }

    fn frame(bytes: &[u8]) -> Frame<'_> {
        match Decoder::requests(FRAME_BYTES_MAX).peek(bytes) {
            Ok(Peek::Frame(frame)) => frame,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_is_what_its_own_head_says() {
        let (mut last, frames) = (LastProduce::default(), [framed(0), framed(1)]);
        for partition in [0, 0, 1, 1, 0] {
            let frame = frame(&frames[partition as usize]);
            assert_eq!(last.of(&frame).expect("a Produce"), &asked(partition));
        }
    }

    #[test]
    fn what_has_the_head_of_the_one_before_is_not_read_again() {
        let (mut last, bytes) = (LastProduce::default(), framed(0));
        last.of(&frame(&bytes)).expect("a Produce");
        last.request = Some(asked(7));
        assert_eq!(last.of(&frame(&bytes)).expect("a Produce"), &asked(7));
    }

    #[test]
    fn behind_one_that_cannot_be_read_each_is_read_anew() {
        let (mut last, bytes) = (LastProduce::default(), framed(0));
        let good = frame(&bytes);
        let bad = Frame { head: &[], ..good };
        for _ in 0..2 {
            last.of(&good).expect("a Produce");
            assert!(last.of(&bad).is_err());
            assert!(last.of(&bad).is_err(), "nothing is known of it");
        }
    }

    #[test]
    fn a_head_that_is_long_for_a_produce_is_not_kept() {
        let (mut last, bytes) = (LastProduce::default(), framed(0));
        // One key more, by MessagePack's format: in a map of few, a text of one byte, and one of 0x200.
        let mut head = frame(&bytes).head.to_vec();
        head[0] += 1;
        head.extend_from_slice(&[0xa1, b'x', 0xda, 2, 0]);
        head.resize(head.len() + 0x200, b'x');
        let long = Frame {
            head: &head,
            ..frame(&bytes)
        };
        for _ in 0..2 {
            assert_eq!(last.of(&long).expect("a Produce"), &asked(0));
            assert_eq!(last.head.capacity(), 0);
        }
        let none = Frame { head: &[], ..long };
        assert!(last.of(&none).is_err(), "an empty head is nobody's");
    }
}
