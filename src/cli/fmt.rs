//! `ringway fmt FILE...`: writes configs in the one way.

use super::Exit;
use crate::config;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What to format.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The configs to format, in place; a file that is included is not followed
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Change nothing; name the files that are not formatted, and exit with 1 where there are any
    #[arg(long)]
    check: bool,
}

/// A line on `out` for each file that was, or would be, changed.
pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let mut exit = Exit::Done;
    for path in &args.files {
        let file = path.display();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                writeln!(err, "{file}: error: cannot be read: {error}")?;
                exit = exit.max(Exit::Input);
                continue;
            }
        };
        match config::format(&file.to_string(), &text) {
            Ok(formatted) if formatted == text => {}
            Ok(_) if args.check => {
                writeln!(out, "{file}: not formatted")?;
                exit = exit.max(Exit::Input);
            }
            Ok(formatted) => match replace(path, &formatted) {
                Ok(()) => writeln!(out, "{file}: formatted")?,
                Err(error) => {
                    writeln!(err, "{file}: error: cannot be written: {error}")?;
                    exit = exit.max(Exit::Machine);
                }
            },
            Err(report) => {
                write!(err, "{report}")?;
                exit = exit.max(Exit::Input);
            }
        }
    }
    Ok(exit)
}

/// Puts a new file in the place of one, so that a gateway that watches it never sees half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one: the file behind it is replaced.
    let path = fs::canonicalize(path)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".ringway-fmt-{}", std::process::id()));
    let new = path.with_file_name(name);
    let written = fs::write(&new, text)
        .and_then(|()| fs::set_permissions(&new, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&new, &path));
    if written.is_err() {
        // The error that is told is the first one.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn formatted(files: &[&Path], check: bool) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Args { files: files.iter().map(|file| file.to_path_buf()).collect(), check };
        let exit = run(&args, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit, text(out), text(err))
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.toml"), dir.path().join("link.toml"));
        fs::write(&file, "a=1\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a.toml", &link).unwrap();
        assert_eq!(formatted(&[&link], true).0, Exit::Input);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a=1\n");
        assert_eq!(formatted(&[&link], false), (Exit::Done, format!("{}: formatted\n", link.display()), String::new()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "a = 1\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(formatted(&[&link], true), (Exit::Done, String::new(), String::new()));
    }

    #[test]
    fn one_bad_file_does_not_hold_up_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let [bad, good, gone] = ["bad.toml", "good.toml", "gone.toml"].map(|name| dir.path().join(name));
        fs::write(&bad, "a = \n").unwrap();
        fs::write(&good, "a=1").unwrap();
        let (exit, out, err) = formatted(&[&bad, &gone, &good], false);
        assert_eq!((exit, out), (Exit::Input, format!("{}: formatted\n", good.display())));
        assert!(err.contains("bad.toml:1:") && err.contains("gone.toml: error: cannot be read"), "{err}");
        assert_eq!(fs::read_to_string(&good).unwrap(), "a = 1\n");
    }

    #[test]
    fn the_configs_of_this_repository_are_formatted() {
        let recipes = fs::read_dir("docs/recipes").unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            recipes.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
        files.push("src/cli/demo/demo.toml".into());
        files.push("tests/check/good.toml".into());
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        assert_eq!(formatted(&files, true), (Exit::Done, String::new(), String::new()));
    }
}
