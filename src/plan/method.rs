//! Sets of request methods, small enough to copy.

/// The methods of RFC 9110 section 9.3 and RFC 5789, each with its bit. A config's other methods follow after them.
const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Methods a router can tell apart: one bit each, one left for those that no route names.
const METHODS_MAX: usize = 63;

/// The bit of every method that no route names.
const OTHER: u64 = 1 << 63;

/// Some methods, as bits of the router's own [`Methods`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MethodSet(u64);

impl MethodSet {
    /// Every method there is.
    pub const ANY: Self = Self(u64::MAX);
    /// `GET` alone.
    pub(super) const GET: Self = Self(1);
    /// `HEAD` alone.
    pub(super) const HEAD: Self = Self(2);

    /// Whether no method is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a method is in both.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The methods one router can tell apart.
#[derive(Debug, Default)]
pub(super) struct Methods {
    custom: Vec<Box<str>>,
}

impl Methods {
    /// The set of one method that a route names, or nothing when there are too many to tell apart.
    pub(super) fn intern(&mut self, name: &str) -> Option<MethodSet> {
        let known = self.set_of(name.as_bytes());
        if known.0 != OTHER {
            return Some(known);
        }
        let index = KNOWN.len() + self.custom.len();
        (index < METHODS_MAX).then(|| {
            self.custom.push(name.into());
            MethodSet(1 << index)
        })
    }

    /// The set of one method of a request. Methods are case-sensitive (RFC 9110 section 9.1).
    pub(super) fn set_of(&self, name: &[u8]) -> MethodSet {
        let index = match name {
            b"GET" => 0,
            b"HEAD" => 1,
            b"POST" => 2,
            b"PUT" => 3,
            b"DELETE" => 4,
            b"CONNECT" => 5,
            b"OPTIONS" => 6,
            b"TRACE" => 7,
            b"PATCH" => 8,
            _ => match self.custom.iter().position(|custom| custom.as_bytes() == name) {
                Some(index) => KNOWN.len() + index,
                None => return MethodSet(OTHER),
            },
        };
        MethodSet(1 << index)
    }

    /// The names in a set, in a fixed order.
    pub(super) fn names(&self, set: MethodSet) -> impl Iterator<Item = &str> {
        let all = KNOWN.iter().copied().chain(self.custom.iter().map(AsRef::as_ref));
        all.enumerate().filter(move |(index, _)| set.0 & (1 << index) != 0).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_named_twice_has_one_bit() {
        let mut methods = Methods::default();
        let first = methods.intern("PURGE");
        assert_eq!(methods.intern("PURGE"), first);
        assert_eq!(Some(methods.set_of(b"PURGE")), first);
        assert!(!methods.set_of(b"purge").overlaps(first.unwrap()));
    }

    #[test]
    fn known_methods_keep_the_bits_of_the_table() {
        let mut methods = Methods::default();
        for (index, name) in KNOWN.iter().enumerate() {
            assert_eq!(methods.intern(name), Some(MethodSet(1 << index)));
        }
        assert!(methods.custom.is_empty());
    }

    #[test]
    fn names_come_back_in_a_fixed_order() {
        let mut methods = Methods::default();
        let set = ["PURGE", "PUT", "GET"]
            .iter()
            .fold(MethodSet::default(), |set, name| set.union(methods.intern(name).unwrap()));
        assert_eq!(methods.names(set).collect::<Vec<_>>(), ["GET", "PUT", "PURGE"]);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut methods = Methods::default();
        let fits = (0..100).filter(|n| methods.intern(&format!("M{n}")).is_some()).count();
        assert_eq!(fits, METHODS_MAX - KNOWN.len());
        assert_eq!(methods.set_of(b"M99"), MethodSet(OTHER));
    }
}
