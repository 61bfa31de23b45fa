//! Received bytes that were not dealt with yet.

use ringway_proto::http1::Span;
use ringway_runtime::buffer::{Lease, Outbox};

/// The unread bytes of one side of a connection, always contiguous: a lease while one is enough, else gathered.
#[derive(Debug, Default)]
pub struct Input {
    lease: Option<Lease>,
    /// Holds the bytes when `lease` is none, from `start` on.
    gathered: Vec<u8>,
    start: usize,
}

impl Input {
    /// The bytes, oldest first.
    pub fn bytes(&self) -> &[u8] {
        match &self.lease {
            Some(lease) => lease,
            None => self.gathered.get(self.start..).unwrap_or_default(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match &self.lease {
            Some(lease) => lease.is_empty(),
            None => self.gathered.len() == self.start,
        }
    }

    /// Appends what was received.
    pub fn add(&mut self, lease: Lease) {
        if self.is_empty() {
            self.forget_gathered();
            self.lease = Some(lease);
            return;
        }
        self.gather();
        // What was consumed goes before more comes, so that each byte moves at most once for each lease.
        self.gathered.drain(..self.start);
        self.start = 0;
        self.gathered.extend_from_slice(&lease);
    }

    /// Moves the bytes out of the receive buffer, which must not be held while more is awaited.
    pub fn gather(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.gathered.clear();
            self.start = 0;
            self.gathered.extend_from_slice(&lease);
        }
    }

    /// An idle connection holds no memory for what it once gathered.
    fn forget_gathered(&mut self) {
        self.gathered = Vec::new();
        self.start = 0;
    }

    /// Drops the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        if let Some(lease) = &mut self.lease {
            lease.advance(count);
            if lease.is_empty() {
                self.lease = None;
            }
        } else if count >= self.bytes().len() {
            self.forget_gathered();
        } else {
            self.start += count;
        }
    }

    /// Takes the first `count` bytes, which stay where they are.
    pub fn take_front(&mut self, count: usize) -> Lease {
        let front = if let Some(lease) = &self.lease {
            lease.slice(0, count)
        } else {
            let bytes = self.bytes();
            Lease::copied(bytes.get(..count).unwrap_or(bytes))
        };
        self.consume(count);
        front
    }

    /// Puts the bytes of `span` into `outbox`: small ones by copy, large ones from where they are.
    pub fn send(&self, span: Span, outbox: &mut Outbox) {
        match &self.lease {
            // Below that the outbox would copy from a lease made for nothing.
            Some(lease) if span.len() > Outbox::COPY_UP_TO => {
                outbox.push(lease.slice(span.start as usize, span.end as usize));
            }
            _ => outbox.write(|out| out.extend_from_slice(span.of(self.bytes()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_queue_of_bytes(
            steps in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..30), 0usize..40, any::<bool>()), 0..20),
        ) {
            let mut input = Input::default();
            let mut model = Vec::new();
            for (bytes, count, gather) in steps {
                input.add(Lease::copied(&bytes));
                model.extend(bytes);
                prop_assert_eq!(input.bytes(), &model[..]);
                let count = count.min(model.len());
                if gather {
                    input.gather();
                    input.consume(count);
                } else {
                    prop_assert_eq!(&*input.take_front(count), &model[..count]);
                }
                model.drain(..count);
                prop_assert_eq!(input.bytes(), &model[..]);
            }
        }
    }
}
