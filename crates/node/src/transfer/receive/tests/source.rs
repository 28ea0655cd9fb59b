//! A source of segments that does as it is told.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use corelog_protocol::answer;
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::frame::{CorrelationId, Decoder, Peek};
use corelog_protocol::limits;
use corelog_protocol::message::{Call, copy_segments, hello, segments};
use corelog_protocol::request::Request;
use corelog_record::{HistoryId, Position};

use super::Copied;
use crate::follow::samples::greeting;

/// What a source does with a request for a segment, besides sending it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    /// Sends so many bytes, then the connection ends.
    Cut(u64),
    /// Sends so many bytes, then nothing more.
    Stall(u64),
    /// Sends nothing for so many milliseconds.
    Wait(u64),
    /// Sends the first so many bytes one by one, with pauses.
    Trickle(u64),
    /// Sends the first so many bytes in pieces of one byte.
    Crumble(u64),
    /// Turns a bit over at this position.
    Flip(u64),
    /// Sends so many bytes, then says this.
    Say(u64, ErrorCode),
    /// Sends a piece of a place that nobody asked for.
    Stray,
}

/// A node that has sealed segments.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) address: String,
    shared: Arc<Shared>,
}

struct Shared {
    copied: Copied,
    history: HistoryId,
    deeds: Mutex<VecDeque<Deed>>,
    /// The segments that were asked for, and from which position on.
    asked: Mutex<Vec<(u64, u64)>>,
    /// Bytes of a piece at most, as each of these requests had it.
    pieces: Mutex<Vec<u32>>,
}

impl Source {
    /// A source that does one of `deeds` for each request, and then nothing but what is asked.
    pub(super) fn new(copied: &Copied, deeds: &[Deed]) -> Self {
        Self::of(copied, copied.history, deeds)
    }

    /// The same, of a log of that history.
    pub(super) fn of(copied: &Copied, history: HistoryId, deeds: &[Deed]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            copied: copied.clone(),
            history,
            deeds: Mutex::new(deeds.iter().copied().collect()),
            asked: Mutex::default(),
            pieces: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        Self { address, shared }
    }

    pub(super) fn asked(&self) -> Vec<(u64, u64)> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Bytes of a piece at most, as each request had it.
    pub(super) fn pieces(&self) -> Vec<u32> {
        self.shared.pieces.lock().unwrap().clone()
    }
}

impl Shared {
    /// Serves a connection until one of both ends it.
    fn serve(&self, mut stream: TcpStream) {
        let decoder = Decoder::requests(limits::FRAME_BYTES_MAX);
        let mut received = Vec::new();
        loop {
            let request = match decoder.peek(&received).unwrap() {
                Peek::Frame(frame) => {
                    let (correlation, total) =
                        (frame.header.correlation, frame.header.total_bytes());
                    let request = Request::decode(&frame).unwrap();
                    received.drain(..total);
                    Some((correlation, request))
                }
                Peek::Need(_) => None,
            };
            let goes_on = match request {
                Some((correlation, request)) => self.answer(&mut stream, correlation, &request),
                None => {
                    let mut buffer = [0; 4_096];
                    let read = stream.read(&mut buffer).unwrap_or(0);
                    received.extend_from_slice(&buffer[..read]);
                    read > 0
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    fn answer(
        &self,
        stream: &mut TcpStream,
        correlation: CorrelationId,
        request: &Request,
    ) -> bool {
        let mut out = Vec::new();
        match request {
            Request::Hello(_) => {
                let answer = greeting();
                answer::encode_ok::<hello::Request>(correlation, &answer, 0, &mut out).unwrap();
            }
            Request::Segments(_) => {
                let answer = self.copied.told(self.history);
                answer::encode_ok::<segments::Request>(correlation, &answer, 0, &mut out).unwrap();
            }
            Request::CopySegments(request) => {
                return self.copy(stream, correlation, request).is_some();
            }
            other => panic!("a receiver does not ask {other:?}"),
        }
        stream.write_all(&out).is_ok()
    }

    /// Sends what was asked for, as it was told to; `None` if that ends the connection.
    fn copy(
        &self,
        stream: &mut TcpStream,
        correlation: CorrelationId,
        request: &copy_segments::Request,
    ) -> Option<()> {
        let part = &request.parts[0];
        let (base, mut position) = (part.segment.get(), part.position.get());
        self.asked.lock().unwrap().push((base, position));
        self.pieces.lock().unwrap().push(request.piece_bytes_max);
        let deed = self.deeds.lock().unwrap().pop_front();
        if let Some(Deed::Wait(millis)) = deed {
            thread::park_timeout(Duration::from_millis(millis));
        }
        let mut bytes = self.copied.bytes(part.segment);
        if let Some(Deed::Flip(at)) = deed {
            bytes[usize::try_from(at).unwrap()] ^= 4;
        }
        let whole = bytes.len() as u64;
        let end = match deed {
            Some(Deed::Cut(bytes) | Deed::Stall(bytes) | Deed::Say(bytes, _)) => {
                whole.min(position + bytes)
            }
            _ => whole,
        };
        // Whoever is cut is cut within a piece.
        let is_within = matches!(deed, Some(Deed::Cut(_) | Deed::Stall(_)));
        while position < end {
            let piece_bytes = match deed {
                Some(Deed::Crumble(bytes)) if position < bytes => 1,
                _ => PIECE_BYTES,
            };
            let piece_end = whole.min(position + piece_bytes);
            let told = match deed {
                Some(Deed::Stray) => position + 1,
                _ => position,
            };
            let answer = copy_segments::Answer {
                segment: part.segment,
                generation: part.generation,
                position: Position::new(told).unwrap(),
                bytes: u32::try_from(piece_end - position).unwrap(),
                is_final: piece_end == whole,
            };
            let sent = if is_within {
                piece_end.min(end)
            } else {
                piece_end
            };
            let range = usize::try_from(position).unwrap()..usize::try_from(sent).unwrap();
            let mut out = Vec::new();
            let body = usize::try_from(piece_end - position).unwrap();
            answer::encode_ok::<copy_segments::Request>(correlation, &answer, body, &mut out)
                .unwrap();
            stream.write_all(&out).ok()?;
            let mut rest = &bytes[range];
            if let Some(Deed::Trickle(bytes)) = deed.filter(|_| position == 0) {
                let (trickled, behind) = rest.split_at(usize::try_from(bytes).unwrap());
                rest = behind;
                for byte in trickled.chunks(1) {
                    stream.write_all(byte).ok()?;
                    thread::park_timeout(BETWEEN_BYTES);
                }
            }
            stream.write_all(rest).ok()?;
            position = piece_end;
        }
        match deed {
            Some(Deed::Cut(_)) => None,
            Some(Deed::Stall(_)) => {
                let _ = stream.read(&mut [0; 1]);
                None
            }
            Some(Deed::Say(_, code)) => {
                let mut out = Vec::new();
                let error = ErrorBody::new(code, "as it was told to");
                let kind = copy_segments::Request::KIND.number();
                answer::encode_err(kind, correlation, &error, &mut out).unwrap();
                stream.write_all(&out).ok()
            }
            _ => Some(()),
        }
    }
}

const PIECE_BYTES: u64 = 64 << 10;

/// Far less than any patience.
const BETWEEN_BYTES: Duration = Duration::from_millis(10);
