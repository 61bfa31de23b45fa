//! `[certificates]`.

use super::Config;
use super::kind::Kind::{Duration, Number};
use super::kind::PATH;
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Section, key, section};
use super::values::{duration, integer, path};

pub(super) const SECTION: Section = section(
    "[certificates]",
    &[
        key("directory", PATH, Words("none are kept")),
        key("max", Number("number", 1, 10_000), Is("1000")),
        key("expiry_warning", Duration, Is("\"14d\"")),
    ],
);

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let Some(fields) = root.table("certificates", &SECTION) else { return };
    let certificates = &mut config.certificates;
    fields.set("directory", &mut certificates.directory, |value| path(value).map(|path| Some(path.into())));
    fields.set("max", &mut certificates.max, integer(1..=10_000));
    fields.set("expiry_warning", &mut certificates.warn, duration);
}
