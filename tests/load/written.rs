//! Reading back the files that a load writes.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use crate::server::{OK, Server};
use crate::{run, sentence};

#[test]
fn a_histogram_log_is_read_back() {
    let server = Server::answering(OK);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("times.hlog");
    let path = path.to_str().expect("UTF-8");
    run(&[&server.url(), "-n", "300", "--rate", "200", "--hdr", path]);
    let bytes = std::fs::read(path).expect("written");
    let (mut response, mut service) = (0, 0);
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(interval) = entry.expect("a good line") else {
            continue;
        };
        let encoded = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            interval.encoded_histogram(),
        );
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut &encoded.expect("base64")[..])
            .expect("a histogram");
        match interval.tag().map(|tag| tag.as_str()) {
            Some("response") => response += histogram.len(),
            Some("service") => service += histogram.len(),
            other => panic!("{other:?}"),
        }
        assert!(interval.max() * 1e6 >= histogram.max() as f64 * 0.99);
    }
    assert_eq!((response, service), (300, 300));
}

#[test]
fn two_runs_are_put_side_by_side() {
    let server = Server::answering(OK);
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["a.json", "b.json"].map(|name| {
        let path = folder.path().join(name);
        let path = path.to_str().expect("UTF-8").to_owned();
        run(&[&server.url(), "-n", "100", "--json", &path]);
        path
    });
    let output = run(&["compare", &files[0], &files[1]]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in [
        "response P99",
        "client CPU",
        "errors",
        "does not show its noise",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let said = sentence(&run(&["compare", &files[0], "/does/not/exist"]), 1);
    assert!(
        said.starts_with("cannot read \"/does/not/exist\""),
        "{said}"
    );
    std::fs::write(&files[1], "{}").expect("written");
    let said = sentence(&run(&["compare", &files[0], &files[1]]), 1);
    assert!(
        said.contains("is not what headwater load --json writes"),
        "{said}"
    );
}

#[test]
fn a_file_that_can_not_be_written_ends_a_load_before_it_begins() {
    let server = Server::answering(OK);
    let output = run(&[&server.url(), "-d", "1h", "--hdr", "/does/not/exist"]);
    let said = sentence(&output, 1);
    assert!(
        said.starts_with("cannot write \"/does/not/exist\""),
        "{said}"
    );
    assert_eq!(server.requests(), 0);
}
