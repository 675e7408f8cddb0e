//! Servers that misbehave: each fault has its own class of error.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::server::{OK, Server, Then, next_if};
use crate::{run, summary};

/// Exit status and the errors that were counted.
#[track_caller]
fn errors(args: &[&str]) -> (i32, u64, Vec<String>) {
    let (status, summary) = summary(args);
    let some = summary.errors.iter().filter(|(_, count)| **count > 0);
    let names = some.map(|(name, _)| name.clone()).collect();
    (status, summary.requests, names)
}

#[track_caller]
fn only(args: &[&str], class: &str) {
    assert_eq!(errors(args), (3, 0, vec![class.to_owned()]));
}

const SHORT: [&str; 4] = ["-d", "300ms", "-c", "2"];

fn short<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[url], &SHORT[..], more].concat()
}

#[test]
fn a_server_that_resets() {
    let server = Server::new(|_| Then::Reset);
    only(&short(&server.url(), &[]), "reset");
}

#[test]
fn a_server_that_closes_without_an_answer() {
    let server = Server::new(|_| Then::Close);
    only(&short(&server.url(), &[]), "closed");
}

#[test]
fn a_server_that_hangs_in_mid_body() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    only(&short(&server.url(), &["--timeout", "50ms"]), "timeout");
}

#[test]
fn a_server_that_sends_a_byte_now_and_then() {
    let server = Server::new(|connection| {
        for byte in OK.as_bytes() {
            if connection.write_all(&[*byte]).is_err() {
                return Then::Reset;
            }
            thread::sleep(Duration::from_millis(30));
        }
        Then::Next
    });
    only(&short(&server.url(), &["--timeout", "100ms"]), "timeout");
}

#[test]
fn a_server_that_promises_more_than_it_sends() {
    let server = Server::answering_once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    only(&short(&server.url(), &[]), "truncated");
}

#[test]
fn a_server_that_sends_more_than_it_promises() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello");
    let (status, _, names) = errors(&short(&server.url(), &[]));
    assert_eq!((status, names), (3, vec!["bad_response".to_owned()]));
}

#[test]
fn a_chunked_body_that_is_cut_off() {
    let server = Server::answering_once(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    );
    only(&short(&server.url(), &[]), "truncated");
}

#[test]
fn a_server_that_speaks_something_else() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "\u{0}\u{1}\u{2}",
    ] {
        let server = Server::answering(answer);
        only(&short(&server.url(), &[]), "bad_response");
    }
}

#[test]
fn answers_that_user_agents_take_are_no_errors() {
    let long = format!("X: {}\r\n", "a".repeat(17_000));
    let many = (0..101).fold(String::new(), |all, n| all + &format!("X{n}: a\r\n"));
    let rest = "Content-Length: 5\r\n\r\nhello";
    for answer in [
        format!("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n{rest}"),
        format!("HTTP/1.1 200 OK\r\n{long}{rest}"),
        format!("HTTP/1.1 200 OK\r\n{many}{rest}"),
        "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n".to_owned(),
    ] {
        let server = Server::answering(answer.as_str());
        let url = server.url();
        let got = errors(&[&url, "-n", "3", "-c", "1", "--timeout", "2s"]);
        assert_eq!(
            got,
            (0, 3, Vec::new()),
            "{}",
            &answer[..answer.len().min(60)]
        );
    }
}

#[test]
fn a_head_beyond_all_bounds_has_a_class_of_its_own() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(300 * 1024));
    let server = Server::answering(long);
    only(
        &[&server.url(), "-n", "1", "-c", "1"],
        "response_head_too_large",
    );
}

#[test]
fn answers_of_4xx_and_5xx_are_errors() {
    for (answer, class, status) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "status_4xx",
            "4xx",
        ),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            "status_5xx",
            "5xx",
        ),
    ] {
        let server = Server::answering(answer);
        let (code, summary) = summary(&[&server.url(), "-n", "10", "-c", "2"]);
        assert_eq!((code, summary.requests), (3, 10));
        assert_eq!((summary.errors[class], summary.status[status]), (10, 10));
    }
}

#[test]
fn redirects_are_answers_that_are_told_of() {
    let server = Server::answering(
        "HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
    );
    let output = run(&[&server.url(), "-n", "10", "-c", "2"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.contains("3xx 10"), "{table}");
    assert!(table.contains("redirects"), "{table}");
}

#[test]
fn a_server_that_closes_after_each_answer_is_connected_to_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    ] {
        let server = Server::answering_once(answer);
        // What is sent ahead on a connection that closes is sent again on the next.
        let (code, summary) = summary(&[&server.url(), "-n", "20", "-c", "2", "--pipeline", "4"]);
        assert_eq!(
            (code, summary.requests, summary.errors_total),
            (0, 20, 0),
            "{answer}"
        );
        assert!(summary.connects >= 20, "{}", summary.connects);
    }
}

#[test]
fn a_server_that_hangs_for_good_shows_in_the_response_time() {
    let server = Server::new(|_| {
        thread::sleep(Duration::from_secs(3600));
        Then::Close
    });
    let url = server.url();
    let args = [
        &url,
        "-d",
        "500ms",
        "--rate",
        "100",
        "-c",
        "1",
        "--timeout",
        "5s",
    ];
    let (code, summary) = summary(&args);
    assert_eq!(code, 3);
    assert_eq!(
        (summary.requests, summary.unanswered, summary.unsent),
        (0, 1, 49)
    );
    assert_eq!(summary.response_time_us.count, 50);
    assert!(
        summary.response_time_us.min >= 1e6,
        "{:?}",
        summary.response_time_us
    );
}

#[test]
fn a_body_that_changes_is_an_error_when_bodies_are_compared() {
    let answered = AtomicUsize::new(0);
    let server = Server::new(move |connection| {
        let body = match answered.fetch_add(1, Ordering::Relaxed) {
            0..10 => "hello",
            _ => "jello",
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}");
        next_if(connection.write_all(answer.as_bytes()))
    });
    let url = server.url();
    let (code, got) = summary(&[&url, "-n", "15", "-c", "1", "--check"]);
    assert_eq!(
        (code, got.requests, got.errors["body_mismatch"]),
        (3, 15, 5)
    );
    // From now on they are all the same.
    let (_, got) = summary(&[&url, "-n", "15", "-c", "3", "--check"]);
    assert_eq!(got.errors_total, 0);
}
