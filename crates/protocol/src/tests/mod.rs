//! Tests of the crate as a whole: frames with messages in them.

mod frames;
