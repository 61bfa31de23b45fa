//! Endpoints from a file, which is read when it changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::source::{Found, Look, Source};
use crate::config::read_endpoints;

/// A file that cannot be read is looked at again after so long, and then less and less often.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// One file.
pub(super) struct FileSource {
    path: Arc<Path>,
}

impl FileSource {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }
}

impl Source for FileSource {
    fn look(&mut self) -> Look<'_> {
        let path = self.path.clone();
        Box::pin(async move {
            // A file system across a network may take its time.
            let read = tokio::task::spawn_blocking(move || read_endpoints(&path)).await;
            let endpoints = read.unwrap_or_else(|error| Err(error.to_string()))?;
            // Whoever watches the file says when there is more.
            Ok(Found { endpoints, again: None })
        })
    }

    fn patience(&self) -> (Duration, Duration) {
        (FIRST, LONGEST)
    }
}
