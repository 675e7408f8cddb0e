//! Models of load (open and closed loop), and the figures measured with them.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use headwater::load::Verdict;

use crate::server::{OK, Server, next_if};
use crate::{load, run, summary};

#[test]
fn a_number_of_requests_is_sent_exactly() {
    let server = Server::answering(OK);
    for more in [
        &["-c", "3", "-t", "2"][..],
        &["-c", "1", "--pipeline", "7"],
        &["-c", "2", "--rate", "2000"],
        &["-c", "2", "--rate", "2000", "--poisson", "-t", "2"],
        &["-c", "2", "--connection-per-request"],
    ] {
        let before = server.requests();
        let url = server.url();
        let (_, summary) = summary(&[&[url.as_str(), "-n", "100"], more].concat());
        assert_eq!(
            (summary.requests, summary.errors_total),
            (100, 0),
            "{more:?}"
        );
        assert_eq!(server.requests() - before, 100, "{more:?}");
        assert_eq!((summary.unanswered, summary.unsent), (0, 0), "{more:?}");
        assert_eq!(summary.service_time_us.count, 100, "{more:?}");
    }
}

#[test]
fn a_stop_of_the_server_is_in_the_response_time_of_all_that_was_due() {
    // Stops once, for 400 ms, in the 100th request.
    let stopped = Mutex::new(0);
    let server = Server::new(move |connection| {
        let mut count = stopped.lock().expect("not poisoned");
        *count += 1;
        if *count == 100 {
            thread::sleep(Duration::from_millis(400));
        }
        next_if(connection.write_all(OK.as_bytes()))
    });
    let url = server.url();
    let (_, open) = summary(&[&url, "-n", "1000", "--rate", "1000", "-c", "2"]);
    // 400 of 1000 were due meanwhile: half of them waited for 200 ms or more.
    assert!(
        open.response_time_us.p90 >= 150_000.0,
        "{:?}",
        open.response_time_us
    );
    assert!(
        open.response_time_us.max >= 390_000.0,
        "{:?}",
        open.response_time_us
    );
    assert!(open.requests == 1000 && open.in_flight_max <= 2);
}

#[test]
fn a_rate_that_can_not_be_reached_is_said_so() {
    let server = Server::new(|connection| {
        thread::sleep(Duration::from_millis(20));
        next_if(connection.write_all(OK.as_bytes()))
    });
    let url = server.url();
    let args = [&url, "-d", "1s", "--rate", "1000", "-c", "2"];
    let (code, short) = summary(&args);
    assert_eq!(
        (code, short.verdict),
        (4, Verdict::RateNotReached),
        "{:?}",
        short.notes
    );
    assert!(short.unsent > 500, "{}", short.unsent);
    assert_eq!(short.requests + short.unsent + short.unanswered, 1000);
    let output = run(&args);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        table.contains("RATE NOT REACHED") && table.contains("-c"),
        "{table}"
    );
}

#[test]
fn a_knee_lies_below_what_the_server_can_do() {
    let server = Server::new(|connection| {
        thread::sleep(Duration::from_millis(5));
        next_if(connection.write_all(OK.as_bytes()))
    });
    let url = server.url();
    let (_, found) = summary(&[&url, "-c", "2", "-d", "300ms", "--find-knee", "100ms"]);
    let steps = &found.knee_steps;
    // Two connections with 5 ms a request: 400 a second at most.
    assert!(
        steps[0].asked_rate_per_s == 1000.0 && !steps[0].good,
        "{steps:?}"
    );
    for step in steps.iter().filter(|step| step.good) {
        assert!(
            step.asked_rate_per_s <= 420.0 && step.response_p99_us <= 100_000.0,
            "{steps:?}"
        );
    }
    assert!(found.asked_rate_per_s.is_some_and(|asked| asked <= 1000.0));
}

#[test]
fn ctrl_c_gives_the_report_so_far() {
    let server = Server::answering(OK);
    let child = load(&[&server.url(), "-d", "1h", "-c", "2", "--json", "-"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    server.wait_for_requests(100);
    let began = Instant::now();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("sent");
    let output = child.wait_with_output().expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(output.status.code(), Some(130));
    let summary: headwater::load::Summary = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(summary.interrupted && summary.requests >= 90, "{summary:?}");
    assert!(summary.seconds > 0.0 && summary.seconds < 60.0);
}

#[test]
fn a_warm_up_is_not_counted() {
    let server = Server::answering(OK);
    let url = server.url();
    let args = [
        &url, "-d", "500ms", "--warmup", "500ms", "--rate", "200", "-c", "2",
    ];
    let (_, summary) = summary(&args);
    assert_eq!(summary.requests + summary.unsent + summary.unanswered, 100);
    assert!(server.requests() >= 190, "{}", server.requests());
}

/// A rate below one a second is due once in a while, and the load lasts as long as was asked.
#[test]
fn low_rates_last_as_long_as_was_asked() {
    let server = Server::answering(OK);
    let url = server.url();
    for (rate, duration, wanted, seconds) in [
        ("0.1", "1200ms", 1, 1.2),
        ("2", "1200ms", 3, 1.2),
        ("1", "500ms", 1, 0.5),
    ] {
        let began = Instant::now();
        let (code, got) = summary(&[&url, "-c", "1", "--rate", rate, "-d", duration]);
        let took = began.elapsed().as_secs_f64();
        assert!(took >= seconds, "{rate}: it ended at once");
        assert!(
            matches!(code, 0 | 5) && got.requests == wanted,
            "{rate}: {got}"
        );
        assert!((got.seconds - seconds).abs() < 1e-6, "{rate}: {got}");
        let per_s = wanted as f64 / seconds;
        assert!((got.rate_per_s - per_s).abs() < 1e-6, "{rate}: {got}");
        let table = got.to_string();
        assert!(table.contains("asked (100.0%)"), "{table}");
        // A busy host makes the generator late, which the verdict says first.
        let good = table.contains("OK: Nothing failed, and the rate");
        assert!(good || code == 5, "{table}");
    }
    // A number of requests ends it before its time, and counts for the time in which they are due.
    let (code, got) = summary(&[&url, "-n", "2", "--rate", "4", "-d", "1h"]);
    assert!(matches!(code, 0 | 5) && got.requests == 2, "{got}");
    let (_, got) = summary(&[&url, "-n", "1", "--rate", "0.1"]);
    assert!((got.rate_per_s - 0.1).abs() < 1e-3, "{got}");
}

/// What is due and not sent when the time is over is a shortfall; a late answer is none.
#[test]
fn a_late_answer_is_no_shortfall_and_an_unsent_request_is() {
    let server = Server::new(|connection| {
        thread::sleep(Duration::from_millis(300));
        next_if(connection.write_all(OK.as_bytes()))
    });
    let url = server.url();
    let of = |connections| summary(&[&url, "--rate", "20", "-d", "1s", "-c", connections]);
    let (code, got) = of("20");
    assert!(matches!(code, 0 | 5), "{got}");
    assert_eq!((got.requests, got.unsent), (20, 0), "{got}");
    let (code, got) = of("2");
    assert!(matches!(code, 4 | 5) && got.unsent > 5, "{got}");
}

#[test]
fn no_connection_is_forgotten_when_answers_are_large() {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n{}",
        "x".repeat(262_144)
    );
    let by_peer = Arc::new(Mutex::new(BTreeMap::new()));
    let counted = Arc::clone(&by_peer);
    let server = Server::new(move |connection| {
        let peer = connection.peer_addr().expect("a peer");
        *counted
            .lock()
            .expect("not poisoned")
            .entry(peer)
            .or_insert(0) += 1;
        next_if(connection.write_all(answer.as_bytes()))
    });
    let (_, got) = summary(&[&server.url(), "-c", "20", "-n", "2000"]);
    assert_eq!((got.requests, got.errors_total), (2000, 0));
    let by_peer = by_peer.lock().expect("not poisoned");
    // One that is not woken again has asked once or twice.
    assert_eq!(by_peer.len(), 20);
    assert!(by_peer.values().all(|count| *count > 5), "{by_peer:?}");
}

#[test]
fn several_urls_are_asked_for_and_bodies_sent() {
    let server = Server::answering(OK);
    let one = format!("{}one", server.url());
    let (code, got) = summary(&[&server.url(), &one, "-n", "50", "-X", "PUT", "--data", "x"]);
    assert_eq!((code, got.requests), (0, 50));
    assert_eq!(got.urls.len(), 2);
}

#[test]
fn json_has_the_keys_that_others_rely_on() {
    let server = Server::answering(OK);
    let url = server.url();
    let own = std::process::id().to_string();
    let output = run(&[
        &url, "-n", "20", "--rate", "500", "--pid", &own, "--json", "-",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for key in [
        "requests",
        "seconds",
        "rate_per_s",
        "asked_rate_per_s",
        "bytes",
        "client_cpu_us_per_request",
        "server_cpu_us_per_request",
    ] {
        assert!(json[key].is_number(), "{key}: {}", json[key]);
    }
    assert!(json["verdict"].is_string());
    assert!(json["errors"]["timeout"].is_number());
    for times in ["response_time_us", "service_time_us"] {
        for key in ["p50", "p90", "p99", "p999", "p9999", "max"] {
            assert!(json[times][key].is_number(), "{times}.{key}");
        }
    }
    assert_eq!(json["requests"], 20);
    assert_eq!(json["bytes"], 20 * OK.len());
}

#[test]
fn the_self_test_passes() {
    let output = run(&["--self-test"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("stood still for 1.4 s"), "{text}");
    assert!(text.contains("the self-test passed"), "{text}");
}
