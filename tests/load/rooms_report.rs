//! The page of a load of rooms, and its place in a folder's page.

use headwater::load::rooms::{RoomsSecond, RoomsSummary};
use headwater::load::{RoomsReport, Verdict};

use crate::report::{all_text, parsed, plots, times};
use crate::room_server::RoomServer;
use crate::{run, sentence};

/// A load with something in every field.
fn full() -> RoomsSummary {
    let second = |index: u32| RoomsSecond {
        at_s: f64::from(index + 1),
        published_per_s: 990.0 + f64::from(index),
        deliveries_per_s: 99_000.0 + f64::from(index),
        errors: u64::from(index == 3),
        delivery_p50_us: 120.0,
        delivery_p99_us: 1200.0 + f64::from(index),
        delivery_max_us: 9000.0,
    };
    let percentiles = [0.0, 50.0, 90.0, 99.0, 99.9, 100.0];
    let mut summary = RoomsSummary {
        command: "headwater load rooms --subscribers 100".to_owned(),
        version: "9.8.7".to_owned(),
        started_unix_s: 1_000_000_000,
        sub_url: "ws://localhost:8080/sub/<a>".to_owned(),
        pub_url: "http://localhost:8080/pub/a".to_owned(),
        pub_method: "PUT".to_owned(),
        model: "open loop, Poisson arrivals".to_owned(),
        rate: "500..1500".to_owned(),
        seed: 424_242,
        subscribers: 1234,
        publishers: 56,
        rooms: 7,
        size: 321,
        threads: 3,
        warmup_s: 1.5,
        timeout_s: 12.5,
        grace_s: 2.25,
        seconds: 10.25,
        published: 9_990,
        publish_rate_per_s: 990.2,
        asked_publish_rate_per_s: 1001.0,
        unsent: 11,
        deliveries: 999_001,
        delivery_rate_per_s: 99_001.2,
        expected_deliveries: 999_014,
        lost: 13,
        duplicates: 17,
        out_of_order: 19,
        damaged: 23,
        misrouted: 29,
        foreign: 31,
        websocket_messages: 499_500,
        untagged: 37,
        deliveries_per_websocket_message: 2.001,
        bytes: 5_600_000,
        subscribers_unconnected: 41,
        connections_lost: 43,
        connects: 1357,
        errors: [("reset".to_owned(), 47), ("timeout".to_owned(), 0)].into(),
        errors_total: 47,
        delivery_time_us: times(120.0),
        transit_time_us: times(80.0),
        publish_time_us: Some(times(23.4)),
        generator_lag_us: times(3.21),
        connect_time_us: times(45.6),
        client_cpu_us_per_delivery: 0.0456,
        server_cpu_us_per_delivery: Some(5.67),
        client_busy: 0.42,
        verdict: Verdict::Errors,
        notes: vec!["a note of its own".to_owned()],
        timeline: (0..10).map(second).collect(),
        percentiles: percentiles.map(|p| (p, 120.0 + p, 80.0 + p)).into(),
        ..RoomsSummary::default()
    };
    summary.host.name = "testhost".to_owned();
    summary.host.kernel = "6.1.2-test".to_owned();
    summary
}

#[test]
fn a_page_has_every_fact_of_its_run() {
    let page = RoomsReport(&full()).to_string();
    let document = parsed(&page);
    let text = all_text(&document);
    for fact in [
        "headwater load rooms --subscribers 100",
        "9.8.7",
        "Sun, 09 Sep 2001 01:46:40 GMT",
        "ws://localhost:8080/sub/<a>",
        "from PUT http://localhost:8080/pub/a",
        "500..1500",
        "424242",
        "subscribers1,234",
        "publishers56",
        "rooms7",
        "a message321 B",
        "threads3",
        "1.5 s",
        "12.5 s",
        "2.25 s",
        "published9,990 in 10.25 s",
        "990/s",
        "of 1,001/s asked",
        "unsent11",
        "999,001 of 999,014 expected",
        "99,001/s",
        "lost13",
        "duplicates17",
        "out of order19",
        "damaged23",
        "of other rooms29",
        "tags of other runs31",
        "499,500 WebSocket messages, 2.00 deliveries each",
        "messages without a tag37",
        "5.6 MB",
        "41 subscribers",
        "connections lost43",
        "1,357 made",
        "reset47",
        "none oftimeout",
        "P991.20 ms800 µs234 µs32.1 µs456 µs",
        "0.046 µs a delivery",
        "5.670 µs a delivery",
        "worked 42% of the time",
        "ERRORS",
        "a note of its own",
        "testhost",
        "6.1.2-test",
        "4 s99399,0031120 µs1.20 ms9.00 ms",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    assert_eq!(
        plots(&document),
        [
            "Latency by percentile",
            "Deliveries over time",
            "Messages published over time",
            "P99 over time"
        ]
    );
}

#[test]
fn odd_runs_have_pages_too() {
    let page = RoomsReport(&RoomsSummary::default()).to_string();
    let document = parsed(&page);
    assert!(all_text(&document).contains("No message was delivered"));
    assert!(plots(&document).is_empty());

    // A second in which nothing came, and no message was published by a request.
    let mut still = full();
    still.timeline = vec![RoomsSecond {
        at_s: 1.0,
        ..RoomsSecond::default()
    }];
    (still.publish_time_us, still.server_cpu_us_per_delivery) = (None, None);
    let page = RoomsReport(&still).to_string();
    assert_eq!(plots(&parsed(&page)).len(), 4);

    for value in [-1.0, 1e300, f64::NAN, f64::INFINITY] {
        let mut summary = full();
        summary.percentiles = vec![(50.0, value, value), (value, 1.0, value)];
        summary.timeline[0].at_s = value;
        summary.timeline[1].deliveries_per_s = value;
        summary.asked_publish_rate_per_s = value;
        let page = RoomsReport(&summary).to_string();
        let drawn = page.split("<path").skip(1);
        for path in drawn.filter_map(|path| path.split('>').next()) {
            assert!(!path.contains("NaN") && !path.contains("inf"), "{path}");
        }
    }
}

#[test]
fn a_load_leaves_a_page_and_has_a_line_in_its_folder() {
    let server = RoomServer::new(|text| vec![text]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| {
        let path = folder.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let (sub, publish) = (server.sub(), server.publish("http"));
    let (page, json) = (path("chat.html"), path("chat.json"));
    let args = ["rooms", "--subscribers", "2", "--rate", "100", "-d", "1s"];
    let args = [&args[..], &["--sub-url", &sub, "--pub-url", &publish]].concat();
    let output = run(&[&args[..], &["--report", &page, "--json", &json]].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("200 of 200 expected"), "{said}");
    let text = std::fs::read_to_string(&page).expect("written");
    assert!(all_text(&parsed(&text)).contains("200 of 200 expected"));

    let output = run(&["index", folder.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0));
    let index = std::fs::read_to_string(path("index.html")).expect("written");
    let document = parsed(&index);
    let text = all_text(&document);
    let summary: RoomsSummary =
        serde_json::from_slice(&std::fs::read(&json).expect("written")).expect("JSON");
    let rate = format!("{:.0}/s", summary.delivery_rate_per_s.round());
    for fact in ["delivered", "chat", &summary.verdict.to_string(), &rate] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    // It is a load and no file of others; there is no table of requests without one.
    assert!(!text.contains("Other files") && !text.contains("answered"));
    assert!(index.contains("./chat%2Ehtml"));

    let both = [&args[..], &["--report", "-", "--json", "-"]].concat();
    assert!(sentence(&run(&both), 2).contains("cannot both"));
    let nowhere = [&args[..], &["--report", "/does/not/exist"]].concat();
    assert!(sentence(&run(&nowhere), 1).starts_with("cannot write"));
}
