//! Tests of configs in several files, with secrets and the environment, and of what changed between two.

use super::*;
use std::collections::HashMap;
use std::fs;
use tempfile::TempDir;

const LISTENER: &str = "[listener.web]\naddress = \"127.0.0.1:0\"\n";

fn route(name: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"u\"\n")
}

fn upstream(settings: &str) -> String {
    format!("[upstream.u]\nendpoints = [\"127.0.0.1:9\", \"127.0.0.1:10\"]\n{settings}\n")
}

/// A directory with these files in it.
fn files(all: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in all {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    dir
}

fn loaded(dir: &TempDir, environment: &[(&str, &str)]) -> Result<Loaded, Report> {
    let path = dir.path().join("main.toml");
    let known: HashMap<&str, &str> = environment.iter().copied().collect();
    let look_up = |name: &str| known.get(name).map(Into::into);
    load_text(&path, &fs::read_to_string(&path).unwrap(), None, &look_up, 1, &mut |host, _| Err(format!("{host}?")))
}

fn good(dir: &TempDir, environment: &[(&str, &str)]) -> Loaded {
    loaded(dir, environment).unwrap_or_else(|report| panic!("{report}"))
}

/// What changed from one config to another.
fn changed(old: &str, new: &str, environment: &[(&str, &str)]) -> Diff {
    let [old, new] = [old, new].map(|text| good(&files(&[("main.toml", text)]), environment).effective);
    diff(&old, &new)
}

#[test]
fn the_files_of_a_config_are_one_config_in_their_order() {
    let main = format!("include = [\"b/*.toml\", \"a.toml\"]\n{LISTENER}{}", route("main"));
    let dir = files(&[
        ("main.toml", &main),
        ("a.toml", &route("a")),
        ("b/2.toml", &route("b2")),
        ("b/1.toml", &format!("include = \"../c.toml\"\n{}", route("b1"))),
        ("b/.3.toml", &route("hidden")),
        ("b/4.txt", &route("other")),
        ("c.toml", &upstream("")),
    ]);
    let loaded = good(&dir, &[]);
    let names: Vec<&str> = loaded.plan.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["main", "b1", "b2", "a"]);
    assert_eq!(loaded.report.warnings(), 0, "{}", loaded.report);
    let read = ["main.toml", "b/1.toml", "b/../c.toml", "b/2.toml", "a.toml"];
    assert_eq!(loaded.report.files(), read.map(|name| dir.path().join(name)));
    assert_eq!(loaded.report.directories(), [dir.path().join("b/")]);
}

#[test]
fn a_config_split_into_files_says_what_it_says_in_one() {
    use proptest::prelude::*;
    let part = |index: usize| match index % 4 {
        0 => route(&format!("r{index}")),
        1 => format!("[upstream.x{index}]\nendpoints = \"127.0.0.1:9\"\n"),
        2 => format!("[service.s{index}]\ntype = \"respond\"\n"),
        _ => format!("[policy.p{index}]\ntype = \"headers\"\n"),
    };
    // The file of each part, in their order: the first is the one that includes the others.
    let split = proptest::collection::vec(0..4_usize, 1..16);
    proptest!(|(split in split)| {
        let mut split = split;
        split.sort_unstable();
        let mut texts = vec![format!("include = \"d/*.toml\"\n{LISTENER}{}{}", upstream(""), route("r"))];
        texts.resize(4, String::new());
        let mut one = texts.concat().replacen("include = \"d/*.toml\"\n", "", 1);
        for (index, file) in split.iter().enumerate() {
            texts[*file] += &part(index);
            one += &part(index);
        }
        let parts = [("main.toml", &*texts[0]), ("d/1.toml", &texts[1]), ("d/2.toml", &texts[2]), ("d/3.toml", &texts[3])];
        let several = good(&files(&parts), &[]);
        let one = good(&files(&[("main.toml", &one)]), &[]);
        prop_assert!(diff(&one.effective, &several.effective).is_empty());
        let names = |loaded: &Loaded| loaded.plan.upstreams.iter().map(|upstream| upstream.name.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(names(&one), names(&several));
        prop_assert_eq!(one.report.warnings(), several.report.warnings());
    });
}

#[test]
fn a_config_that_is_refused_tells_its_files_too() {
    let dir = files(&[("main.toml", "include = \"a.toml\"\n"), ("a.toml", "x = 1\n")]);
    let report = loaded(&dir, &[]).unwrap_err();
    assert_eq!(report.files(), ["main.toml", "a.toml"].map(|name| dir.path().join(name)));
    assert!(report.to_string().contains("a.toml:1:1: error: the config: unknown key `x`"), "{report}");
}

#[test]
fn patterns_of_one_list_may_overlap() {
    let main = format!("include = [\"d/z.toml\", \"d/*.toml\"]\n{LISTENER}{}", upstream(""));
    let dir = files(&[("main.toml", &main), ("d/a.toml", &route("a")), ("d/z.toml", &route("z"))]);
    let names: Vec<String> = good(&dir, &[]).plan.routes.iter().map(|route| route.name.to_string()).collect();
    assert_eq!(names, ["z", "a"]);
}

#[test]
fn files_may_not_include_each_other_without_end() {
    let dir = files(&[("main.toml", "include = \"a.toml\"\n"), ("a.toml", "include = \"sub/../main.toml\"\n")]);
    fs::create_dir(dir.path().join("sub")).unwrap();
    let report = loaded(&dir, &[]).unwrap_err().to_string();
    assert!(report.contains("a.toml:1:11: error: include: ") && report.contains("would include itself"), "{report}");

    let deep: Vec<(String, String)> =
        (0..12).map(|n| (format!("{n}.toml"), format!("include = \"{}.toml\"", n + 1))).collect();
    let mut all: Vec<(&str, &str)> = deep.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    all.push(("main.toml", "include = \"0.toml\"\n"));
    let report = loaded(&files(&all), &[]).unwrap_err();
    assert!(report.to_string().contains("7.toml:1:11: error: include: at most 8 files"), "{report}");
    assert_eq!(report.files().len(), 9);
}

#[test]
fn a_pipe_or_device_is_not_included() {
    let dir = files(&[("main.toml", "include = \"/dev/null\"\n")]);
    let report = loaded(&dir, &[]).unwrap_err().to_string();
    assert!(report.contains("main.toml:1:11: error: include: /dev/null is no file"), "{report}");
}

#[test]
fn a_config_has_a_bounded_number_of_files() {
    let dir = files(&[("main.toml", "include = [\"d/*.toml\", \"e/*.toml\"]\n")]);
    for (sub, count) in [("d", 1000), ("e", 30)] {
        fs::create_dir(dir.path().join(sub)).unwrap();
        (0..count).for_each(|n| fs::write(dir.path().join(format!("{sub}/{n:04}.toml")), "").unwrap());
    }
    let report = loaded(&dir, &[]).unwrap_err();
    assert!(report.to_string().contains("main.toml:1:24: error: include: a config has at most 1024 files"), "{report}");
    assert_eq!(report.files().len(), 1024);
}

#[test]
fn the_environment_fills_strings_and_numbers_and_nothing_else() {
    let text =
        format!("{LISTENER}{}{}", upstream("pool = { max_idle = \"${N}\", idle = \"${T}s\" }"), route("${NAME}"));
    let dir = files(&[("main.toml", &text.replace("web", "\"$x\"").replace("\"$x\"", "web"))]);
    let plan = good(&dir, &[("N", "7"), ("T", "9"), ("NAME", "r")]).plan;
    assert_eq!((plan.upstreams[0].pool.max_idle, plan.upstreams[0].pool.idle.as_secs()), (7, 9));
    assert_eq!((&*plan.routes[0].name, &*plan.routes[0].path), ("r", "/r"));
    // What would end the string and add keys, were it put into the file.
    let report = loaded(&dir, &[("N", "7 }\nevil = 1"), ("T", "9"), ("NAME", "r\"\nupstream = \"x")]).unwrap_err();
    let messages: Vec<&str> = report.diagnostics().iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages.len(), 3, "{report}");
    assert!(messages[0].contains("max_idle: a whole number") && messages[1].contains("is no name"), "{report}");
}

#[test]
fn a_number_in_quotes_is_a_number_only_where_the_environment_gave_it() {
    let text = |value: &str| format!("{LISTENER}{}{}", upstream(&format!("pool.max_idle = {value}")), route("r"));
    assert!(loaded(&files(&[("main.toml", &text("\"7\""))]), &[]).is_err());
    assert_eq!(good(&files(&[("main.toml", &text("\"${N:-7}\""))]), &[]).plan.upstreams[0].pool.max_idle, 7);
}

/// A config whose route sends a secret.
fn with_secret(secret: &str) -> String {
    let policies = format!("policies = [{{ type = \"headers\", request.set.authorization = {secret} }}]\n");
    format!("{LISTENER}{}{}{policies}", upstream(""), route("r"))
}

#[test]
fn a_secret_file_is_read_whole_but_for_its_last_newline_and_never_shown() {
    let dir = files(&[("main.toml", &with_secret("{ file = \"s/token\" }")), ("s/token", "Bearer {x}}7\r\n")]);
    let loaded = good(&dir, &[]);
    assert_eq!(loaded.report.files(), ["main.toml", "s/token"].map(|name| dir.path().join(name)));
    let mut sent = Vec::new();
    let crate::policy::Policy::Headers(headers) = &loaded.plan.routes[0].policies[0].policy else {
        panic!("headers are wanted")
    };
    headers.request_values().next().unwrap().render(&NoVars, &mut sent);
    assert_eq!(sent, b"Bearer {x}}7");
    let shown = format!("{:?} {:?} {:?}", loaded.plan, loaded.report, loaded.effective);
    assert!(!shown.contains("Bearer") && shown.contains("Secret(hidden)"), "{shown}");
}

struct NoVars;

impl crate::plan::Vars for NoVars {
    fn write(&self, _variable: crate::plan::Variable, _out: &mut Vec<u8>) {}
}

#[test]
fn a_secret_that_everyone_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let dir = files(&[("main.toml", &with_secret("{ file = \"token\" }")), ("token", "t")]);
    for (mode, warnings) in [(0o644, 1), (0o640, 0)] {
        fs::set_permissions(dir.path().join("token"), fs::Permissions::from_mode(mode)).unwrap();
        let report = good(&dir, &[]).report;
        assert_eq!(report.warnings(), warnings, "{report}");
    }
}

#[test]
fn secrets_are_bounded_and_must_be_fit_for_a_header() {
    let cases: [(&[u8], &str); 4] = [
        (&vec![b'a'; (64 << 10) + 1], "has more than 65536 bytes"),
        (b"a\r\nx: y\n", "byte 2 is no printable ASCII"),
        (b"\n", "it is empty"),
        (b"\xff", "is not UTF-8"),
    ];
    for (bytes, wanted) in cases {
        let dir = files(&[("main.toml", &with_secret("{ file = \"token\" }"))]);
        fs::write(dir.path().join("token"), bytes).unwrap();
        let report = loaded(&dir, &[]).unwrap_err().to_string();
        assert!(report.contains(wanted), "{wanted}: {report}");
    }
}

#[test]
fn what_the_environment_gives_for_a_secret_is_never_shown() {
    let text = with_secret("\"Bearer ${TOKEN}\"");
    let dir = files(&[("main.toml", &text)]);
    for token in ["{hush}", "hush{", "hush}", "hush\u{7f}"] {
        let report = loaded(&dir, &[("TOKEN", token)]).unwrap_err().to_string();
        assert!(!report.contains("hush") && report.contains("main.toml:"), "{report}");
    }
    let [old, new] = ["hush1", "hush2"].map(|token| good(&dir, &[("TOKEN", token)]).effective);
    let changes = diff(&old, &new);
    let shown = format!("{} {} {}", changes, changes.report(), changes.to_json());
    assert!(!changes.is_empty() && !shown.contains("hush") && shown.contains("${TOKEN}"), "{shown}");
}

#[test]
fn another_secret_in_the_same_file_is_a_change() {
    let dir = files(&[("main.toml", &with_secret("{ file = \"token\" }")), ("token", "hush1")]);
    let old = good(&dir, &[]).effective;
    assert!(diff(&old, &good(&dir, &[]).effective).is_empty());
    fs::write(dir.path().join("token"), "hush2").unwrap();
    let changes = diff(&old, &good(&dir, &[]).effective);
    assert_eq!(changes.to_string(), "~1 route");
    assert!(
        changes.report().contains("holds something else") && !changes.report().contains("hush"),
        "{}",
        changes.report()
    );
}

#[test]
fn each_kind_of_change_is_told() {
    let old = format!("{LISTENER}{}{}{}", upstream(""), route("a"), route("b"));
    let told = |new: &str| {
        let changes = changed(&old, new, &[]);
        (changes.to_string(), changes.report())
    };
    assert_eq!(told(&old), ("no change".to_owned(), String::new()));
    let new = old.replace("9\", \"127.0.0.1:10\"", "9\", { address = \"127.0.0.1:11\", weight = 2 }");
    let report = "~ upstream u\n    endpoints: -\"127.0.0.1:10\", +{ address = \"127.0.0.1:11\", weight = 2 }\n";
    assert_eq!(told(&new), ("~1 upstream".to_owned(), report.to_owned()));
    let new = format!("{old}{}[cores]\ndata = 2\n[policy.p]\ntype = \"rewrite\"\nquery = \"\"\n", route("c"));
    let report = "+ policy p\n+ route c\n~ cores\n    data: \"all\" -> 2\n";
    assert_eq!(told(&new), ("+1 policy, +1 route, ~cores".to_owned(), report.to_owned()));
    let new = format!("{LISTENER}{}{}{}", upstream(""), route("b"), route("a"));
    assert_eq!(told(&new), ("~order of routes".to_owned(), "~ the order of the routes\n".to_owned()));
    let new = format!("{}{}{}{}", LISTENER.replace("web", "other"), upstream(""), route("x"), route("y"));
    assert_eq!(told(&new).0, "+1 listener, +2 routes, -1 listener, -2 routes");
}

#[test]
fn a_setting_that_is_inherited_changes_with_its_origin() {
    let text = |limits: &str, own: &str| format!("{LISTENER}{own}\n{limits}\n{}{}", upstream(""), route("a"));
    let own = "limits = { head = \"8KiB\" }";
    assert_eq!(changed(&text("", ""), &text("[limits]\nhead = \"8KiB\"", ""), &[]).to_string(), "~limits, ~1 listener");
    assert_eq!(changed(&text("", own), &text("[limits]\nhead = \"8192B\"", own), &[]).to_string(), "~limits");
    assert!(changed(&text("[limits]\nhead = \"8KiB\"", own), &text("[limits]\nhead = \"8KiB\"", ""), &[]).is_empty());
}

#[test]
fn a_diff_of_a_config_with_itself_is_empty_and_swapping_swaps_it() {
    use proptest::prelude::*;
    let line = prop_oneof![
        Just("[cores]\ndata = 2\n".to_owned()),
        Just("[timeouts]\nhead = \"3s\"\n".to_owned()),
        Just("[limits]\nhead = \"9KiB\"\n".to_owned()),
        Just("[listener.other]\naddress = \"127.0.0.1:1\"\n".to_owned()),
        Just("[service.s]\ntype = \"respond\"\n".to_owned()),
        "[a-e]".prop_map(|name| route(&name)),
    ];
    let config = proptest::collection::vec(line, 0..6).prop_map(|mut lines| {
        lines.sort();
        lines.dedup();
        format!("{LISTENER}{}{}{}", upstream(""), route("z"), lines.concat())
    });
    proptest!(|(old in config.clone(), new in config)| {
        let forth = changed(&old, &new, &[]);
        let back = changed(&new, &old, &[]);
        prop_assert_eq!(forth.is_empty(), old == new);
        prop_assert_eq!(&forth.added, &back.removed);
        prop_assert_eq!(&forth.removed, &back.added);
        prop_assert_eq!(forth.changed.len(), back.changed.len());
        prop_assert!(changed(&old, &old, &[]).is_empty());
    });
}
