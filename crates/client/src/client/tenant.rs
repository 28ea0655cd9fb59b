//! Who has connections of its own.

use std::sync::Arc;

use super::Inner;
use crate::connection::User;

/// A user of the pool for as long as it is there. By the end of its connections a server learns that nobody waits for what was
/// asked over them.
#[derive(Debug)]
pub(crate) struct Tenant {
    client: Arc<Inner>,
    pub(crate) user: User,
}

impl Tenant {
    pub(crate) fn new(client: &Arc<Inner>) -> Self {
        let (client, user) = (Arc::clone(client), client.new_user());
        Self { client, user }
    }

    /// Another one of the same client.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.client)
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.client.pool.forget(self.user);
    }
}
