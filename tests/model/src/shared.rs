//! A value that many states have in common, with its hash: most events leave it as it is.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use foldhash::quality::FixedState;

/// See the module's documentation.
#[derive(Debug)]
pub struct Shared<T> {
    value: Arc<T>,
    hash: u64,
    is_fresh: bool,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            hash: self.hash,
            is_fresh: self.is_fresh,
        }
    }
}

impl<T: Hash + Clone> Shared<T> {
    /// Shares it.
    pub fn new(value: T) -> Self {
        let hash = FixedState::default().hash_one(&value);
        Self {
            value: Arc::new(value),
            hash,
            is_fresh: true,
        }
    }

    /// Changes it, for this state alone.
    pub fn change<R>(&mut self, how: impl FnOnce(&mut T) -> R) -> R {
        let value = Arc::make_mut(&mut self.value);
        let result = how(value);
        self.hash = FixedState::default().hash_one(&*value);
        self.is_fresh = true;
        result
    }

    /// Whether it was changed since it was last so.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// From now on it isn't.
    pub fn settle(&mut self) {
        self.is_fresh = false;
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
