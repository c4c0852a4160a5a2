//! How other threads wake a worker that may have been started anew.
//!
//! Each life of a worker has its own [`Waker`]; a bell always rings the newest. Owns it behind a lock that only link
//! thread, lobby and a starting worker take, never a running one.

use crate::io::Waker;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Default)]
pub struct Bell(Arc<Mutex<Option<Waker>>>);

impl Bell {
    /// A worker begins a life.
    pub fn hang(&self, waker: Waker) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// Makes the worker look at its queues. One that is not alive looks when it starts.
    pub fn wake(&self) {
        if let Some(waker) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake();
        }
    }
}
