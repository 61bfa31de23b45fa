//! The way to a claim.

use std::fmt;

/// Steps of a path at most: a payload is not nested deeper.
pub const STEPS_MAX: usize = super::DEPTH_MAX;

/// The way to a claim: the name of one at the top, or, where it begins with a slash, a JSON pointer (RFC 6901) whose steps
/// go through objects alone. A name that begins with a slash itself is written `/~1name`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path {
    text: Box<str>,
    steps: Box<[Box<str>]>,
}

/// What is wrong with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathError {
    /// There is nothing.
    Empty,
    /// A `~` of a pointer has neither `0` nor `1` behind it.
    Escape,
    /// There are more steps than [`STEPS_MAX`].
    TooDeep,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn new(text: &str) -> Result<Self, PathError> {
        let steps = match text.strip_prefix('/') {
            None if text.is_empty() => return Err(PathError::Empty),
            None => Box::new([text.into()]),
            Some(pointer) => pointer.split('/').map(step).collect::<Result<Box<[_]>, _>>()?,
        };
        if steps.len() > STEPS_MAX {
            return Err(PathError::TooDeep);
        }
        Ok(Self { text: text.into(), steps })
    }

    /// The name that is looked for inside so many others, and whether it is the last one.
    pub(super) fn step(&self, inside: usize) -> Option<(&str, bool)> {
        Some((self.steps.get(inside)?, inside + 1 == self.steps.len()))
    }
}

fn step(text: &str) -> Result<Box<str>, PathError> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('~');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (escaped, rest) = match (part.strip_prefix('0'), part.strip_prefix('1')) {
            (Some(rest), _) => ('~', rest),
            (_, Some(rest)) => ('/', rest),
            _ => return Err(PathError::Escape),
        };
        name.push(escaped);
        name.push_str(rest);
    }
    Ok(name.into())
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no name"),
            Self::Escape => f.write_str("a `~` is written `~0`, and a `/` inside a name `~1`"),
            Self::TooDeep => write!(f, "there are more than {STEPS_MAX} steps"),
        }
    }
}

impl std::error::Error for PathError {}
