//! A thread that does something on a CPU beside what is measured there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use clap::Args;

use crate::net;

/// Whether something else wants the CPU that is measured.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Contended {
    /// So many threads that do nothing want the CPU of what is measured as well, so that the load can saturate it: what waits
    /// now and then does more for a request. With one it has half of the CPU, with two a third
    #[arg(long, value_name = "THREADS", num_args = 0..=1, default_missing_value = "1", default_value_t = 0)]
    pub(crate) contended: usize,
}

impl Contended {
    /// Starts them on `cpu`, where each takes as much as whoever else is there.
    ///
    /// # Errors
    /// As [`Companion::start`].
    pub(crate) fn start(self, cpu: usize) -> io::Result<Vec<Companion>> {
        (0..self.contended).map(|_| Companion::start("neighbour", cpu, || Ok(()), std::hint::spin_loop)).collect()
    }
}

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
    fn neighbours_take_a_cpu_until_they_are_dropped() {
        let neighbours = Contended { contended: 2 }.start(0).unwrap();
        let overs: Vec<_> = neighbours.iter().map(|neighbour| neighbour.over.clone()).collect();
        let seen =
            || overs.iter().map(|over| (over.load(Ordering::Relaxed), Arc::strong_count(over))).collect::<Vec<_>>();
        assert_eq!(seen(), [(false, 3); 2], "their threads have one each");
        drop(neighbours);
        assert_eq!(seen(), [(true, 1); 2], "their threads are gone");
        assert!(Contended { contended: 1 }.start(usize::MAX).is_err());
    }

    #[test]
    fn who_does_not_get_ready_does_nothing() {
        let refused = || Err(io::ErrorKind::PermissionDenied.into());
        let error = Companion::start("refused", 0, refused, || unreachable!("it is not ready")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
