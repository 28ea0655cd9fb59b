//! Tests of whole batches.
