//! A config as it was written: what it takes to read it again when its files say something else by then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::Report;
use super::{Loaded, Resolve, load_text};

/// The texts of a config's files, and what was asked beside them. Files of secrets are not in it: they are read again.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The one that was asked for first, then those that it includes.
    pub files: Vec<(PathBuf, Arc<str>)>,
    /// The files that each pattern of `include` stood for.
    pub found: BTreeMap<String, Vec<PathBuf>>,
    /// The variables that strings have in them; nothing for one that was not set.
    pub environment: BTreeMap<String, Option<String>>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The environment may hold secrets.
        f.debug_list().entries(self.files.iter().map(|(path, _)| path)).finish()
    }
}

impl Written {
    /// Reads it again.
    pub fn load(&self, epoch: u64, resolve: Resolve<'_>) -> Result<Loaded, Report> {
        let nothing = (PathBuf::new(), Arc::from(""));
        let (path, text) = self.files.first().unwrap_or(&nothing);
        let look_up = |name: &str| self.environment.get(name).cloned().flatten().map(OsString::from);
        load_text(path, text, Some(self), &look_up, epoch, resolve)
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|(_, text)| text.len()).sum()
    }

    pub(super) fn text(&self, path: &Path) -> Option<&str> {
        self.files.iter().find(|(known, _)| known == path).map(|(_, text)| &**text)
    }
}

/// Takes down what the environment is asked for.
#[derive(Default)]
pub(super) struct Asked(RefCell<BTreeMap<String, Option<String>>>);

impl Asked {
    pub(super) fn note(&self, name: &str, value: Option<&OsString>) {
        let value = value.map(|value| value.to_string_lossy().into_owned());
        self.0.borrow_mut().insert(name.to_owned(), value);
    }

    pub(super) fn into_inner(self) -> BTreeMap<String, Option<String>> {
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::load;

    #[test]
    fn a_config_is_read_again_as_it_was_whatever_has_become_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ringway.toml");
        fs::create_dir(dir.path().join("routes")).unwrap();
        let first = "include = [\"./routes/*.toml\", \"more.toml\"]\n\
                     [listener.web]\naddress = \"127.0.0.1:${PORT_THAT_IS_NOT_SET:-8080}\"\n";
        fs::write(&file, first).unwrap();
        let route = |name: &str| format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nservice = \"hello\"\n");
        for name in ["b", "a"] {
            fs::write(dir.path().join(format!("routes/{name}.toml")), route(name)).unwrap();
        }
        fs::write(dir.path().join("more.toml"), "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n").unwrap();
        let mut no_names = |name: &str, _| Err(format!("{name}?"));
        let before = load(&file, 1, &mut no_names).unwrap();
        let written = before.effective.written().clone();
        assert_eq!(written.files.len(), 4);
        assert!(written.bytes() > first.len());
        drop(dir);
        let again = written.load(7, &mut no_names).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(again.plan.epoch, 7);
        let names: Vec<&str> = again.plan.routes.iter().map(|route| &*route.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(crate::config::diff(&before.effective, &again.effective).is_empty());
        assert_eq!(**again.effective.written(), *written);
        assert!(Written::default().load(1, &mut no_names).is_err());
    }
}
