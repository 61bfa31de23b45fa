//! A line of the access log in the combined format of web servers:
//! `CLIENT - - [TIME] "METHOD PATH VERSION" STATUS BYTES "REFERER" "USER AGENT"`.

use std::io::Write;

use super::escape;
use crate::observe::records::{Access, version_name};
use crate::observe::stamp;

/// Behind a text that is cut off.
const CUT: &[u8] = b"...";

/// Appends the line.
pub(super) fn write(out: &mut Vec<u8>, access: &Access<'_>) {
    let Access { at_unix_ns, client, status, version, sent_body, texts, cut, .. } = access;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{client} - - [");
    stamp::common(out, *at_unix_ns);
    out.extend_from_slice(b"] \"");
    match version {
        // The head could not be read.
        None => out.push(b'-'),
        Some(version) => {
            text(out, texts.method, cut.method);
            out.push(b' ');
            text(out, texts.path, cut.path);
            out.push(b' ');
            out.extend_from_slice(version_name(*version).as_bytes());
        }
    }
    let _ = write!(out, "\" {status} {sent_body} \"");
    text(out, texts.referer, cut.referer);
    out.extend_from_slice(b"\" \"");
    text(out, texts.user_agent, cut.user_agent);
    out.extend_from_slice(b"\"\n");
}

fn text(out: &mut Vec<u8>, text: &[u8], is_cut: bool) {
    if text.is_empty() {
        out.push(b'-');
    }
    escape::combined(out, text);
    if is_cut {
        out.extend_from_slice(CUT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::log::escape::tests::unescaped;
    use crate::observe::records::tests::{request, texts};
    use proptest::prelude::*;

    /// The fields as a parser of the format splits a line: what stands in brackets or quotes is one.
    fn split(line: &str) -> Vec<&str> {
        let mut fields = Vec::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (field, behind) = match rest.as_bytes()[0] {
                b'[' => rest[1..].split_once(']').unwrap(),
                b'"' => rest[1..].split_once('"').unwrap(),
                _ => rest.split_once(' ').map_or((rest, ""), |(field, _)| (field, &rest[field.len()..])),
            };
            fields.push(field);
            rest = behind.strip_prefix(' ').unwrap_or(behind);
        }
        fields
    }

    proptest! {
        #[test]
        fn a_line_has_its_nine_fields_whatever_the_client_sent((access, all) in request()) {
            let access = Access { texts: texts(&all), ..access };
            let mut out = Vec::new();
            write(&mut out, &access);
            let line = String::from_utf8(out).unwrap();
            let line = line.strip_suffix('\n').unwrap();
            prop_assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let fields = split(line);
            prop_assert_eq!(fields.len(), 9, "{}", line);
            prop_assert_eq!(fields[0], access.client.to_string());
            prop_assert_eq!((fields[1], fields[2]), ("-", "-"));
            prop_assert_eq!(fields[3].len(), "06/Nov/1994:08:49:37 +0000".len());
            prop_assert_eq!((fields[5], fields[6]), (&*access.status.to_string(), &*access.sent_body.to_string()));
            let expected = |text: &[u8], is_cut: bool| {
                let mut expected = if text.is_empty() { b"-".to_vec() } else { text.to_vec() };
                expected.extend_from_slice(if is_cut { CUT } else { b"" });
                expected
            };
            let cut = access.cut;
            prop_assert_eq!(unescaped(fields[7].as_bytes()), expected(access.texts.referer, cut.referer));
            prop_assert_eq!(unescaped(fields[8].as_bytes()), expected(access.texts.user_agent, cut.user_agent));
            let request = match access.version {
                None => b"-".to_vec(),
                Some(version) => {
                    let method = expected(access.texts.method, cut.method);
                    let path = expected(access.texts.path, cut.path);
                    [&method[..], b" ", &path, b" ", version_name(version).as_bytes()].concat()
                }
            };
            prop_assert_eq!(unescaped(fields[4].as_bytes()), request);
        }
    }
}
