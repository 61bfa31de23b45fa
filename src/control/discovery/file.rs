//! Endpoints from a file, which is read when it changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::source::{Found, Look, Source};
use crate::config::{EndpointsFile, read_endpoints};

/// A file that cannot be read is looked at again after so long, and then less and less often.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// One file.
pub(super) struct FileSource {
    path: Arc<Path>,
    /// What it said last: whoever watches files tells of all that change, not of one.
    last: Option<Arc<EndpointsFile>>,
}

impl FileSource {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), last: None }
    }
}

impl Source for FileSource {
    fn look(&mut self) -> Look<'_> {
        Box::pin(async {
            let (path, last) = (self.path.clone(), self.last.take());
            // A file system across a network may take its time.
            let read = tokio::task::spawn_blocking(move || read_endpoints(&path, last)).await;
            let file = read.unwrap_or_else(|error| Err(error.to_string()))?;
            let endpoints = file.endpoints.clone();
            self.last = Some(file);
            // Whoever watches the file says when there is more.
            Ok(Found { endpoints, again: None })
        })
    }

    fn patience(&self) -> (Duration, Duration) {
        (FIRST, LONGEST)
    }
}
