//! The Debian package and the systemd unit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::notify::{Manager, address_in};
use super::{is_there, source};
use crate::support::{Child, Client};

const RINGWAY: &str = env!("CARGO_BIN_EXE_ringway");

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    output
}

fn build(output: &Path) -> String {
    let mut package = Command::new(source("tools/package"));
    package.args(["--fast", "--binary", RINGWAY, "--output"]).arg(output).env("SOURCE_DATE_EPOCH", "1700000000");
    String::from_utf8(run(&mut package).stdout).unwrap().trim().to_owned()
}

#[test]
fn the_package_has_all_its_parts_and_the_same_bytes_each_time() {
    if !["dpkg-deb", "dpkg-shlibdeps", "strip"].into_iter().all(is_there) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let package = build(&dir.path().join("one"));
    let again = build(&dir.path().join("two"));
    assert!(fs::read(&package).unwrap() == fs::read(&again).unwrap(), "two builds differ");

    let listed = String::from_utf8(run(Command::new("dpkg-deb").args(["--contents", &package])).stdout).unwrap();
    for line in listed.lines() {
        assert!(line.contains(" root/root "), "{line}");
    }
    for (mode, file) in [
        ("-rwxr-xr-x", "usr/bin/ringway"),
        ("-rw-r--r--", "etc/ringway/ringway.toml"),
        ("-rw-r--r--", "usr/lib/systemd/system/ringway.service"),
        ("-rw-r--r--", "usr/lib/sysusers.d/ringway.conf"),
        ("-rw-r--r--", "usr/share/man/man1/ringway.1.gz"),
        ("-rw-r--r--", "usr/share/man/man1/ringway-run.1.gz"),
        ("-rw-r--r--", "usr/share/bash-completion/completions/ringway"),
        ("-rw-r--r--", "usr/share/zsh/vendor-completions/_ringway"),
        ("-rw-r--r--", "usr/share/fish/vendor_completions.d/ringway.fish"),
        ("-rw-r--r--", "usr/share/doc/ringway/config.md"),
        ("-rw-r--r--", "usr/share/doc/ringway/seccomp.json"),
        ("-rw-r--r--", "usr/share/doc/ringway/copyright"),
    ] {
        let is_it = |line: &&str| line.starts_with(mode) && line.ends_with(&format!(" ./{file}"));
        assert!(listed.lines().any(|line| is_it(&line)), "{file} in {listed}");
    }
    let field =
        |name| String::from_utf8(run(Command::new("dpkg-deb").args(["--field", &package, name])).stdout).unwrap();
    assert_eq!(field("Version").trim(), format!("{}-1", env!("CARGO_PKG_VERSION")));
    assert!(field("Depends").contains("libc6 (>= "), "{}", field("Depends"));

    let tree = dir.path().join("tree");
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(&package).arg(&tree));
    assert_eq!(fs::read_to_string(tree.join("DEBIAN/conffiles")).unwrap(), "/etc/ringway/ringway.toml\n");
    run(Command::new(tree.join("usr/bin/ringway")).arg("check").arg(tree.join("etc/ringway/ringway.toml")));
    run(Command::new("md5sum").args(["--check", "--quiet", "DEBIAN/md5sums"]).current_dir(&tree));
    if is_there("lintian") {
        // The one tag is about a place in Debian's own archive, which nobody asks for.
        let archive = "initial-upload-closes-no-bugs";
        let options = ["--fail-on", "error,warning", "--allow-root", "--suppress-tags", archive];
        run(Command::new("lintian").args(options).arg(&package));
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_package_for_other_processors_is_turned_away_before_it_takes_the_place_of_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let script = fs::read_to_string(source("tools/packaging/debian/preinst")).unwrap();
    let before = |level: &str, action: &str, root: &str| {
        let path = dir.path().join("preinst");
        fs::write(&path, script.replace("@LEVEL@", level)).unwrap();
        Command::new("sh").arg(&path).arg(action).env("DPKG_ROOT", root).output().unwrap()
    };
    // No processor is of this level yet.
    for action in ["install", "upgrade"] {
        let refused = before("x86-64-v9", action, "");
        assert!(!refused.status.success(), "{action}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("x86-64-v9") && said.contains("tools/package --cpu x86-64"), "{said}");
    }
    // What is undone goes through, and so does what is for another machine.
    assert!(before("x86-64-v9", "abort-upgrade", "").status.success());
    assert!(before("x86-64-v9", "install", "/image").status.success());
    let here = if std::arch::is_x86_feature_detected!("avx2") { "x86-64-v3" } else { "x86-64-v2" };
    let accepted = before(here, "upgrade", "");
    assert!(accepted.status.success(), "{accepted:?}");
}

/// A tree that packages are installed into as on a machine of its own, with their scripts.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn new(dir: &Path) -> Self {
        let root = dir.join("machine");
        fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
        fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
        for list in ["status", "available"] {
            fs::write(root.join("var/lib/dpkg").join(list), "").unwrap();
        }
        Self { root }
    }

    fn dpkg(&self, arguments: &[&str]) {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("--root").arg(&self.root).arg(format!("--log={}", self.root.join("log").display()));
        // What it depends on is on this machine. Without a shell in the tree scripts run outside of it, with DPKG_ROOT.
        dpkg.args([
            "--force-not-root",
            "--force-depends",
            "--force-script-chrootless",
            "--force-confdef",
            "--force-unsafe-io",
        ]);
        run(dpkg.args(["--force-confold"]).args(arguments));
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

#[test]
fn it_is_installed_runs_as_a_service_is_upgraded_and_removed() {
    if !["dpkg", "dpkg-deb", "dpkg-shlibdeps", "strip", "systemd-sysusers"].into_iter().all(is_there) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (machine, package) = (Machine::new(dir.path()), build(dir.path()));
    machine.dpkg(&["--install", &package]);
    let users = fs::read_to_string(machine.path("etc/passwd")).expect("there are users now");
    assert!(users.lines().any(|line| line.starts_with("ringway:")), "{users}");

    // As the unit starts it; its own places are those of the whole machine.
    let unit = fs::read_to_string(machine.path("usr/lib/systemd/system/ringway.service")).unwrap();
    assert!(
        unit.contains("\nExecStart=/usr/bin/ringway run /etc/ringway/ringway.toml\n") && unit.contains("Type=notify")
    );
    let config = machine.path("etc/ringway/ringway.toml");
    let text = fs::read_to_string(&config).unwrap();
    let here = text.replace("\"/run/ringway/", &format!("\"{}/", dir.path().display()));
    let here = here.replace("# data = \"1-7\"", "data = 1").replace("127.0.0.1:8080", "127.0.0.1:0");
    assert_ne!(here, text);
    fs::write(&config, &here).unwrap();
    let manager = Manager::listen();
    let mut service = Command::new(machine.path("usr/bin/ringway"));
    service.arg("run").arg(&config).env("NOTIFY_SOCKET", manager.address()).stdout(Stdio::null());
    let child = Child::start(&mut service);
    let ready = manager.next();
    assert!(ready.starts_with("READY=1\n"), "{ready}");
    let answer = Client::connect(address_in(&ready)).get("/");
    assert!(answer.text().starts_with("Ringway is running."), "{}", answer.text());

    // Another version: the config that was changed stays, and the one that runs starts the new program to take over.
    let tree = dir.path().join("tree");
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(&package).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let newer = fs::read_to_string(&control).unwrap().replace("\nVersion: ", "\nVersion: 9");
    fs::write(&control, newer).unwrap();
    let newer = dir.path().join("newer.deb");
    run(Command::new("dpkg-deb").args(["-Zgzip", "-z1", "--root-owner-group", "--build"]).arg(&tree).arg(&newer));
    machine.dpkg(&["--install", newer.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&config).unwrap(), here);
    let mut upgrade = Command::new(machine.path("usr/bin/ringway"));
    run(upgrade.args(["admin", "upgrade", "--socket"]).arg(dir.path().join("admin.sock")));
    let told = manager.next();
    let pid = told.strip_prefix("MAINPID=").and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    assert_eq!(manager.next(), ready, "it goes on at the same address");
    kill_process(pid.unwrap_or_else(|| panic!("{told}")), Signal::TERM).expect("it runs");
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining");
    assert_eq!(child.wait().exit.code(), Some(0));

    machine.dpkg(&["--remove", "ringway"]);
    assert!(!machine.path("usr/bin/ringway").exists() && config.exists());
    machine.dpkg(&["--purge", "ringway"]);
    assert!(!config.exists());
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    if !is_there("systemd-analyze") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("ringway.service");
    let text = fs::read_to_string(source("tools/packaging/ringway.service")).unwrap();
    fs::write(&unit, text.replace("/usr/bin/ringway", RINGWAY)).unwrap();
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit)).stderr;
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    // In tenths, of 100: above 20 something that protects was taken out.
    run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=20"]).arg(&unit));
}

#[test]
fn the_container_starts_with_a_config_that_is_sound() {
    run(Command::new(RINGWAY).args(["check", &source("tools/packaging/container/ringway.toml")]));
}

#[test]
fn shells_take_the_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(Command::new(RINGWAY).args(["completions", shell])).stdout;
        if is_there(shell) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("completions");
            fs::write(&file, script).unwrap();
            run(Command::new(shell).arg("-n").arg(file));
        }
    }
}
