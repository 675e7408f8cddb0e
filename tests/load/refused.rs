//! Loads that can't begin: the error is one sentence with advice.

use std::net::TcpListener;
use std::process::Command;

use crate::server::{OK, Server};
use crate::{run, sentence};

#[test]
fn nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    for more in [&[][..], &["--rate", "1000"], &["--connection-per-request"]] {
        let url = format!("http://{address}/");
        let output = run(&[&[url.as_str(), "-d", "30s", "-t", "2"], more].concat());
        assert_eq!(
            sentence(&output, 1),
            format!(
                "nothing listens on {address}: connection refused; start the server or check the port"
            )
        );
    }
}

#[test]
fn a_name_that_does_not_resolve() {
    let said = sentence(&run(&["http://does-not-exist.invalid/"]), 1);
    assert!(
        said.starts_with("the name \"does-not-exist.invalid\" does not resolve: "),
        "{said}"
    );
}

#[test]
fn too_few_descriptors() {
    let server = Server::answering(OK);
    let binary = env!("CARGO_BIN_EXE_headwater");
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\"", binary, "load"])
        .args([&server.url(), "-c", "100"])
        .output()
        .expect("sh runs");
    let said = sentence(&output, 1);
    assert!(
        said.starts_with("132 descriptors are needed and 64 are allowed; "),
        "{said}"
    );
    assert!(said.contains("ulimit -Hn 132"), "{said}");
}

#[test]
fn command_lines_that_mean_nothing() {
    for (args, words) in [
        (&["https://localhost/"][..], "only http:// is supported"),
        (&["http://a/", "http://b/"], "two servers"),
        (
            &["http://localhost/", "-c", "0"],
            "--connections: 0 is out of range",
        ),
        (
            &["http://localhost/", "-t", "9999"],
            "--threads: 9999 is out of range",
        ),
        (
            &["http://localhost/", "--pipeline", "9999"],
            "--pipeline: 9999",
        ),
        (
            &["http://localhost/", "--cores", "x"],
            "--cores: cannot read the CPU list",
        ),
        (
            &["http://localhost/", "--cores", "8191"],
            "may not run on CPU 8191",
        ),
        (
            &["http://localhost/", "-H", "x"],
            "cannot send the header \"x\"",
        ),
        (
            &["http://localhost/", "-X", "a b"],
            "\"a b\" is not a method",
        ),
        (
            &["http://localhost/", "--data", "@/does/not/exist"],
            "--data: cannot read",
        ),
        (
            &["http://localhost/", "--pid", "4294967295"],
            "there is no process",
        ),
    ] {
        let said = sentence(&run(args), 2);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    for args in [
        &[][..],
        &["http://localhost/", "--rate", "0"],
        &["http://localhost/", "-d", "10"],
        &["http://localhost/", "-n", "0"],
        &["http://localhost/", "--poisson"],
        &[
            "http://localhost/",
            "--connection-per-request",
            "--pipeline",
            "2",
        ],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}
