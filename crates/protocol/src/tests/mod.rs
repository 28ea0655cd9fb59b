//! Tests of the crate as a whole: frames with messages in them.

mod any;
mod defaults;
mod frames;
mod hostile;
mod round_trips;
mod types;
