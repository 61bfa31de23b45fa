//! The metrics as Prometheus and its tools read them.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;

use super::{config, hdr_json, ringway};
use crate::support::{Child, Engine, Origin, PATIENCE};

const REQUESTS: u64 = 50;

/// Metrics files of a gateway that answered some requests and refused some, and ended.
fn metrics() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let gateway = config(Engine::Ring, dir.path()).start();
    let mut client = gateway.connect();
    for _ in 0..REQUESTS {
        assert_eq!(client.get("/hello").status(), 200);
    }
    assert_eq!(client.get("/nothing").status(), 404);
    drop(client);
    assert!(gateway.stop().exit.success());
    dir
}

fn render(dir: &Path, format: &str) -> Vec<u8> {
    ringway(&["hdr", &dir.display().to_string(), format])
}

#[test]
fn promtool_has_nothing_to_say() {
    let dir = metrics();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: tools/setup");
    promtool.stdin.take().unwrap().write_all(&render(dir.path(), "--prometheus")).unwrap();
    let done = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
}

/// Prints each sample as a JSON array of its name, its labels and its value.
const SCRIPT: &str = "
import json, sys
if sys.argv[1] == 'openmetrics':
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps([sample.name, sample.labels, sample.value, family.type]))
";

#[test]
fn the_python_client_reads_the_same_numbers() {
    let dir = metrics();
    let wanted = hdr_json(dir.path());
    for format in ["prometheus", "openmetrics"] {
        // The system's own Python has the client; another may come first in the path.
        let mut python = Command::new("/usr/bin/python3")
            .args(["-c", SCRIPT, format])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3: tools/setup");
        python.stdin.take().unwrap().write_all(&render(dir.path(), &format!("--{format}"))).unwrap();
        let done = python.wait_with_output().unwrap();
        assert!(done.status.success(), "python3-prometheus-client: tools/setup");
        let samples: Vec<Value> =
            done.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).expect("JSON")).collect();
        let value = |name: &str, labels: &Value| {
            let found = samples.iter().find(|sample| sample[0] == name && sample[1] == *labels);
            found.unwrap_or_else(|| panic!("{format}: no {name} {labels}"))[2].as_f64().unwrap()
        };
        let mut compared = 0;
        for kind in ["counters", "gauges"] {
            for metric in wanted[kind].as_array().unwrap() {
                let name = metric["name"].as_str().unwrap();
                assert_eq!(Some(value(name, &metric["labels"])), metric["value"].as_f64(), "{format}: {metric}");
                compared += 1;
            }
        }
        for metric in wanted["histograms"].as_array().unwrap() {
            let name = metric["name"].as_str().unwrap();
            let count = metric["count"].as_f64();
            assert_eq!(Some(value(&format!("{name}_count"), &metric["labels"])), count);
            let mut infinite = metric["labels"].clone();
            infinite["le"] = "+Inf".into();
            assert_eq!(Some(value(&format!("{name}_bucket"), &infinite)), count);
            compared += 1;
        }
        assert!(compared > 40, "{compared}");
        assert!((value("ringway_requests_total", &serde_json::json!({"status": "2xx"})) - REQUESTS as f64).abs() < 0.5);
    }
}

/// Serves `body` to every request, and says of each that it came.
fn serve(content_type: &'static str, body: Vec<u8>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, scrapes) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut accept = String::new();
            for line in BufReader::new(&mut stream).lines() {
                let line = line.unwrap();
                if let Some(value) = line.strip_prefix("Accept: ") {
                    value.clone_into(&mut accept);
                }
                if line.is_empty() {
                    break;
                }
            }
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            // A scraper that goes away early shows as a test without scrapes.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            if send.send(accept).is_err() {
                return;
            }
        }
    });
    (address, scrapes)
}

/// One answer of Prometheus's query API: the values of all series.
fn query(address: SocketAddr, expression: &str) -> Vec<f64> {
    let mut encoded = String::new();
    for byte in expression.bytes() {
        write!(encoded, "%{byte:02x}").unwrap();
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let json: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{expression}: {answer}"));
    let results = json["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {body}"));
    results.iter().map(|series| series["value"][1].as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn prometheus_itself_reads_native_histograms() {
    let dir = metrics();
    let wanted = hdr_json(dir.path());
    let content_type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    let (target, scrapes) = serve(content_type, render(dir.path(), "--protobuf"));
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs:\n- job_name: ringway\n  static_configs:\n  - targets: ['{target}']\n"
        ),
    )
    .unwrap();
    let free = Origin::elsewhere();
    let _prometheus = Child::start(
        Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .arg("--enable-feature=native-histograms")
            .stdout(Stdio::null()),
    );
    let accept = scrapes.recv_timeout(PATIENCE).expect("prometheus: tools/setup");
    assert_eq!(ringway::observe::prometheus::Format::negotiate(Some(&accept)).content_type(), content_type);
    // The next scrapes begin when the first has been stored.
    for _ in 0..2 {
        scrapes.recv_timeout(PATIENCE).expect("prometheus goes on");
    }
    assert_eq!(query(free, "up"), [1.0]);
    assert_eq!(query(free, "ringway_requests_total{status=\"2xx\"}"), [REQUESTS as f64]);
    let histogram = wanted["histograms"].as_array().unwrap();
    let histogram = histogram.iter().find(|one| one["name"] == "ringway_request_duration_seconds").unwrap();
    assert_eq!(
        query(free, "histogram_count(ringway_request_duration_seconds)"),
        [histogram["count"].as_f64().unwrap()]
    );
    for (quantile, key) in [("0.5", "p50"), ("0.9", "p90"), ("1", "max")] {
        let found = query(free, &format!("histogram_quantile({quantile}, ringway_request_duration_seconds)"));
        let wanted = histogram[key].as_f64().unwrap();
        // Our percentile is the upper end of its bucket (0.8 %), Prometheus's lies anywhere in one of 2.2 %.
        assert!((found[0] / wanted - 1.0).abs() < 0.035, "{key}: {found:?} for {wanted}");
    }
    // Classic buckets would be series of their own: Prometheus took the native ones.
    assert_eq!(query(free, "count({__name__=~\"ringway_.*_bucket\"})"), [0.0; 0]);
}
