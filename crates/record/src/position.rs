//! Positions count bytes in a store.

crate::counter::counter!(
    /// A byte's place in a store file, from its beginning.
    Position,
    "position"
);
