//! What Ringway must survive: each attack of `docs/threat-model.md` as a test.

mod churn;
mod confusion;
mod desync;
mod files;
mod floods;
mod hostile_upstreams;
mod http2;
mod overload;
mod smuggling;

use std::fs;

/// The threat model names its tests in code marks: `place::file::test`, or `place::file` for all of them.
#[test]
fn the_threat_model_names_tests_that_exist_and_every_test_of_an_attack() {
    let model = fs::read_to_string("docs/threat-model.md").unwrap();
    let named: Vec<&str> = model.split('`').filter(|mark| mark.contains("::")).collect();
    assert!(named.len() > 40, "{named:?}");
    for name in &named {
        let parts: Vec<&str> = name.split("::").collect();
        let source = fs::read_to_string(format!("tests/{}/{}.rs", parts[0], parts[1])).expect(name);
        assert!(parts.get(2).is_none_or(|test| source.contains(&format!("fn {test}("))), "{name}");
    }
    for file in fs::read_dir("tests/attack").unwrap().map(|entry| entry.unwrap().path()) {
        let module = file.file_stem().unwrap().to_str().unwrap();
        for line in fs::read_to_string(&file).unwrap().lines() {
            let test = line.strip_prefix("fn ").and_then(|line| line.strip_suffix("(engine: Engine) {"));
            let Some(test) = test else { continue };
            let name = format!("attack::{module}::{test}");
            assert!(named.contains(&&*name), "the threat model has no {name}");
        }
    }
}
