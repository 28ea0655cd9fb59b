//! Tests of all formats together: bytes that never change, round trips, hostile input.

mod golden;
mod hostile;
mod manifest;
mod roundtrip;
mod samples;
mod state;
