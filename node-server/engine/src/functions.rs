//! Function libraries of other servers: texts that are kept and handed on, and never run. They come with an RDB stream
//! and go into every one that is written, so that a file or a full sync of others loses nothing by passing through here.
//! As in Redis they are no keys: FLUSHALL leaves them, and a stream that is loaded replaces them all.

use crate::Engine;
use crate::load::LoadError;
use parking_lot::Mutex;
use std::sync::Arc;

/// Most bytes that the texts have together. Redis has no such bound; a library is a program that somebody wrote.
pub(crate) const LIBRARIES_LEN_MAX: usize = 64 << 20;

/// All libraries, in the order in which they came.
pub(crate) type Libraries = Arc<Vec<Vec<u8>>>;

/// What an engine keeps of them.
#[derive(Debug, Default)]
pub(crate) struct Functions(Mutex<Libraries>);

impl Functions {
    /// One moment of it.
    pub(crate) fn all(&self) -> Libraries {
        Arc::clone(&self.0.lock())
    }

    /// These take the place of all that were there.
    pub(crate) fn replace(&self, libraries: Vec<Vec<u8>>) {
        *self.0.lock() = Arc::new(libraries);
    }
}

/// Those of a stream that is being read.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    libraries: Vec<Vec<u8>>,
    len: usize,
}

impl Arriving {
    pub(crate) fn add(&mut self, text: Vec<u8>) -> Result<(), LoadError> {
        self.len += text.len();
        if self.len > LIBRARIES_LEN_MAX {
            return Err(LoadError::Libraries);
        }
        self.libraries.push(text);
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.libraries.len()
    }

    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.libraries)
    }
}

impl Engine {
    /// How many function libraries are kept.
    #[must_use]
    pub fn libraries(&self) -> usize {
        self.functions.all().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_bounded_together() {
        let mut arriving = Arriving::default();
        let half = || vec![b'-'; LIBRARIES_LEN_MAX / 2];
        assert_eq!((arriving.add(half()), arriving.add(half())), (Ok(()), Ok(())));
        assert_eq!(arriving.add(vec![b'-']), Err(LoadError::Libraries));
    }
}
