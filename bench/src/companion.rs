//! A thread that does something on a CPU beside what is measured there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use crate::net;

/// It does its turn again and again. Dropping it ends it, once that turn is over.
#[derive(Debug)]
pub(crate) struct Companion {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Companion {
    /// Starts one on `cpu`, which gets `ready` first.
    ///
    /// # Errors
    /// When the thread cannot be started, the machine has no such CPU, or it does not get ready.
    pub(crate) fn start(
        name: &str,
        cpu: usize,
        ready: impl FnOnce() -> io::Result<()> + Send + 'static,
        mut turn: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let over = Arc::<AtomicBool>::default();
        let (is_over, (told, heard)) = (over.clone(), channel());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let began = net::pin(cpu).and_then(|()| ready());
            let is_there = began.is_ok();
            // Whoever asked waits for this.
            let _ = told.send(began);
            while is_there && !is_over.load(Ordering::Relaxed) {
                turn();
            }
        })?;
        let companion = Self { over, thread: Some(thread) };
        heard.recv().map_err(io::Error::other)??;
        Ok(companion)
    }

    /// One that takes as much of a CPU as whoever else is there.
    ///
    /// # Errors
    /// As [`Companion::start`].
    pub(crate) fn idle(cpu: usize) -> io::Result<Self> {
        Self::start("neighbour", cpu, || Ok(()), std::hint::spin_loop)
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_takes_a_cpu_until_it_is_dropped() {
        let neighbour = Companion::idle(0).unwrap();
        let over = neighbour.over.clone();
        assert_eq!((over.load(Ordering::Relaxed), Arc::strong_count(&over)), (false, 3), "its thread has one");
        drop(neighbour);
        assert_eq!((over.load(Ordering::Relaxed), Arc::strong_count(&over)), (true, 1), "its thread is gone");
        assert!(Companion::idle(usize::MAX).is_err());
    }

    #[test]
    fn who_does_not_get_ready_does_nothing() {
        let refused = || Err(io::ErrorKind::PermissionDenied.into());
        let error = Companion::start("refused", 0, refused, || unreachable!("it is not ready")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
