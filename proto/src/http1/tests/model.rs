//! Messages made from their parts read back as those parts.

use proptest::prelude::*;

use super::super::encode;
use super::*;

/// A field line in parts: name, whitespace before the value, value, whitespace after it.
type Line = (String, String, Vec<u8>, String);

fn token() -> impl Strategy<Value = String> {
    "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}"
}

fn spaces() -> impl Strategy<Value = String> {
    "[ \t]{0,3}"
}

/// Any bytes a value may hold, without whitespace at its ends.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![8 => 0x21..=0x7e_u8, 1 => 0x80..=0xff_u8, 1 => Just(b' '), 1 => Just(b'\t')];
    prop::collection::vec(byte, 0..60).prop_map(|bytes| super::super::values::trim(&bytes).to_vec())
}

/// A field the codec does not act on.
fn other_line() -> impl Strategy<Value = Line> {
    let name = token().prop_filter("a field with a meaning", |name| Known::of(name.as_bytes()) == Known::Other);
    (name, spaces(), value(), spaces())
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9_~-]{1,10}(\\.[a-zA-Z0-9_~-]{1,10}){0,3}(:[0-9]{1,4})?", Just("[2001:db8::1]:80".to_owned())]
}

#[derive(Clone, Debug)]
struct Request {
    method: String,
    /// Scheme and authority are written before the path.
    absolute: bool,
    path: String,
    query: Option<String>,
    http10: bool,
    host: String,
    framing: Framing,
    options: Vec<String>,
    others: Vec<Line>,
    /// Where among the others the fields with a meaning stand.
    places: [prop::sample::Index; 3],
    blank: bool,
}

fn any_request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![Just("GET".to_owned()), Just("HEAD".to_owned()), token()]
        .prop_filter("authority form", |method| method != "CONNECT");
    let framing =
        prop_oneof![Just(Framing::None), any::<u32>().prop_map(|n| Framing::Length(n.into())), Just(Framing::Chunked)];
    let target = (any::<bool>(), "/[!-\"$->@-~]{0,40}", prop::option::of("[!-\"$-~]{0,40}"));
    let rest = (
        host(),
        framing,
        prop::collection::vec(token(), 0..5),
        prop::collection::vec(other_line(), 0..20),
        any::<[prop::sample::Index; 3]>(),
        any::<bool>(),
    );
    (method, target, any::<bool>(), rest).prop_map(|(method, (absolute, path, query), http10, rest)| {
        let (host, framing, options, others, places, blank) = rest;
        let http10 = http10 && framing != Framing::Chunked;
        Request { method, absolute, path, query, http10, host, framing, options, others, places, blank }
    })
}

impl Request {
    /// All field lines, in the order they are written.
    fn lines(&self) -> Vec<Line> {
        let plain = |name: &str, value: String| (name.to_owned(), " ".to_owned(), value.into_bytes(), String::new());
        let mut lines = self.others.clone();
        let mut insert = |place: usize, line: Line| {
            let at = self.places[place].index(lines.len() + 1);
            lines.insert(at, line);
        };
        insert(0, plain("hOST", self.host.clone()));
        match self.framing {
            Framing::Length(length) => insert(1, plain("content-Length", length.to_string())),
            Framing::Chunked => insert(1, plain("transfer-encoding", "CHUNKED".to_owned())),
            Framing::None | Framing::UntilClose => {}
        }
        if !self.options.is_empty() {
            insert(2, plain("Connection", self.options.join(" ,")));
        }
        lines
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.blank {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("{} {} {}\r\n", self.method, self.target(), self.version()).as_bytes());
        for (name, before, value, after) in self.lines() {
            out.extend_from_slice(format!("{name}:{before}").as_bytes());
            out.extend_from_slice(&value);
            out.extend_from_slice(format!("{after}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    fn target(&self) -> String {
        let origin = if self.absolute { format!("http://{}", self.host) } else { String::new() };
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{origin}{}{query}", self.path)
    }

    fn version(&self) -> &'static str {
        if self.http10 { "HTTP/1.0" } else { "HTTP/1.1" }
    }

    fn has_option(&self, name: &str) -> bool {
        self.options.iter().any(|option| option.eq_ignore_ascii_case(name))
    }
}

/// A chunk: its data, the digits its size is padded to, its extension.
type Chunk = (Vec<u8>, usize, String);

fn chunks() -> impl Strategy<Value = Vec<Chunk>> {
    let extension = prop_oneof![3 => Just(String::new()), 1 => "[ \t]{0,2};[ -~\t]{0,30}"];
    prop::collection::vec((prop::collection::vec(any::<u8>(), 1..50), 1..=16_usize, extension), 0..10)
}

proptest! {
    #[test]
    fn a_request_reads_as_it_was_made(made in any_request()) {
        let mut input = made.bytes();
        let len = input.len();
        input.extend_from_slice(b"GET /next HTTP/1.1\r\n");
        let head = request(&input).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(head.len, len);
        prop_assert_eq!(head.method_span.of(&input), made.method.as_bytes());
        prop_assert_eq!(head.method, Method::from_token(made.method.as_bytes()));
        let target = made.target();
        prop_assert_eq!(head.target.whole.of(&input), target.as_bytes());
        prop_assert_eq!(head.target.path.of(&input), made.path.as_bytes());
        prop_assert_eq!(head.target.query.map(|query| query.of(&input)), made.query.as_deref().map(str::as_bytes));
        prop_assert_eq!(head.target.form, if made.absolute { TargetForm::Absolute } else { TargetForm::Origin });
        prop_assert_eq!(head.host.of(&input), made.host.as_bytes());
        prop_assert_eq!(head.version, if made.http10 { Version::Http10 } else { Version::Http11 });
        prop_assert_eq!(head.framing, made.framing);
        let keep = !made.has_option("close") && (!made.http10 || made.has_option("keep-alive"));
        prop_assert_eq!(head.keep_alive, keep);
        let lines = made.lines();
        prop_assert_eq!(head.fields.len(), lines.len());
        for (field, (name, _, value, _)) in head.fields.iter().zip(&lines) {
            prop_assert_eq!(field.name.of(&input), name.as_bytes());
            prop_assert_eq!(field.value.of(&input), value.as_slice());
            let known = Known::of(name.as_bytes());
            prop_assert_eq!(field.known, known);
            let hop = known.is_connection_specific() || (known == Known::Other && made.has_option(name));
            prop_assert_eq!(field.hop_by_hop, hop);
        }
    }

    #[test]
    fn what_was_read_and_written_reads_the_same_again(made in any_request()) {
        let input = made.bytes();
        let head = request(&input).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut again = Vec::new();
        encode::request_line(&mut again, head.method_span.of(&input), head.target.whole.of(&input));
        for field in &head.fields {
            encode::field(&mut again, field.name.of(&input), field.value.of(&input));
        }
        again.extend_from_slice(encode::CRLF);
        let second = request(&again);
        // It is written as 1.1, which is stricter on nothing a decoded 1.0 head with a Host can hold.
        let second = second.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(second.len, again.len());
        prop_assert_eq!(second.framing, head.framing);
        prop_assert_eq!(second.target.whole.of(&again), head.target.whole.of(&input));
        let fields = |head: &RequestHead, input: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
            head.fields.iter().map(|f| (f.name.of(input).to_vec(), f.value.of(input).to_vec())).collect()
        };
        prop_assert_eq!(fields(&second, &again), fields(&head, &input));
    }

    #[test]
    fn a_response_reads_as_it_was_written(status in 200_u16..=599, reason in "[ -~\t]{0,30}", others in
        prop::collection::vec(other_line(), 0..20), length in prop::option::of(any::<u32>())) {
        let mut out = Vec::new();
        encode::status_line(&mut out, Version::Http11, status, Some(reason.as_bytes()));
        for (name, _, value, _) in &others {
            encode::field(&mut out, name.as_bytes(), value);
        }
        let length = length.filter(|_| status != 204);
        if let Some(length) = length {
            out.extend_from_slice(b"Content-Length: ");
            encode::decimal(&mut out, length.into());
            out.extend_from_slice(encode::CRLF);
        }
        out.extend_from_slice(encode::CRLF);
        let head = response(&out, Method::Get).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!((head.status, head.reason.of(&out), head.len), (status, reason.as_bytes(), out.len()));
        prop_assert_eq!(head.content_length, length.map(u64::from));
        let framing = match length {
            _ if matches!(status, 204 | 304) => Framing::None,
            Some(length) => Framing::Length(length.into()),
            None => Framing::UntilClose,
        };
        prop_assert_eq!(head.framing, framing);
        for (field, (name, _, value, _)) in head.fields.iter().zip(&others) {
            prop_assert_eq!((field.name.of(&out), field.value.of(&out)), (name.as_bytes(), value.as_slice()));
        }
    }

    #[test]
    fn a_chunked_body_reads_as_it_was_made(chunks in chunks(), trailers in prop::collection::vec(other_line(), 0..5),
        cuts in prop::collection::vec(1..40_usize, 1..20)) {
        let mut input = Vec::new();
        for (data, digits, extension) in &chunks {
            input.extend_from_slice(format!("{:0digits$X}{extension}\r\n", data.len()).as_bytes());
            input.extend_from_slice(data);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"000\r\n");
        for (name, before, value, after) in &trailers {
            input.extend_from_slice(format!("{name}:{before}").as_bytes());
            input.extend_from_slice(value);
            input.extend_from_slice(format!("{after}\r\n").as_bytes());
        }
        input.extend_from_slice(b"\r\n");

        let limits = Limits::default();
        let mut body = Body::new(Framing::Chunked);
        let (mut data, mut seen_trailers) = (Vec::new(), Vec::new());
        let (mut at, mut end) = (0, 0);
        let mut cuts = cuts.iter().copied().cycle();
        while !body.is_done() {
            let event = body.decode(&input[at..end], &limits).map_err(|error| TestCaseError::fail(error.to_string()))?;
            match event.kind {
                EventKind::Data(span) => data.extend_from_slice(span.of(&input[at..end])),
                EventKind::Trailers(section) => {
                    seen_trailers.extend(section.iter(&input[at..end]).map(|(n, v)| (n.to_vec(), v.to_vec())));
                }
                EventKind::NeedMore => {
                    prop_assert!(end < input.len(), "it wants more than there is");
                    end = (end + cuts.next().unwrap_or(1)).min(input.len());
                }
                EventKind::End => prop_assert!(trailers.is_empty()),
            }
            at += event.consumed;
        }
        prop_assert_eq!(at, input.len());
        prop_assert_eq!(data, chunks.iter().flat_map(|(data, _, _)| data.clone()).collect::<Vec<u8>>());
        let forbidden = ["pragma", "expires", "retry-after", "warning", "content-location"];
        let expected: Vec<_> = trailers
            .iter()
            .map(|(name, _, value, _)| (name.as_bytes().to_vec(), value.clone()))
            .filter(|(name, _)| {
                let name = String::from_utf8_lossy(name).to_lowercase();
                let prefixes = ["if-", "proxy-", "x-forwarded-"];
                !forbidden.contains(&name.as_str()) && !prefixes.iter().any(|prefix| name.starts_with(prefix))
            })
            .collect();
        prop_assert_eq!(seen_trailers, expected);
    }
}
