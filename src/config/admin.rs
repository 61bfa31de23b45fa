//! `[admin]`.

use super::Config;
use super::kind::Kind::{Duration, Either, Flag, Number, Secret};
use super::kind::{IP_ADDRESS, PATH};
use super::reader::Otherwise::{Is, Words};
use super::reader::{Fields, Problem, Section, key, section};
use super::values::{boolean, duration, integer, path, socket_address};
use crate::plan::Admin;

/// The fewest characters of a token: fewer can be guessed.
const TOKEN_MIN: usize = 16;

pub(super) const SECTION: Section = section(
    "[admin]",
    &[
        key("socket", PATH, Is("\"/run/ringway/admin.sock\"")),
        key("tcp", IP_ADDRESS, Words("none")),
        key("token", Secret, Words("none")),
        key("allow_remote", Either(&[Flag(true), Flag(false)]), Is("false")),
        key("connections", Number("number", 1, 1024), Is("64")),
        key("timeout", Duration, Is("\"10s\"")),
    ],
);

pub(super) fn read_all(root: &Fields<'_>, config: &mut Config) {
    let Some(fields) = root.table("admin", &SECTION) else { return };
    let mut admin = Admin::default();
    let mut allow_remote = false;
    fields.set("socket", &mut admin.socket, |value| path(value).map(Into::into));
    fields.set("allow_remote", &mut allow_remote, boolean);
    fields.set("connections", &mut admin.connections, integer(1..=1024));
    fields.set("timeout", &mut admin.timeout, duration);
    if let Some(value) = fields.get("token", Ok) {
        admin.token = fields.secret("token", value.value);
        if admin.token.as_ref().is_some_and(|token| token.expose().len() < TOKEN_MIN) {
            let problem = Problem::new(format!("at least {TOKEN_MIN} characters are wanted"));
            fields.complain("token", value.span, problem.with_help("such as the output of `openssl rand -hex 32`"));
        }
    }
    if let Some(tcp) = fields.get("tcp", socket_address) {
        if !fields.has("token") {
            let problem = Problem::new("without a token everyone on this machine could use it");
            let help = "add `token = { file = \"PATH\" }`, or leave `tcp` out: the socket needs none";
            fields.complain("tcp", tcp.span.clone(), problem.with_help(help));
        }
        if !tcp.value.ip().is_loopback() && !allow_remote {
            let problem =
                Problem::new(format!("{} can be reached from other machines, and nothing is encrypted", tcp.value));
            let help = "use a loopback address such as \"127.0.0.1:9901\", or say `allow_remote = true`";
            fields.complain("tcp", tcp.span, problem.with_help(help));
        }
        admin.tcp = Some(tcp.value);
    }
    config.admin = Some(admin);
}

#[cfg(test)]
mod tests {
    use crate::config::compile;

    const REST: &str = "[listener.web]\naddress = \"127.0.0.1:0\"\n[service.s]\ntype = \"respond\"\n\
                        [[route]]\nname = \"s\"\npath = \"/\"\nservice = \"s\"\n";

    fn errors(admin: &str) -> String {
        let text = format!("[admin]\n{admin}\n{REST}");
        compile("t.toml", &text, 1, &mut |_, _| Ok(Vec::new()))
            .map_or_else(|report| report.to_string(), |_| String::new())
    }

    #[test]
    fn a_port_needs_a_token_that_cannot_be_guessed_and_stays_on_this_machine_unless_allowed() {
        assert!(errors("tcp = \"127.0.0.1:9901\"").contains("admin.tcp: without a token"));
        assert!(errors("tcp = \"127.0.0.1:9901\"\ntoken = \"short\"").contains("admin.token: at least 16 characters"));
        let token = "token = \"0123456789abcdef\"";
        assert_eq!(errors(&format!("tcp = \"[::1]:9901\"\n{token}")), "");
        assert!(errors(&format!("tcp = \"0.0.0.0:9901\"\n{token}")).contains("from other machines"));
        assert_eq!(errors(&format!("tcp = \"0.0.0.0:9901\"\nallow_remote = true\n{token}")), "");
    }
}
