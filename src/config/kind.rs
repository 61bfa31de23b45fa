//! What kind of value a key takes: the one place from which the documentation, the JSON Schema and the comparison of
//! two configs know it.

use super::reader::Section;
use super::{secret, values};

/// A kind of value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A string of a form that has a name; with the pattern that all such strings fit (ECMA-262; empty for any).
    Text(&'static str, &'static str),
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// This, `true` or `false`.
    Flag(bool),
    /// A whole number with its name, and the least and the most it may be.
    Number(&'static str, i64, i64),
    /// One of these numbers.
    Numbers(&'static [i64]),
    /// A share above 0 and up to 100 in a hundred, with at most four decimals.
    Percentage,
    /// A part from 0 to 1, with at most six decimals.
    Ratio,
    /// A time longer than none.
    Duration,
    /// Bytes, at least and at most.
    Size(u64, u64),
    /// A string that must not be shown, or `{ file = "PATH" }`, a file that holds it.
    Secret,
    /// Any of these.
    Either(&'static [Kind]),
    /// An array of these, or one alone; with the plural of their name.
    List(&'static str, &'static Kind),
    /// A table whose keys are names, of these; with the plural of their name.
    Map(&'static str, &'static Kind),
    /// A table with keys of its own.
    Table(&'static Section),
    /// A table whose `type` says what keys it has.
    Typed(&'static [(&'static str, &'static Section)]),
    /// Tables by the names that the config gives them, as `[upstream.NAME]`.
    Named(&'static Kind),
    /// An array of tables, as `[[route]]`.
    Tables(&'static Section),
}

pub(crate) const STRING: Kind = Kind::Text("string", "");
pub(crate) const PATH: Kind = Kind::Text("path", "^.");
pub(crate) const TEMPLATE: Kind = Kind::Text("template", r"^[\x20-\x7e]*$");
pub(crate) const NAME: Kind = Kind::Text("name", values::NAME_PATTERN);
/// An IP address and a port, or a Unix socket.
pub(crate) const ADDRESS: Kind =
    Kind::Text("address and port", r"^((\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}|unix:[/@].{1,106})$");
/// An IP address and a port.
pub(crate) const IP_ADDRESS: Kind = Kind::Text("address and port", r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$");
/// A host or an IP address, and a port, or a Unix socket.
pub(crate) const HOST_PORT: Kind =
    Kind::Text("address and port", r"^((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}|unix:[/@].{1,106})$");
/// A host or an IP address, and maybe a port, as in a URL.
pub(crate) const HOST: Kind = Kind::Text("host", r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?$");
pub(crate) const NETWORK: Kind = Kind::Text("network", r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$");
pub(crate) const FIELD_NAME: Kind = Kind::Text("field name", r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$");
pub(crate) const TOKEN_PATTERN: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
pub(crate) const METHOD: Kind = Kind::Text("method", r"^[!#$%&'*+.^_`|~0-9A-Z-]{1,32}$");
pub(crate) const CPU_LIST: Kind =
    Kind::Text("CPU list", r"^\s*[0-9]+(\s*-\s*[0-9]+)?\s*(,\s*[0-9]+(\s*-\s*[0-9]+)?\s*)*$");
pub(crate) const BYTE_RATE: Kind = Kind::Text("bytes a second", r"^[0-9_]+\s*(B|[KMGT]iB|[kMGT]B)/s$");

pub(crate) const RATE: Kind = Kind::Text("rate", r"^[0-9_]+/(s|min|h)$");

pub(crate) const SIZE_OR_UNLIMITED: Kind = Kind::Either(&[Kind::Size(0, i64::MAX as u64), Kind::OneOf(&["unlimited"])]);

pub(super) const DURATION_PATTERN: &str = r"^[0-9_]+\s*(ns|us|ms|s|m|h|d)$";
pub(super) const SIZE_PATTERN: &str = r"^[0-9_]+\s*(B|[KMGT]iB|[kMGT]B)$";

impl Kind {
    /// As the documentation has it.
    pub(crate) fn name(&self) -> String {
        let quoted = |words: &[&str]| any_of(words.iter().map(|word| format!("\"{word}\"")).collect());
        match self {
            Self::Text(name, _) | Self::Number(name, ..) => (*name).to_owned(),
            Self::OneOf(words) => quoted(words),
            Self::Flag(flag) => flag.to_string(),
            Self::Numbers(numbers) => any_of(numbers.iter().map(i64::to_string).collect()),
            Self::Percentage => "percentage".to_owned(),
            Self::Ratio => "ratio".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Size(..) => "size".to_owned(),
            Self::Secret => "secret".to_owned(),
            Self::Either(kinds) => any_of(kinds.iter().flat_map(Self::parts).collect()),
            Self::List(plural, _) => format!("list of {plural}"),
            Self::Map(plural, _) => format!("table of {plural}"),
            Self::Table(_) | Self::Typed(_) => "table".to_owned(),
            Self::Named(_) => "tables by name".to_owned(),
            Self::Tables(_) => "array of tables".to_owned(),
        }
    }

    fn parts(&self) -> Vec<String> {
        match self {
            Self::OneOf(words) => words.iter().map(|word| format!("\"{word}\"")).collect(),
            Self::Either(kinds) => kinds.iter().flat_map(Self::parts).collect(),
            kind => vec![kind.name()],
        }
    }

    /// The sections of all tables that such a value may be or hold.
    pub(crate) fn sections(&self) -> Vec<&'static Section> {
        match self {
            Self::Either(kinds) => kinds.iter().flat_map(Self::sections).collect(),
            Self::List(_, of) | Self::Map(_, of) | Self::Named(of) => of.sections(),
            Self::Table(section) | Self::Tables(section) => vec![section],
            Self::Typed(types) => types.iter().map(|(_, section)| *section).collect(),
            Self::Secret => vec![&secret::FILE],
            _ => Vec::new(),
        }
    }

    /// Whether such a value may be a secret, so that what the environment gives for it is never shown.
    pub(crate) fn may_be_secret(&self) -> bool {
        match self {
            Self::Secret => true,
            Self::Either(kinds) => kinds.iter().any(Self::may_be_secret),
            Self::List(_, of) | Self::Map(_, of) | Self::Named(of) => of.may_be_secret(),
            Self::Table(_) | Self::Typed(_) | Self::Tables(_) => {
                self.sections().iter().flat_map(|section| section.keys).any(|key| key.kind.may_be_secret())
            }
            _ => false,
        }
    }
}

/// `a, b or c`.
fn any_of(mut words: Vec<String>) -> String {
    match (words.pop(), words.is_empty()) {
        (Some(last), false) => format!("{} or {last}", words.join(", ")),
        (last, _) => last.unwrap_or_default(),
    }
}
