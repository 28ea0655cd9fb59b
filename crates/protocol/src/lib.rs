//! Corelog's wire protocol, without any I/O: bytes in, values out, and back.
//!
//! `PROTOCOL.md` beside this crate draws every byte and every key; a client can be written from
//! it alone. What this crate does is exactly what that page says.
//!
//! | room        | what lives there                                                            |
//! |-------------|-----------------------------------------------------------------------------|
//! | [`frame`]   | the 20-byte prefix, its checksum, cutting frames out of a caller's buffer   |
//! | [`head`]    | MessagePack heads: bounds first, meaning second                             |
//! | [`message`] | one module per frame kind: its `Request` and its `Answer`                   |
//! | [`request`], [`answer`] | a whole frame from a message, a message from a whole frame      |
//! | [`error`]   | what goes over the wire when a request fails: code, text, detail            |
//! | [`limits`]  | every limit, each with its reason                                           |
//!
//! Never here: a socket, a clock, a thread, a retry, a decoded record. Batches travel as the bytes
//! they are (`corelog-record` knows them).
//!
//! The law of the crate: **check before trust**. A length is compared with its limit before
//! anything is allocated for it, a checksum is compared before anything is understood, and no
//! input makes this crate panic or allocate more than the input's own size justifies.

pub mod answer;
pub mod error;
pub mod frame;
pub mod head;
pub mod kind;
pub mod limits;
pub mod message;
pub mod request;

#[cfg(test)]
mod tests;
