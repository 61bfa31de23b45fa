//! Secrets: values that are never shown, best kept in files of their own.

use super::kind::PATH;
use super::reader::Otherwise::Required;
use super::reader::{Fields, Problem, Read, Section, article, key, section};
use super::report::Diagnostic;
use super::tree::Value;
use super::values::path;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// `{ file = "PATH" }`.
pub(super) const FILE: Section = section("Secrets", &[key("file", PATH, Required)]);

/// The longest secret, in bytes.
const SECRET_MAX: u64 = 64 << 10;

/// A text that is never shown: not in messages, not in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The text itself, for the place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Reads a string, or the file that a table names. Nothing where the table itself is wrong, which is complained about.
pub(super) fn read(value: &Value, fields: &Fields<'_>, key: &str) -> Read<Option<Secret>> {
    let Some(table) = value.as_table() else {
        let text = value.as_str().ok_or_else(|| {
            let wrong = article(value.type_name());
            Problem::new(format!("a string or {{ file = \"PATH\" }} is wanted, not {wrong}"))
        })?;
        return checked(text).map(Some);
    };
    let own = Fields::new(table, &fields.path_of(key), value.span(), &FILE, fields.diags);
    let Some(path) = own.required("file", path) else { return Ok(None) };
    let path = fields.diags.sources().directory(path.span.start).join(path.value);
    let (text, mode) = read_file(&path).map_err(|why| Problem::new(format!("{}: {why}", path.display())))?;
    if mode & 0o004 != 0 {
        let message = format!("{}: {} can be read by everyone", fields.path_of(key), path.display());
        let help = format!("chmod o-r {}", path.display());
        fields.diags.push(Diagnostic::warning(value.span(), message).help(help));
    }
    let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
    let secret = checked(text).map_err(|problem| Problem::new(format!("{}: {}", path.display(), problem.message)))?;
    fields.diags.sources_mut().add_secret(value.span().start, path, digest(text));
    Ok(Some(secret))
}

/// A secret is one line of printable ASCII: it may become the value of a header field.
fn checked(text: &str) -> Read<Secret> {
    if text.is_empty() {
        return Err(Problem::new("it is empty; a secret is wanted"));
    }
    match text.bytes().position(|byte| !(0x20..0x7f).contains(&byte)) {
        None => Ok(Secret(text.into())),
        Some(at) => Err(Problem::new(format!("byte {} is no printable ASCII", at + 1))),
    }
}

/// Text and mode of a file.
fn read_file(path: &Path) -> Result<(String, u32), String> {
    let (bytes, mode) = read_bytes(path, SECRET_MAX)?;
    String::from_utf8(bytes).map(|text| (text, mode)).map_err(|_| "is not UTF-8".to_owned())
}

/// Content and mode of a file of at most so many bytes.
pub(super) fn read_bytes(path: &Path, most: u64) -> Result<(Vec<u8>, u32), String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("is no file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(format!("has more than {most} bytes"));
    }
    Ok((bytes, mode))
}

/// What tells two secrets apart without keeping either. Good for one process only.
pub(super) fn digest(text: &str) -> u64 {
    digest_of(text.as_bytes())
}

/// The same of any bytes.
pub(super) fn digest_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
