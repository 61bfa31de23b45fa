//! Unix sockets to listen on and to connect to.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread;

use super::{ask, connect, curl, nginx, told};
use crate::support::{Config, Engine, on_both_engines};

on_both_engines!(
    clients_are_served_by_a_unix_socket,
    clients_are_served_by_an_abstract_name,
    curl_comes_by_a_unix_socket,
    every_core_serves_one_socket,
    a_truncated_answer_is_seen_as_such,
    what_a_dead_process_left_is_replaced_and_what_lives_is_not,
    the_doctor_looks_at_unix_sockets,
    upstreams_answer_by_unix_sockets,
    nginx_is_asked_by_a_unix_socket,
);

fn listener(socket: &str, more: &str) -> String {
    format!("[listener.local]\naddress = \"unix:{socket}\"\n{more}\n")
}

fn clients_are_served_by_a_unix_socket(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("web.sock").display().to_string();
    let own = fs::metadata(dir.path()).unwrap();
    let mode = format!("unix = {{ mode = \"0600\", owner = \"{}\" }}", own.uid());
    let config = Config::new(engine).origin(&origin);
    let gateway = config.clone().more(&listener(&socket, &mode)).start();
    assert!(gateway.ready.contains(&format!("local unix:{socket}")), "{}", gateway.ready);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    // It has no address that could be told.
    assert_eq!(ask(connect(&socket).unwrap(), b""), "unknown http");
    let mut kept = connect(&socket).unwrap();
    for _ in 0..3 {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = [0; 1024];
        let count = kept.read(&mut answer).unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
    }
    gateway.run(&config.more(&listener(&socket, "unix = { mode = \"0660\" }")));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(ask(connect(&socket).unwrap(), b""), "unknown http");
    assert_eq!(gateway.stop().exit.code(), Some(0));
    assert!(!fs::exists(&socket).unwrap(), "the file goes with the gateway");
}

fn clients_are_served_by_an_abstract_name(engine: Engine) {
    let origin = told();
    let name = format!("@ringway-{}-{}", engine.name(), std::process::id());
    let gateway = Config::new(engine).origin(&origin).more(&listener(&name, "")).start();
    assert_eq!(ask(connect(&name).unwrap(), b""), "unknown http");
    let second = Config::new(engine).origin(&origin).more(&listener(&name, ""));
    let (child, _dir) = second.spawn();
    let ended = child.wait();
    assert_eq!(ended.exit.code(), Some(3));
    assert!(ended.errors.contains(&format!("cannot listen on unix:{name}")), "{}", ended.errors);
    gateway.stop();
    assert!(connect(&name).is_err());
}

fn curl_comes_by_a_unix_socket(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("web.sock").display().to_string();
    let trusted = "trusted_proxies = \"unix\"";
    let _gateway = Config::new(engine).origin(&origin).more(&listener(&socket, trusted)).start();
    let url = "http://example.com/a";
    assert_eq!(curl(&["--unix-socket", &socket, url]), "unknown http");
    let forwarded = ["-H", "X-Forwarded-For: 192.0.2.9", "-H", "X-Forwarded-Proto: https"];
    let told = curl(&[&["--unix-socket", &socket, url], &forwarded[..]].concat());
    assert_eq!(told, "192.0.2.9, unknown https");
    let named = format!("@ringway-curl-{}-{}", engine.name(), std::process::id());
    let _other = Config::new(engine).origin(&origin).more(&listener(&named, "")).start();
    assert_eq!(curl(&["--abstract-unix-socket", &named[1..], url]), "unknown http");
}

fn every_core_serves_one_socket(engine: Engine) {
    const CLIENTS: usize = 200;
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("web.sock").display().to_string();
    for placement in ["kernel", "cpu", "least-loaded"] {
        let metrics = dir.path().join(placement);
        let gateway = Config::new(engine)
            .data(2)
            .cores(&format!("placement = \"{placement}\"\nmetrics_dir = \"{}\"", metrics.display()))
            .origin(&origin)
            .more(&listener(&socket, ""))
            .start();
        // All at once, each with a request, and all are open together.
        let clients: Vec<UnixStream> = (0..CLIENTS)
            .map(|_| {
                let mut stream = connect(&socket).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                stream
            })
            .collect();
        for mut client in clients {
            let mut answer = [0; 1024];
            let count = client.read(&mut answer).unwrap();
            assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
        }
        gateway.stop();
        let files = ringway_runtime::histogram::read_dir(&metrics).unwrap().into_iter().map(Result::unwrap);
        let accepted: Vec<u64> =
            files.filter_map(|file| file.counter("ringway_connections_accepted_total", &[])).collect();
        println!("{placement}: {accepted:?}");
        assert_eq!(accepted.iter().sum::<u64>(), CLIENTS as u64);
        if placement == "least-loaded" {
            assert!(accepted.iter().all(|&accepted| accepted > CLIENTS as u64 / 8), "{accepted:?}");
        }
    }
}

/// There are no resets on a Unix socket, so what a client can see is that the last chunk does not come.
fn a_truncated_answer_is_seen_as_such(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("web.sock").display().to_string();
    let (origin, _) = crate::support::Origin::serve(|_, upstream| {
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        false
    });
    let _gateway = Config::new(engine).origin(&origin).more(&listener(&socket, "")).start();
    let output = Command::new("curl").args(["-sS", "--max-time", "20", "--unix-socket", &socket, "http://a/"]).output();
    assert_eq!(output.unwrap().status.code(), Some(18), "a partial file");
}

fn what_a_dead_process_left_is_replaced_and_what_lives_is_not(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("web.sock").display().to_string();
    let config = Config::new(engine).origin(&origin).more(&listener(&socket, ""));
    drop(UnixListener::bind(&socket).unwrap());
    assert!(fs::exists(&socket).unwrap());
    let gateway = config.start();
    assert_eq!(ask(connect(&socket).unwrap(), b""), "unknown http");
    let refused = |config: &Config, wanted: &str| {
        let (child, _dir) = config.spawn();
        let ended = child.wait();
        assert_eq!(ended.exit.code(), Some(3), "{}", ended.errors);
        assert!(ended.errors.contains("listener `local`: ") && ended.errors.contains(wanted), "{}", ended.errors);
    };
    refused(&config, "is in use: another process answers there");
    assert_eq!(ask(connect(&socket).unwrap(), b""), "unknown http", "the one that was there goes on");
    gateway.stop();
    fs::write(&socket, "precious").unwrap();
    refused(&config, "is there and is no socket");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    let nowhere = dir.path().join("none/web.sock").display().to_string();
    refused(&Config::new(engine).origin(&origin).more(&listener(&nowhere, "")), "no such directory");
    let free = dir.path().join("other.sock").display().to_string();
    let nobody = listener(&free, "unix = { owner = \"nobody-of-this-name\" }");
    refused(&Config::new(engine).origin(&origin).more(&nobody), "there is no user");
    assert!(!fs::exists(&free).unwrap());
}

fn the_doctor_looks_at_unix_sockets(engine: Engine) {
    let (origin, dir) = (told(), tempfile::tempdir().unwrap());
    let file = dir.path().join("ringway.toml");
    let [free, taken, nowhere] =
        ["free.sock", "taken.sock", "none/x.sock"].map(|name| dir.path().join(name).display().to_string());
    let _holder = UnixListener::bind(&taken).unwrap();
    let listeners = [("a", &free), ("b", &taken), ("c", &nowhere)]
        .map(|(name, socket)| listener(socket, "").replace("local", name))
        .concat();
    fs::write(&file, Config::new(engine).origin(&origin).more(&listeners).text()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ringway")).arg("doctor").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for wanted in [format!("a: unix:{free} is free"), format!("{taken} is in use"), "there is no directory".to_owned()]
    {
        assert!(said.contains(&wanted), "{said}\nlacks {wanted}");
    }
    assert!(!fs::exists(&free).unwrap(), "nothing is left");
}

/// Serves by a thread at a Unix socket until the test process ends, and answers with the name of its socket.
fn serve(socket: &str) {
    let listener = UnixListener::bind(socket).unwrap();
    let name = socket.rsplit('/').next().unwrap().to_owned();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let name = name.clone();
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|count| count > 0) {
                    request.push(byte[0]);
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

fn upstreams_answer_by_unix_sockets(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let [one, two, gone] = ["one", "two", "gone"].map(|name| dir.path().join(name).display().to_string());
    serve(&one);
    serve(&two);
    let upstream = |endpoints: &[&String], more: &str| {
        let endpoints: Vec<String> = endpoints.iter().map(|socket| format!("unix:{socket}")).collect();
        format!(
            "[upstream.local]\nendpoints = {endpoints:?}\n{more}\n\
             [[route]]\nname = \"l\"\npath = \"/{{rest...}}\"\nupstream = \"local\"\n"
        )
    };
    let health = "health = { path = \"/\", interval = \"20ms\" }";
    let gateway = Config::new(engine).more(&upstream(&[&one, &two], health)).start();
    let mut client = gateway.connect();
    let mut answers: Vec<String> = (0..4).map(|_| client.get("/").text().to_owned()).collect();
    answers.sort();
    assert_eq!(answers, ["one", "one", "two", "two"]);
    // One that is not there is passed over, and one alone is an error of the upstream's.
    gateway.run(&Config::new(engine).more(&upstream(&[&gone, &two], "")));
    assert_eq!([0; 4].map(|_| client.get("/").text().to_owned()), ["two"; 4]);
    gateway.run(&Config::new(engine).more(&upstream(&[&gone], "retry = { attempts = 1 }")));
    let answer = client.get("/");
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("upstream_connect_failed"), "{}", answer.text());
    let said = gateway.child.says("upstream_connect_failed");
    assert!(said.contains(&format!("endpoint unix:{gone} of upstream local failed")), "{said}");
}

fn nginx_is_asked_by_a_unix_socket(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nginx.sock").display().to_string();
    let file: Vec<u8> = (0..2_000_000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
    fs::create_dir(dir.path().join("files")).unwrap();
    fs::write(dir.path().join("files/large"), &file).unwrap();
    let servers = format!(
        "root {}/files; server {{ listen unix:{socket} proxy_protocol; \
         location /who {{ return 200 \"$proxy_protocol_addr\"; }} }}",
        dir.path().display()
    );
    let _nginx = nginx(dir.path(), &servers, || UnixStream::connect(&socket).is_ok());
    let upstream = format!(
        "[upstream.local]\nendpoints = \"unix:{socket}\"\nproxy_protocol = \"v2\"\n\
         [[route]]\nname = \"l\"\npath = \"/{{rest...}}\"\nupstream = \"local\"\n"
    );
    let gateway = Config::new(engine).more(&upstream).start();
    let mut client = gateway.connect();
    assert_eq!(client.get("/who").text(), "127.0.0.1");
    assert!(client.get("/large").body == file, "the file came through changed");
}
