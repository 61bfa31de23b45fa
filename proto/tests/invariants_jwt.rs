//! What must hold of tokens for any bytes, tried on the fuzz corpus, on payloads that are damaged at random, and on
//! payloads in which the way to the claim is likely to be found.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

#[path = "../fuzz/invariants_jwt.rs"]
mod invariants;

mod corpus;

use proptest::prelude::*;

use self::corpus::{change, corpus, damage};

#[test]
fn the_invariants_hold_for_the_checked_in_corpus() {
    for seed in corpus("jwt") {
        invariants::jwt(&seed);
    }
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = change(b"{}[]\",:\\/u0e-.dDnt \n\xc3\xed\xff");
    (prop::sample::select(corpus("jwt")), prop::collection::vec(change, 1..5)).prop_map(|(mut bytes, changes)| {
        damage(&mut bytes, changes);
        bytes
    })
}

/// Names of which few are apart, each also as a step of a pointer and as one of its spellings in JSON.
const NAMES: &[(&str, &[&str])] = &[
    ("a", &["\"a\"", "\"\\u0061\""]),
    ("ab", &["\"ab\"", "\"\\u0061b\""]),
    ("", &["\"\""]),
    ("x~1y", &["\"x/y\"", "\"x\\/y\""]),
    ("~0", &["\"~\""]),
    ("\u{1f600}", &["\"\u{1f600}\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\""]),
];

const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-17",
    "18446744073709551615",
    "18446744073709551616",
    "1.0",
    "1e2",
    "-1E+2",
    "\"\"",
    "\"text\"",
    "\"\\u00e9\\n\\\"\\\\\\/\\b\\f\\r\\t\\u0000\"",
    "\"\\ud83d\\ude00 \u{e9}\"",
    // What is refused.
    "\"\\ud83d\"",
    "\"\\ude00\"",
    "\"\\ud83d\\u0041\"",
    "\"\\x\"",
    "\"\t\"",
    "01",
    "1.",
    ".5",
    "+1",
    "nul",
    "NaN",
    "'a'",
    "",
];

fn scalar() -> impl Strategy<Value = String> {
    let likely = || prop::sample::select(SCALARS).prop_map(str::to_owned);
    prop_oneof![6 => prop::sample::select(&SCALARS[..15]).prop_map(str::to_owned), 1 => likely(),
        1 => (200..300_usize).prop_map(|len| format!("\"{}\"", "v".repeat(len)))]
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(NAMES).prop_flat_map(|(_, spellings)| prop::sample::select(spellings)).prop_map(str::to_owned)
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" \t\r\n")]
}

fn payload() -> impl Strategy<Value = String> {
    let object = |value: BoxedStrategy<String>| {
        prop::collection::vec((space(), name(), space(), value), 0..5).prop_map(|members| {
            let members: Vec<String> =
                members.into_iter().map(|(a, name, b, value)| format!("{a}{name}{b}:{a}{value}{b}")).collect();
            format!("{{{}}}", members.join(","))
        })
    };
    let value = scalar().prop_recursive(4, 40, 5, move |value| {
        let array = prop::collection::vec(value.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(" ,")));
        prop_oneof![3 => object(value.boxed()), 1 => array]
    });
    (space(), object(value.boxed()), space()).prop_map(|(before, object, behind)| format!("{before}{object}{behind}"))
}

fn path() -> impl Strategy<Value = String> {
    let step = prop::sample::select(NAMES).prop_map(|(name, _)| name);
    let pointer = prop::collection::vec(step, 1..4).prop_map(|steps| format!("/{}", steps.join("/")));
    prop_oneof![Just("a".to_owned()), Just("ab".to_owned()), pointer]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_for_damaged_payloads(bytes in damaged()) {
        invariants::jwt(&bytes);
    }

    #[test]
    fn a_claim_is_what_a_parser_of_all_of_it_finds(path in path(), payload in payload()) {
        invariants::jwt(format!("{path}\n{payload}").as_bytes());
    }
}
