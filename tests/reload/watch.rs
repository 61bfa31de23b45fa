//! Files of the config that change by themselves, in all the ways in which editors and tools change them.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Config, Engine, Gateway, on_both_engines};

on_both_engines!(
    each_way_to_change_a_file_is_noticed,
    links_that_are_swapped_are_noticed,
    what_says_the_same_as_before_is_no_change,
    a_watch_ends_with_the_plan_that_asked_for_it,
);

fn config(engine: Engine, text: &str) -> Config {
    Config::new(engine).more(&format!(
        "[control]\nwatch = true\n[service.hello]\ntype = \"respond\"\nbody = \"{text}\"\n\
         [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n"
    ))
}

/// What the gateway says of the next plan it takes up.
///
/// A file that is written in place may be read half-written: then it says that the plan before is kept until the rest is
/// there, and that is passed over.
fn next_plan(gateway: &Gateway) -> String {
    let said = gateway.child.says("ringway: plan ");
    said[said.rfind("ringway: plan ").unwrap()..].to_owned()
}

/// Waits until the gateway has taken up another plan, and that it is the one with this text.
fn expect(gateway: &Gateway, text: &str) {
    let said = next_plan(gateway);
    assert!(said.contains("~1 service"), "{said}");
    assert_eq!(gateway.connect().get("/hello").text(), text);
}

fn each_way_to_change_a_file_is_noticed(engine: Engine) {
    let gateway = config(engine, "first").start();
    let file = gateway.file();
    fs::write(&file, config(engine, "in place").text()).unwrap();
    expect(&gateway, "in place");
    // As tools do: all of it under another name, then in the place of the file.
    let beside = file.with_file_name("ringway.toml.new");
    fs::write(&beside, config(engine, "moved").text()).unwrap();
    fs::rename(&beside, &file).unwrap();
    expect(&gateway, "moved");
    // As editors do: the old one becomes a backup.
    fs::rename(&file, file.with_file_name("ringway.toml~")).unwrap();
    fs::write(&file, config(engine, "with a backup").text()).unwrap();
    expect(&gateway, "with a backup");
    fs::remove_file(&file).unwrap();
    assert!(gateway.child.says("kept plan").contains("cannot be read"));
    fs::write(&file, config(engine, "gone and back").text()).unwrap();
    expect(&gateway, "gone and back");
}

fn links_that_are_swapped_are_noticed(engine: Engine) {
    let gateway = config(engine, "first").start();
    let file = gateway.file();
    let dir = file.parent().unwrap();
    // As a container's config is laid out: the file leads through a link that is swapped in one step.
    let lay_out = |version: &str| {
        fs::create_dir(dir.join(version)).unwrap();
        fs::write(dir.join(version).join("ringway.toml"), config(engine, version).text()).unwrap();
        symlink(version, dir.join("..data_new")).unwrap();
        fs::rename(dir.join("..data_new"), dir.join("..data")).unwrap();
    };
    lay_out("..2025");
    symlink("..data/ringway.toml", dir.join("link")).unwrap();
    fs::rename(dir.join("link"), &file).unwrap();
    expect(&gateway, "..2025");
    lay_out("..2026");
    expect(&gateway, "..2026");
    lay_out("..2027");
    expect(&gateway, "..2027");
    // A file behind the links is noticed as well.
    fs::write(dir.join("..2027/ringway.toml"), config(engine, "in place").text()).unwrap();
    expect(&gateway, "in place");
}

fn what_says_the_same_as_before_is_no_change(engine: Engine) {
    let gateway = config(engine, "first").start();
    fs::write(gateway.file(), config(engine, "first").text() + "# a remark\n").unwrap();
    fs::write(gateway.file().with_file_name("other"), "nothing of the config").unwrap();
    fs::write(gateway.file(), config(engine, "second").text()).unwrap();
    let said = next_plan(&gateway);
    assert!(said.starts_with("ringway: plan 1 -> 2: ~1 service, built in "), "{said}");
    assert_eq!(gateway.connect().get("/hello").text(), "second");
}

fn a_watch_ends_with_the_plan_that_asked_for_it(engine: Engine) {
    let gateway = config(engine, "first").start();
    let base = Config::new(engine);
    let hello = |text: &str| {
        base.clone().more(&format!(
            "[service.hello]\ntype = \"respond\"\nbody = \"{text}\"\n\
             [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n"
        ))
    };
    fs::write(gateway.file(), hello("second").text()).unwrap();
    let said = next_plan(&gateway);
    assert!(said.contains("~control"), "{said}");
    fs::write(gateway.file(), hello("third").text()).unwrap();
    // Only the signal has it read.
    assert!(gateway.run(&hello("fourth")).contains("~1 service"));
    assert_eq!(gateway.connect().get("/hello").text(), "fourth");
}
