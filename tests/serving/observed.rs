//! What the admin pages show, and how a shard that stalls is reported.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headwater::http::{Body, Head, Response, Status};
use headwater::net::address::ListenAddr;
use headwater::observe::Recorder;
use headwater::server::{Observation, Request, Server, ServerOptions, Service};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Binary, Client, Reply, an_allowed_cpu, eventually, get, headwater};

/// A server of a folder with one file, and its admin pages' address.
struct Watched {
    server: Binary,
    admin: SocketAddr,
    _dir: TempDir,
}

fn watched(args: &[&str]) -> Watched {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("a.txt"), "hello\n").expect("a file");
    let mut command = headwater();
    command
        .arg("serve")
        .arg(dir.path())
        .args(["--listen=127.0.0.1:0", "--admin=127.0.0.1:0"])
        .args(args);
    let mut server = Binary::spawn(command);
    let admin = server.line("admin");
    let admin = admin.split(' ').next().and_then(|a| a.parse().ok());
    Watched {
        server,
        admin: admin.expect("an address"),
        _dir: dir,
    }
}

impl Watched {
    fn page(&self, path: &str) -> Reply {
        Client::connect(self.admin).get(path)
    }

    fn metrics(&self, accept: &str) -> Reply {
        let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n");
        Client::connect(self.admin).ask(request)
    }
}

/// The sum of a metric over all its labels that contain `label`.
fn sum(text: &str, name: &str, label: &str) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let here = labels.is_empty() || labels.starts_with('{');
        (here && labels.contains(label)).then(|| value.parse::<f64>().expect("a number"))
    });
    samples.sum()
}

#[test]
fn metrics_count_what_was_served() {
    let mut watched = watched(&[]);
    let mut client = watched.server.client();
    for _ in 0..3 {
        assert_eq!(client.get("/a.txt").status, 200);
    }
    assert_eq!(client.get("/none").status, 404);
    assert_eq!(watched.server.client().ask("nonsense\r\n\r\n").status, 400);
    let reply = watched.metrics("text/plain");
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.field("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(reply.field("cache-control"), "no-store");
    let text = reply.text();
    for (name, label, expected) in [
        ("headwater_requests_total", "", 4.0),
        ("headwater_responses_total", "class=\"2xx\"", 3.0),
        ("headwater_responses_total", "class=\"4xx\"", 2.0),
        (
            "headwater_requests_rejected_total",
            "reason=\"malformed\"",
            1.0,
        ),
        ("headwater_connections_total", "", 2.0),
    ] {
        assert_eq!(sum(text, name, label), expected, "{name}: {text}");
    }
    assert!(sum(text, "headwater_connections_open", "") >= 1.0, "{text}");
    assert!(
        sum(text, "headwater_shard_polls_total", "") >= 4.0,
        "{text}"
    );
    let turns = sum(text, "headwater_shard_turn_seconds_count", "");
    assert!(turns >= 4.0, "{text}");
    let all = sum(text, "headwater_shard_turn_seconds_bucket", "le=\"+Inf\"");
    assert!(all >= turns, "{text}");
}

#[test]
fn metrics_speak_open_metrics_to_who_asks_for_it() {
    let watched = watched(&[]);
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let reply = watched.metrics(accept);
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.field("content-type"), expected);
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(
        text.contains("# UNIT headwater_shard_turn_seconds seconds\n"),
        "{text}"
    );
}

#[test]
fn the_shards_page_has_counters_and_times_of_turns() {
    let watched = watched(&[]);
    let page = watched.page("/debug/shards");
    let text = page.text();
    assert!(text.starts_with("shard 0 enters "), "{text}");
    assert!(
        text.contains("  turns p50 ") && text.contains(" p99.9 "),
        "{text}"
    );
}

#[test]
fn the_trace_page_has_the_last_events() {
    let mut watched = watched(&["--cores", &an_allowed_cpu().to_string()]);
    assert_eq!(watched.server.client().get("/a.txt").status, 200);
    let reply = watched.page("/debug/trace");
    assert_eq!(
        (reply.status, reply.field("content-type")),
        (200, "application/json")
    );
    let trace: Value = serde_json::from_slice(&reply.body).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let has = |name: &str, ph: &str| {
        let mut events = events.iter();
        events.any(|event| event["name"] == name && event["ph"] == ph)
    };
    assert!(
        has("HTTP/1.1 connection", "X") && has("accept", "b"),
        "{trace}"
    );
    assert!(has("receive", "n") && has("park", "X"), "{trace}");
    // The future holds nothing but names.
    let none = watched.page("/debug/trace?seconds=0");
    assert!(none.body.len() < reply.body.len());
    for (query, words) in [
        ("seconds=two", "\"two\" is no number of seconds"),
        ("seconds=-1", "\"-1\" is no number of seconds"),
        ("minutes=2", "\"minutes\" is unknown"),
    ] {
        let refused = watched.page(&format!("/debug/trace?{query}"));
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(words), "{}", refused.text());
    }
}

#[test]
fn the_tasks_page_has_the_pool_as_text_and_as_json() {
    let watched = watched(&[]);
    let text = watched.page("/debug/tasks");
    assert_eq!(text.field("content-type"), "text/plain; charset=utf-8");
    // How many are old is the machine's: where it is busy, the page itself may wait for a second.
    for words in [
        "tasks ",
        "workers ",
        "scheduling latency p50 ",
        "overruns ",
        "older than 1s ",
    ] {
        let mut lines = text.text().lines();
        assert!(
            lines.any(|line| line.starts_with(words)),
            "{words}: {}",
            text.text()
        );
    }
    let asked = "GET /debug/tasks HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\r\n";
    let by_field = Client::connect(watched.admin).ask(asked);
    for reply in [watched.page("/debug/tasks?format=json&age=0"), by_field] {
        assert_eq!(reply.field("content-type"), "application/json");
        let page: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert!(page["workers"]["count"].as_u64() >= Some(1), "{page}");
        assert!(page["run_time_ns"]["p99.9"].is_u64(), "{page}");
        // The page itself is a task.
        assert_eq!(page["tasks"]["running"], 1, "{page}");
    }
    let page = watched.page("/debug/tasks?format=json&age=0");
    let page: Value = serde_json::from_slice(&page.body).expect("JSON");
    let task = &page["old"]["tasks"][0];
    assert_eq!(
        (&task["state"], &task["class"]),
        (&"running".into(), &"admin".into())
    );
    assert!(
        task["site"]
            .as_str()
            .is_some_and(|site| site.contains("src/server/admin.rs:"))
    );
    assert_eq!(watched.page("/debug/tasks?age=old").status, 400);
}

#[test]
fn schedtrace_is_printed_where_it_is_asked_for_in_gos_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = headwater();
    command
        .arg("serve")
        .arg(dir.path())
        .args(["--listen=127.0.0.1:0", "--admin=off"])
        .env("HEADWATER_SCHEDTRACE", "20")
        .env("HEADWATER_SCHEDDETAIL", "1");
    let mut server = Binary::spawn(command);
    assert!(server.line("SCHED 0ms: ").starts_with("gomaxprocs="));
    assert!(server.line("P0: ").contains("runqsize="));
    assert!(server.line("M0: ").contains("spinning="));
}

#[test]
fn a_recorder_that_is_off_says_how_to_turn_it_on() {
    let watched = watched(&["--trace-buffer=0"]);
    let reply = watched.page("/debug/trace");
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("--trace-buffer"), "{}", reply.text());
}

#[test]
fn the_first_page_lists_the_others() {
    let watched = watched(&[]);
    let pages = watched.page("/");
    let mut listed = 0;
    for line in pages.text().lines() {
        let path = line.split(' ').next().expect("a path");
        assert_eq!(watched.page(path).status, 200, "{path}");
        listed += 1;
    }
    assert!(listed >= 4);
    assert_eq!(watched.page("/none").status, 404);
}

#[test]
fn a_folder_for_traces_must_be_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let missing = dir.path().join("missing");
    let missing = missing.to_str().expect("UTF-8");
    let mut server = Binary::serve(dir.path(), &["--trace-dir", missing]);
    let (code, said) = server.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(missing) && said.contains("--trace-dir"),
        "{said}"
    );
}

/// Holds its shard up at `/slow`.
struct Slow;

const LIMIT: Duration = Duration::from_millis(5);

impl Service for Slow {
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        let start = Instant::now();
        while head.path() == "/slow" && start.elapsed() <= 2 * LIMIT {
            std::hint::spin_loop();
        }
        Some(Response::new(Status::OK).with_body(Body::Bytes("done\n".into())))
    }

    async fn call(&self, _: Request<'_>) -> Response {
        Response::new(Status::NOT_FOUND)
    }
}

#[test]
fn a_stall_is_counted_blamed_and_written_down() {
    let dir = tempfile::tempdir().expect("a folder");
    let said = Arc::new(Mutex::new(Vec::new()));
    let observation = Observation {
        recorder: Recorder::new(1 << 20),
        stall_limit: Some(LIMIT),
        trace_dir: Some(dir.path().to_owned()),
        watches: None,
        report: Arc::new({
            let said = Arc::clone(&said);
            move |line| said.lock().expect("no panic").push(line.to_string())
        }),
    };
    let any = "127.0.0.1:0".parse::<ListenAddr>().expect("an address");
    let options = ServerOptions::default();
    let server = Server::bind(vec![an_allowed_cpu()], std::slice::from_ref(&any), options)
        .and_then(|server| server.with_admin(&any))
        .expect("listeners")
        .observed(observation);
    let address = |address: &ListenAddr| match *address {
        ListenAddr::Tcp(address) => address,
        _ => panic!("not a TCP address: {address}"),
    };
    let public = address(&server.addresses()[0]);
    let admin = address(&server.admin_address().expect("admin pages"));
    let server = server.start(|_| Ok(Slow)).expect("a server");
    let mut client = Client::connect(public);
    assert_eq!(client.ask(get("/slow")).text(), "done\n");
    // The answer left before the turn was over.
    let page = || {
        Client::connect(admin)
            .get("/debug/shards")
            .text()
            .to_owned()
    };
    let blamed = "by HTTP/1.1 connection, ";
    eventually("the page blames the connection", || page().contains(blamed));
    let metrics = Client::connect(admin).get("/metrics");
    let stalls = sum(
        metrics.text(),
        "headwater_shard_stalls_total",
        "HTTP/1.1 connection",
    );
    assert!(stalls >= 1.0, "{}", metrics.text());
    let written = dir.path().join("headwater-stall-0.json");
    let trace = || -> Option<Value> { serde_json::from_slice(&fs::read(&written).ok()?).ok() };
    eventually("a trace is written", || trace().is_some());
    let events = trace().expect("JSON")["traceEvents"].clone();
    let stall = events
        .as_array()
        .expect("events")
        .iter()
        .find(|event| event["name"] == "stall");
    assert!(
        stall.is_some_and(|stall| stall["dur"].as_f64() >= Some(5000.0)),
        "{events}"
    );
    let told = || said.lock().expect("no panic").first().cloned();
    eventually("a person is told", || told().is_some());
    let line = told().expect("a line");
    assert!(
        line.contains("shard 0 was held up") && line.contains("headwater-stall-0.json"),
        "{line}"
    );
    drop(client);
    server.stopper().now();
    server.join().expect("a good end");
}
