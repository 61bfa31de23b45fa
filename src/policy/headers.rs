//! `type = "headers"`: fields added, set, removed and renamed on requests and responses.

use crate::plan::Template;

/// Both directions of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Headers {
    /// On the request, on its way to the service.
    pub request: HeaderEdits,
    /// On the response, on its way to the client.
    pub response: HeaderEdits,
}

/// The edits of one head: each field that came in meets its [`Fate`], then [`HeaderEdits::appended`] follow.
/// A field name of the config is in lower case; names compare without case.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    fates: Box<[(Box<str>, Change)]>,
    appended: Box<[(Box<str>, Template)]>,
    /// One bit for each length (modulo 64) of a name in `fates`: most fields are passed over by this alone.
    lengths: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Drop,
    Rename(Box<str>),
}

/// What happens to one field that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<'a> {
    /// It stays as it is.
    Keep,
    /// It goes: removed, or set anew.
    Drop,
    /// It stays under this name.
    Rename(&'a str),
}

impl HeaderEdits {
    /// Compiles the four kinds of edit. Names must be valid, in lower case, and each in one edit only, but for `add`.
    pub fn new(
        set: Vec<(String, Template)>,
        add: Vec<(String, Template)>,
        remove: Vec<String>,
        rename: Vec<(String, String)>,
    ) -> Self {
        let dropped = remove.into_iter().chain(set.iter().map(|(name, _)| name.clone()));
        let mut fates: Vec<(Box<str>, Change)> = dropped.map(|name| (name.into(), Change::Drop)).collect();
        fates.extend(rename.into_iter().map(|(from, to)| (from.into(), Change::Rename(to.into()))));
        let lengths = fates.iter().fold(0, |bits, (name, _)| bits | 1 << (name.len() % 64));
        let appended = set.into_iter().chain(add).map(|(name, value)| (name.into(), value)).collect();
        Self { fates: fates.into(), appended, lengths }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.fates.is_empty() && self.appended.is_empty()
    }

    /// What happens to a field of this name.
    pub fn fate(&self, name: &[u8]) -> Fate<'_> {
        if self.lengths & 1 << (name.len() % 64) == 0 {
            return Fate::Keep;
        }
        match self.fates.iter().find(|(edited, _)| edited.as_bytes().eq_ignore_ascii_case(name)) {
            None => Fate::Keep,
            Some((_, Change::Drop)) => Fate::Drop,
            Some((_, Change::Rename(to))) => Fate::Rename(to),
        }
    }

    /// The fields that follow after those that stayed, in order: `set`, then `add`.
    pub fn appended(&self) -> impl Iterator<Item = (&str, &Template)> {
        self.appended.iter().map(|(name, value)| (&**name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Scope;

    fn value(text: &str) -> Template {
        Template::compile(text, &[""; 0], Scope::Any).unwrap()
    }

    #[test]
    fn each_field_meets_its_fate_whatever_its_case() {
        let edits = HeaderEdits::new(
            vec![("x-set".to_owned(), value("new"))],
            vec![("x-added".to_owned(), value("more"))],
            vec!["x-gone".to_owned()],
            vec![("x-old".to_owned(), "x-new".to_owned())],
        );
        assert_eq!(edits.fate(b"X-Gone"), Fate::Drop);
        assert_eq!(edits.fate(b"x-SET"), Fate::Drop);
        assert_eq!(edits.fate(b"X-Old"), Fate::Rename("x-new"));
        assert_eq!(edits.fate(b"x-added"), Fate::Keep);
        assert_eq!(edits.fate(b"x-lost"), Fate::Keep);
        let appended: Vec<_> = edits.appended().map(|(name, _)| name).collect();
        assert_eq!(appended, ["x-set", "x-added"]);
    }

    #[test]
    fn no_edits_keep_everything() {
        let edits = HeaderEdits::default();
        assert!(edits.is_empty());
        assert_eq!(edits.fate(b"host"), Fate::Keep);
    }
}
