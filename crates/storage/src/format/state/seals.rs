//! Segments that are sealed: one, or several at once.

use super::{Broken, State};
use crate::format::edit::Seal;

impl State {
    pub(super) fn seal(&mut self, seal: &Seal) -> Result<(), Broken> {
        let digest = &seal.digest;
        digest.check()?;
        let index = self.find(digest.base)?;
        if let Some(next) = self.segments.get(index + 1)
            && next.start() != digest.end()
        {
            return Err(Broken::Gap {
                expected: next.start(),
                found: digest.end(),
            });
        }
        if index + 1 == self.segments.len() {
            self.end_at(digest.end)?;
        }
        let segment = self.find_mut(digest.base)?;
        if segment.seal.is_some() {
            return Err(Broken::Sealed { base: digest.base });
        }
        if segment.start() != digest.start() {
            return Err(Broken::Digest { base: digest.base });
        }
        segment.seal = Some(seal.clone());
        Ok(())
    }

    /// All of them, or none.
    pub(super) fn seal_all(&mut self, seals: &[Seal]) -> Result<(), Broken> {
        for (count, seal) in seals.iter().enumerate() {
            if let Err(broken) = self.seal(seal) {
                seals.iter().take(count).for_each(|seal| self.unseal(seal));
                return Err(broken);
            }
        }
        Ok(())
    }

    fn unseal(&mut self, seal: &Seal) {
        if let Ok(segment) = self.find_mut(seal.digest.base) {
            segment.seal = None;
        }
    }
}
