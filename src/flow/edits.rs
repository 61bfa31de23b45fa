//! Edits of one outgoing head: a small list that policies append to, applied while the head is written.

/// What happens to one field that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<'a> {
    /// It stays as it is.
    Keep,
    /// It goes: removed, or set anew.
    Drop,
    /// It stays under this name.
    Rename(&'a [u8]),
}

/// One edit, as it is told: names, values, and the new name of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited<'a> {
    /// Every field of this name goes.
    Drop(&'a [u8]),
    /// Every field of the first name gets the second.
    Rename(&'a [u8], &'a [u8]),
    /// A field of this name and value is added.
    Put(&'a [u8], &'a [u8]),
}

/// The edits of one head, in the order they apply: policy after policy, and within one policy all at once, so that a
/// field meets at most one edit of each policy. Names compare without case. Its memory is used again by the next
/// request.
#[derive(Debug, Default)]
pub struct Edits {
    list: Vec<Edit>,
    /// Names and values, one behind the other.
    text: Vec<u8>,
    /// One bit for each length (modulo 64) of a name that is dropped or renamed: most fields are passed over by this
    /// alone.
    lengths: u64,
    /// Counts the policies.
    policy: u32,
}

/// `name` ends where `value` starts.
#[derive(Clone, Copy, Debug)]
struct Edit {
    kind: Kind,
    policy: u32,
    name: u32,
    value: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Drop,
    /// The value is the new name.
    Rename,
    Put,
}

impl Edit {
    fn name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.name as usize..self.value as usize).unwrap_or_default()
    }

    fn value<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.value as usize..self.end as usize).unwrap_or_default()
    }
}

impl Edits {
    /// Forgets all edits; memory past `keep` bytes is freed.
    pub(super) fn clear(&mut self, keep: usize) {
        self.policy = 0;
        if self.list.is_empty() {
            return;
        }
        self.list.clear();
        self.list.shrink_to(keep / size_of::<Edit>());
        self.text.clear();
        self.text.shrink_to(keep);
        self.lengths = 0;
    }

    /// What follows is of the next policy.
    pub(crate) fn next_policy(&mut self) {
        self.policy += 1;
    }

    /// Drops every field of this name.
    pub fn remove(&mut self, name: &[u8]) {
        self.lengths |= bit(name);
        self.push(Kind::Drop, name, |_| ());
    }

    /// Gives every field of one name another.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) {
        self.lengths |= bit(from);
        self.push(Kind::Rename, from, |out| out.extend_from_slice(to));
    }

    /// Adds a field beside those of its name. `value` appends to what it is given, and nothing that ends a line.
    pub fn add(&mut self, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        self.push(Kind::Put, name, value);
    }

    /// Puts a field in place of those of its name.
    pub fn set(&mut self, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        self.remove(name);
        self.add(name, value);
    }

    fn push(&mut self, kind: Kind, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(name);
        let middle = self.text.len() as u32;
        value(&mut self.text);
        let end = self.text.len() as u32;
        self.list.push(Edit { kind, policy: self.policy, name: start, value: middle, end });
    }

    /// The edits of the policy that was met last.
    pub fn last_policy(&self) -> impl Iterator<Item = Edited<'_>> {
        self.list.iter().filter(|edit| edit.policy == self.policy).map(|edit| {
            let (name, value) = (edit.name(&self.text), edit.value(&self.text));
            match edit.kind {
                Kind::Drop => Edited::Drop(name),
                Kind::Rename => Edited::Rename(name, value),
                Kind::Put => Edited::Put(name, value),
            }
        })
    }

    /// Whether every field that is there stays as it is.
    #[inline]
    pub(super) fn keep_all(&self) -> bool {
        self.lengths == 0
    }

    /// What becomes of a field that is there: each policy in order, a renamed field by its new name.
    #[inline]
    pub(super) fn fate(&self, name: &[u8]) -> Fate<'_> {
        // A field that an early policy renames may be dropped by a later one: only a first miss is a miss for good.
        if self.lengths & bit(name) == 0 { Fate::Keep } else { self.fate_after(name, None) }
    }

    /// The same, for the edits of policies after this one.
    fn fate_after(&self, name: &[u8], after: Option<u32>) -> Fate<'_> {
        let mut fate = Fate::Keep;
        let mut met = after;
        for edit in &self.list {
            let current = match fate {
                Fate::Rename(to) => to,
                _ => name,
            };
            let is_passed = met.is_some_and(|met| edit.policy <= met);
            if is_passed || edit.kind == Kind::Put || !edit.name(&self.text).eq_ignore_ascii_case(current) {
                continue;
            }
            if edit.kind == Kind::Drop {
                return Fate::Drop;
            }
            fate = Fate::Rename(edit.value(&self.text));
            met = Some(edit.policy);
        }
        fate
    }

    /// Writes the fields that were added; what a later policy drops or renames goes its way.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        for edit in self.list.iter().filter(|edit| edit.kind == Kind::Put) {
            let name = edit.name(&self.text);
            let fate = if self.lengths == 0 { Fate::Keep } else { self.fate_after(name, Some(edit.policy)) };
            let name = match fate {
                Fate::Keep => name,
                Fate::Drop => continue,
                Fate::Rename(to) => to,
            };
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(edit.value(&self.text));
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn bit(name: &[u8]) -> u64 {
    1 << (name.len() % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_field_meets_its_fate_whatever_its_case() {
        let mut edits = Edits::default();
        edits.remove(b"x-gone");
        edits.rename(b"x-old", b"x-new");
        edits.set(b"x-set", |out| out.extend_from_slice(b"new"));
        edits.add(b"x-more", |out| out.extend_from_slice(b"1"));
        assert_eq!(edits.fate(b"X-Gone"), Fate::Drop);
        assert_eq!(edits.fate(b"x-SET"), Fate::Drop);
        assert_eq!(edits.fate(b"X-Old"), Fate::Rename(b"x-new"));
        assert_eq!((edits.fate(b"x-more"), edits.fate(b"x-lost")), (Fate::Keep, Fate::Keep));
        let mut out = Vec::new();
        edits.append(&mut out);
        assert_eq!(out, b"x-set: new\r\nx-more: 1\r\n");
    }

    #[test]
    fn a_cleared_list_keeps_everything() {
        let mut edits = Edits::default();
        edits.set(b"host", |out| out.extend_from_slice(b"a"));
        edits.clear(0);
        let mut out = Vec::new();
        edits.append(&mut out);
        assert_eq!((edits.fate(b"host"), &*out), (Fate::Keep, &b""[..]));
    }

    /// One policy of the model, as the config has them: no name is in two edits but `add`.
    #[derive(Clone, Debug, Default)]
    struct Policy {
        remove: Vec<String>,
        rename: Vec<(String, String)>,
        set: Vec<(String, String)>,
        add: Vec<(String, String)>,
    }

    /// The slow way: policy after policy over a list of fields.
    fn apply(policies: &[Policy], mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
        for policy in policies {
            let gone = |name: &String| policy.remove.contains(name) || policy.set.iter().any(|(set, _)| set == name);
            fields.retain(|(name, _)| !gone(name));
            for (name, _) in &mut fields {
                if let Some((_, to)) = policy.rename.iter().find(|(from, _)| from == name) {
                    name.clone_from(to);
                }
            }
            fields.extend(policy.set.iter().chain(&policy.add).cloned());
        }
        fields
    }

    fn policy() -> impl Strategy<Value = Policy> {
        let name = || "[a-d]{1,2}";
        let field = || (name(), "[x-z]{1,3}");
        let lists = (
            proptest::collection::vec(name(), 0..3),
            proptest::collection::vec((name(), name()), 0..3),
            proptest::collection::vec(field(), 0..3),
            proptest::collection::vec(field(), 0..3),
        );
        lists.prop_map(|(remove, rename, set, add)| {
            let mut seen: Vec<String> = Vec::new();
            let mut fresh = |name: &String| {
                !seen.contains(name) && {
                    seen.push(name.clone());
                    true
                }
            };
            let remove = remove.into_iter().filter(&mut fresh).collect();
            let rename = rename.into_iter().filter(|(from, _)| fresh(from)).collect();
            let set = set.into_iter().filter(|(name, _)| fresh(name)).collect();
            Policy { remove, rename, set, add }
        })
    }

    proptest! {
        #[test]
        fn a_head_is_as_if_each_policy_had_edited_it_in_turn(
            policies in proptest::collection::vec(policy(), 0..5),
            fields in proptest::collection::vec(("[a-d]{1,2}", "[x-z]{1,3}"), 0..6),
        ) {
            let mut edits = Edits::default();
            for policy in &policies {
                edits.next_policy();
                for name in &policy.remove {
                    edits.remove(name.as_bytes());
                }
                for (from, to) in &policy.rename {
                    edits.rename(from.as_bytes(), to.as_bytes());
                }
                for (name, value) in &policy.set {
                    edits.set(name.as_bytes(), |out| out.extend_from_slice(value.as_bytes()));
                }
                for (name, value) in &policy.add {
                    edits.add(name.as_bytes(), |out| out.extend_from_slice(value.as_bytes()));
                }
            }
            let mut head = Vec::new();
            for (name, value) in &fields {
                let name = match edits.fate(name.as_bytes()) {
                    Fate::Drop => continue,
                    Fate::Keep => name.as_bytes(),
                    Fate::Rename(to) => to,
                };
                head.extend_from_slice(&[name, b": ", value.as_bytes(), b"\r\n"].concat());
            }
            edits.append(&mut head);
            let line = |(name, value): (String, String)| format!("{name}: {value}\r\n");
            let model: String = apply(&policies, fields).into_iter().map(line).collect();
            prop_assert_eq!(String::from_utf8(head).unwrap(), model);
        }
    }
}
