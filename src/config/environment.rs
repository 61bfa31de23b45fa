//! `${NAME}` and `${NAME:-default}` inside strings. They are replaced in values that TOML has already read, so that
//! what the environment holds is never anything but text.

use super::reader::Problem;
use std::ffi::OsString;
use std::ops::Range;

/// Looks a variable up.
pub(crate) type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// A text with the values of the environment in it; nothing where it names none and stays as it is. As in a shell, a
/// default also stands for a variable that is empty. `$${` stands for `${` itself. The range of an error is bytes of
/// `text`.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<Option<String>, (Range<usize>, Problem)> {
    let mut expanded = String::new();
    let mut done = 0;
    while let Some(found) = text.get(done..).and_then(|rest| rest.find("${")) {
        let at = done + found;
        let before = text.get(done..at).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            done = at + 2;
            continue;
        }
        expanded.push_str(before);
        let inner = text.get(at + 2..).unwrap_or_default();
        let inner = inner.split_once('}').map(|(inner, _)| inner).ok_or_else(|| (at..at + 2, unreadable()))?;
        let whole = at..at + inner.len() + 3;
        expanded.push_str(&value(inner, environment).map_err(|problem| (whole.clone(), problem))?);
        done = whole.end;
    }
    if done == 0 {
        return Ok(None);
    }
    expanded.push_str(text.get(done..).unwrap_or_default());
    Ok(Some(expanded))
}

fn value(inner: &str, environment: Environment<'_>) -> Result<String, Problem> {
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let is_name = !name.starts_with(|char: char| char.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !is_name {
        return Err(unreadable());
    }
    match (environment(name), default) {
        (Some(value), _) if !value.is_empty() => {
            value.into_string().map_err(|_| Problem::new(format!("the environment variable `{name}` is not UTF-8")))
        }
        (_, Some(default)) => Ok(default.to_owned()),
        (Some(_), None) => Ok(String::new()),
        (None, None) => Err(Problem::new(format!("the environment variable `{name}` is not set"))
            .with_help(format!("set it, or give a default: `${{{name}:-default}}`"))),
    }
}

fn unreadable() -> Problem {
    Problem::new("`${` wants the name of an environment variable and `}`")
        .with_help("such as `${PORT}` or `${PORT:-8080}`; `$${` stands for `${` itself")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expanded(text: &str) -> Result<Option<String>, (Range<usize>, String)> {
        let environment = |name: &str| match name {
            "PORT" => Some("8080".into()),
            "_a1" => Some("${PORT}}\"\n".into()),
            "EMPTY" => Some(OsString::new()),
            _ => None,
        };
        expand(text, &environment).map_err(|(range, problem)| (range, problem.message))
    }

    #[test]
    fn variables_become_their_values() {
        let good = |text| expanded(text).unwrap();
        assert_eq!(good("plain $ {PORT} $PORT"), None);
        assert_eq!(good("127.0.0.1:${PORT}").unwrap(), "127.0.0.1:8080");
        assert_eq!(good("${PORT}${PORT}é").unwrap(), "80808080é");
        assert_eq!(good("${GONE:-80}/${PORT:-80}/${EMPTY:-e}/${EMPTY}.").unwrap(), "80/8080/e/.");
        assert_eq!(good("${GONE:-}").unwrap(), "");
        assert_eq!(good("$${PORT} ${PORT} $$${PORT}").unwrap(), "${PORT} 8080 $${PORT}");
    }

    #[test]
    fn what_the_environment_gives_is_not_read_again() {
        assert_eq!(expanded("${_a1}").unwrap().unwrap(), "${PORT}}\"\n");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        assert_eq!(expanded("a${GONE}b").unwrap_err(), (1..8, "the environment variable `GONE` is not set".to_owned()));
        for (text, place) in [("é${", 2..4), ("${}", 0..3), ("${1A}", 0..5), ("${a b}", 0..6), ("${a:x}", 0..6)] {
            let (found, message) = expanded(text).unwrap_err();
            assert_eq!(found, place, "{text}");
            assert!(message.starts_with("`${` wants the name"), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[$:{}PORT_é-]{0,20}") {
            let has_some = text.contains("${");
            match expanded(&text) {
                Ok(None) => prop_assert!(!has_some),
                Ok(Some(_)) => prop_assert!(has_some),
                Err((place, _)) => prop_assert!(text.get(place).is_some()),
            }
        }
    }
}
