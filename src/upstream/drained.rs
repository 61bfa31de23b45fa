//! Endpoints that an operator took out.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Endpoints that get no new requests, by the names of the upstream and of the endpoint: so they stay drained whatever
/// plan comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained(BTreeSet<(Arc<str>, Arc<str>)>);

impl FromIterator<(Arc<str>, Arc<str>)> for Drained {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<str>)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Drained {
    /// Each of them: the names of its upstream and its own.
    pub fn iter(&self) -> impl Iterator<Item = &(Arc<str>, Arc<str>)> {
        self.0.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether this endpoint is one of them.
    pub fn has(&self, upstream: &str, endpoint: &str) -> bool {
        // No pair of the set can be looked up by two borrowed names; the set is small and seldom asked.
        self.0.iter().any(|(of, name)| &**of == upstream && &**name == endpoint)
    }

    /// The set with this endpoint in it, or without it.
    #[must_use]
    pub fn with(&self, upstream: &str, endpoint: &str, is_drained: bool) -> Self {
        let mut set = self.clone();
        let pair = (upstream.into(), endpoint.into());
        if is_drained {
            set.0.insert(pair);
        } else {
            set.0.remove(&pair);
        }
        set
    }
}
