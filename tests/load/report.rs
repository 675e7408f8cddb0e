//! The report pages of a load: well-formed, correct, safe with untrusted text, and accessible.

use std::collections::BTreeSet;

use headwater::load::rooms::RoomsSummary;
use headwater::load::{
    AnySummary, ByUrl, Index, IndexedRun, KneeStep, Players, Report, Second, Summary, Times,
    Verdict,
};
use roxmltree::{Document, ParsingOptions};

use crate::server::{OK, Server};
use crate::{run, sentence};

/// Parses a page, which must be whole as XML too.
#[track_caller]
pub(crate) fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(page, options).unwrap_or_else(|error| {
        let line = page.lines().nth(error.pos().row as usize - 1);
        panic!("{error}: {line:?}")
    });
    harmless(page, &document);
    readable(&document);
    document
}

/// Nothing is fetched, nothing runs, and every number is one.
#[track_caller]
fn harmless(page: &str, document: &Document<'_>) {
    assert!(page.contains("default-src 'none'"));
    for node in document.descendants().filter(|node| node.is_element()) {
        let name = node.tag_name().name();
        assert!(
            !["script", "img", "iframe", "object", "embed", "form", "base"].contains(&name),
            "<{name}>"
        );
        for attribute in node.attributes() {
            let (key, value) = (attribute.name(), attribute.value());
            assert!(
                !key.starts_with("on") && key != "src" && key != "style",
                "{key}"
            );
            if key == "href" {
                assert!(value == "data:," || value.starts_with("./"), "{value}");
            }
            if ["d", "x", "y", "cx", "cy", "width", "height"].contains(&key) {
                assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
            }
        }
        if name == "style" {
            let text = node.text().unwrap_or_default();
            assert!(!text.contains("url(") && !text.contains("@import"));
        }
    }
    let words = all_text(document);
    assert!(!words.contains("NaN") && !words.contains("inf "), "{words}");
}

/// Plots have words for those who don't see them, and tables their heads.
#[track_caller]
fn readable(document: &Document<'_>) {
    let mut ids = BTreeSet::new();
    for node in document.descendants() {
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id.to_owned()), "two of {id}");
        }
    }
    let named = |name: &'static str| {
        let all = document.descendants();
        all.filter(move |node| node.has_tag_name(name))
    };
    for plot in named("svg").filter(|plot| plot.attribute("aria-hidden").is_none()) {
        assert_eq!(plot.attribute("role"), Some("img"));
        for id in plot
            .attribute("aria-labelledby")
            .expect("a name")
            .split(' ')
        {
            assert!(ids.contains(id), "{id}");
        }
        let said = plot.descendants().find(|node| node.has_tag_name("desc"));
        let said = said.and_then(|node| node.text()).unwrap_or_default();
        assert!(said.len() > 10, "{said}");
    }
    for row in named("tr") {
        let first = row.children().find(|node| node.is_element());
        assert!(first.expect("a cell").has_tag_name("th"));
    }
    assert_eq!(named("h1").count(), 1);
}

pub(crate) fn all_text(document: &Document<'_>) -> String {
    let texts = document.descendants().filter(|node| node.is_text());
    texts
        .filter(|node| {
            !node
                .parent()
                .is_some_and(|parent| parent.has_tag_name("style"))
        })
        .filter_map(|node| node.text())
        .collect()
}

pub(crate) fn plots(document: &Document<'_>) -> Vec<String> {
    let titles = document.descendants().filter(|node| {
        node.has_tag_name("title")
            && node
                .parent()
                .is_some_and(|parent| parent.has_tag_name("svg"))
    });
    titles
        .filter_map(|node| node.text())
        .map(str::to_owned)
        .collect()
}

pub(crate) fn times(us: f64) -> Times {
    Times {
        count: 1000,
        min: us / 10.0,
        mean: us,
        stdev: us / 7.0,
        p50: us,
        p75: us * 1.5,
        p90: us * 2.0,
        p99: us * 10.0,
        p999: us * 100.0,
        p9999: us * 200.0,
        max: us * 300.0,
    }
}

fn second(index: u32) -> Second {
    Second {
        at_s: f64::from(index + 1),
        rate_per_s: 990.0 + f64::from(index),
        asked_rate_per_s: Some(1000.0),
        errors: u64::from(index == 3),
        response_p50_us: 120.0,
        response_p99_us: 1200.0 + f64::from(index),
        response_max_us: 9000.0,
        service_p99_us: 800.0,
    }
}

fn players() -> Players {
    Players {
        opened: 53,
        started: 51,
        startup_time_us: times(59.0),
        seeks: 61,
        stalls: 67,
        stalled_s: 7.1,
        played_s: 73.0,
        stalled_share: 0.083,
        ..Players::default()
    }
}

fn describe_host(summary: &mut Summary) {
    let host = &mut summary.host;
    host.name = "testhost".to_owned();
    host.kernel = "6.1.2-test".to_owned();
    host.cpu_model = "A CPU".to_owned();
    host.cpus = 96;
    host.open_files_max = 65_537;
    host.local_ports = "32768 60999".to_owned();
    host.congestion_control = "cubic".to_owned();
}

/// A run at a rate, with something in every field.
fn full() -> Summary {
    let percentiles = [0.0, 50.0, 90.0, 99.0, 99.9, 100.0];
    let mut summary = Summary {
        command: "headwater load http://localhost:8080/ --rate 1k".to_owned(),
        version: "9.8.7".to_owned(),
        started_unix_s: 1_000_000_000,
        urls: vec!["http://localhost:8080/a/b".to_owned()],
        model: "open loop, Poisson arrivals".to_owned(),
        rate: Some("500..1500".to_owned()),
        seed: 424_242,
        by_url: vec![ByUrl {
            url: None,
            requests: 31,
            errors: 37,
            response_p50_us: 41.0,
            response_p99_us: 43.0,
            response_max_us: 47.0,
        }],
        players: Some(players()),
        connections: 1234,
        threads: 3,
        pipeline: 7,
        warmup_s: 1.5,
        timeout_s: 12.5,
        requests: 9_876_543,
        seconds: 10.25,
        rate_per_s: 995.4,
        asked_rate_per_s: Some(1001.0),
        bytes: 5_600_000,
        errors: [("reset".to_owned(), 17), ("timeout".to_owned(), 0)].into(),
        errors_total: 17,
        status: [("2xx".to_owned(), 9_876_500), ("4xx".to_owned(), 43)].into(),
        unanswered: 21,
        unsent: 23,
        response_time_us: times(120.0),
        service_time_us: times(80.0),
        generator_lag_us: Some(times(3.21)),
        connect_time_us: times(45.6),
        connects: 1357,
        in_flight_max: 2468,
        client_cpu_us_per_request: 3.45,
        server_cpu_us_per_request: Some(5.67),
        client_busy: 0.42,
        verdict: Verdict::Errors,
        notes: vec!["a note of its own".to_owned()],
        knee_p99_limit_us: Some(5000.0),
        timeline: (0..10).map(second).collect(),
        percentiles: percentiles.map(|p| (p, 120.0 + p, 80.0 + p)).into(),
        ..Summary::default()
    };
    describe_host(&mut summary);
    summary.knee_steps = [(1000.0, true), (2000.0, false)]
        .map(|(asked_rate_per_s, good)| KneeStep {
            asked_rate_per_s,
            rate_per_s: asked_rate_per_s - 7.0,
            response_p99_us: asked_rate_per_s * 3.0,
            good,
        })
        .into();
    summary
}

#[test]
fn a_page_has_every_fact_of_its_run() {
    let page = Report(&full()).to_string();
    let document = parsed(&page);
    let text = all_text(&document);
    for fact in [
        "headwater load http://localhost:8080/ --rate 1k",
        "9.8.7",
        "Sun, 09 Sep 2001 01:46:40 GMT",
        "http://localhost:8080/a/b",
        "open loop, Poisson arrivals",
        "500..1500",
        "424242",
        "1,234",
        "7 requests deep",
        "1.5 s",
        "12.5 s",
        "9,876,543 requests in 10.25 s",
        "995/s",
        "of 1,001/s asked",
        "rate asked for500..1500/s",
        "5.6 MB",
        "reset17",
        "none oftimeout",
        "2xx9,876,500",
        "4xx43",
        "21 when the load ended",
        "23 that were due",
        "P991.20 ms800 µs32.1 µs456 µs",
        "1,357 made",
        "2,468 requests at most",
        "3.45 µs a request",
        "5.67 µs a request",
        "worked 42% of the time",
        "51 of 53 files: P50 59.0",
        "seeks61",
        "67, 7.1 s beside 73.0 s played (8.30%)",
        "all others313741.0 µs43.0 µs47.0 µs",
        "ERRORS",
        "Requests failed",
        "a note of its own",
        "testhost",
        "6.1.2-test",
        "A CPU",
        "96",
        "65,537",
        "32768 to 60999",
        "cubic",
        "within 5.00 ms",
        "2,000/s1,993/s6.00 mstoo much",
        "4 s1,0009931120 µs1.20 ms9.00 ms800 µs",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    assert_eq!(
        plots(&document),
        [
            "The knee",
            "Latency by percentile",
            "Rate over time",
            "P99 over time",
            "Response time against service time"
        ]
    );
    let marks = |class: &str| {
        let all = document.descendants();
        all.filter(|node| node.attribute("class") == Some(class))
            .count()
    };
    assert_eq!((marks("flag"), marks("dot bad open")), (1, 1));
}

#[test]
fn what_others_have_written_stays_text() {
    let hostile =
        "</title></style><script>alert(1)</script>\"' onload=x &amp; \u{0}\u{1b}[2J\u{202e}";
    let shown =
        "</title></style><script>alert(1)</script>\"' onload=x &amp; \u{fffd}\u{fffd}[2J\u{fffd}";
    let mut summary = full();
    for text in [
        &mut summary.command,
        &mut summary.version,
        &mut summary.urls[0],
        &mut summary.model,
        &mut summary.notes[0],
        &mut summary.host.name,
        &mut summary.host.kernel,
        &mut summary.host.cpu_model,
        &mut summary.host.local_ports,
        &mut summary.host.congestion_control,
    ] {
        hostile.clone_into(text);
    }
    summary.rate = Some(hostile.to_owned());
    summary.errors = [(hostile.to_owned(), 1)].into();
    summary.status = [(hostile.to_owned(), 1)].into();
    let page = Report(&summary).to_string();
    let text = all_text(&parsed(&page));
    // The head of the page and its title have it too.
    assert!(text.matches(shown).count() >= 12, "{text}");
}

#[test]
fn odd_runs_have_pages_too() {
    // Nothing was answered, not even a second passed.
    let page = Report(&Summary::default()).to_string();
    let document = parsed(&page);
    assert!(all_text(&document).contains("No request was answered"));
    assert!(plots(&document).is_empty());

    // A closed loop has one time, and so no gap.
    let mut closed = full();
    (closed.asked_rate_per_s, closed.generator_lag_us) = (None, None);
    closed.knee_steps.clear();
    let page = Report(&closed).to_string();
    let document = parsed(&page);
    assert_eq!(
        plots(&document),
        ["Latency by percentile", "Rate over time", "P99 over time"]
    );
    assert!(!all_text(&document).contains("The gap"));
    assert!(!all_text(&document).contains("service P99"));

    // One second, in which nothing was answered.
    let mut still = full();
    still.timeline = vec![Second {
        at_s: 1.0,
        ..Second::default()
    }];
    still.response_time_us = Times::default();
    still.percentiles = vec![(0.0, 0.0, 0.0)];
    still.knee_steps[0].response_p99_us = 0.0;
    let page = Report(&still).to_string();
    assert_eq!(plots(&parsed(&page)).len(), 5);

    // A day is no larger than what a phone can load, and two are no larger than one.
    let mut day = full();
    day.timeline = (0..86_400)
        .map(|index| Second {
            at_s: f64::from(index + 1),
            response_p99_us: 1000.0,
            ..Second::default()
        })
        .collect();
    let page = Report(&day).to_string();
    parsed(&page);
    assert!(page.len() < 150_000, "{}", page.len());
    assert!(page.contains("Each step is 360 s"));

    // Thousands of URLs, as a replayed log has them.
    let mut many = full();
    many.urls = (0..5000).map(|n| format!("http://localhost/{n}")).collect();
    let page = Report(&many).to_string();
    assert!(all_text(&parsed(&page)).contains("and 4,979 more"));
}

#[test]
fn figures_beyond_measure_do_no_harm() {
    let mut summary = full();
    for value in [-1.0, 0.0, 1e-300, 1e300, f64::NAN, f64::INFINITY] {
        summary.percentiles = vec![(50.0, value, value), (value, 1.0, value)];
        summary.timeline[0].at_s = value;
        summary.timeline[1].rate_per_s = value;
        summary.timeline[2].response_p99_us = value;
        summary.knee_steps[0].asked_rate_per_s = value;
        let page = Report(&summary).to_string();
        let drawn = page
            .split("<path")
            .skip(1)
            .filter_map(|path| path.split('>').next());
        for path in drawn {
            assert!(!path.contains("NaN") && !path.contains("inf"), "{path}");
        }
    }
}

#[test]
fn a_load_leaves_a_page() {
    let server = Server::answering(OK);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.html");
    let path = path.to_str().expect("UTF-8");
    let output = run(&[&server.url(), "-n", "100", "--report", path]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("requests"));
    let page = std::fs::read_to_string(path).expect("written");
    assert!(all_text(&parsed(&page)).contains(&server.url()));

    // In place of the table.
    let output = run(&[&server.url(), "-n", "100", "--rate", "1k", "--report", "-"]);
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    assert!(all_text(&parsed(&page)).contains("1,000/s asked"));
}

#[test]
fn a_page_that_can_not_be_written_ends_a_load_before_it_begins() {
    let server = Server::answering(OK);
    for flag in ["--report", "--json"] {
        let output = run(&[&server.url(), "-d", "1h", flag, "/does/not/exist"]);
        let said = sentence(&output, 1);
        assert!(
            said.starts_with("cannot write \"/does/not/exist\""),
            "{said}"
        );
    }
    let output = run(&[&server.url(), "-d", "1h", "--report", "-", "--json", "-"]);
    let said = sentence(&output, 2);
    assert!(said.contains("cannot both"), "{said}");
    assert_eq!(server.requests(), 0);
}

#[test]
fn two_runs_are_drawn_over_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| {
        let path = folder.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let (a, b, page) = (path("a<b>.json"), path("b.json"), path("both.html"));
    let mut faster = full();
    for second in &mut faster.timeline {
        second.rate_per_s *= 2.0;
    }
    for (path, summary) in [(&a, full()), (&b, faster)] {
        let json = serde_json::to_string(&summary).expect("JSON");
        std::fs::write(path, json).expect("written");
    }
    let output = run(&["compare", &a, &b, "--report", &page]);
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("larger than the noise"), "{table}");
    let page = std::fs::read_to_string(page).expect("written");
    let document = parsed(&page);
    let text = all_text(&document);
    for fact in ["larger than the noise", "a<b>.json", "424242", "testhost"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    assert_eq!(
        plots(&document),
        ["Latency by percentile", "Rate over time", "P99 over time"]
    );
    let output = run(&["compare", &a, &b, "--report", "-"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), page);

    // More than two, of which one is the generator's own limit.
    let c = path("c.json");
    let mut saturated = full();
    saturated.verdict = Verdict::SaturatedClient;
    std::fs::write(&c, serde_json::to_string(&saturated).expect("JSON")).expect("written");
    let output = run(&["compare", &a, &b, &c, "--report", "-"]);
    let page = String::from_utf8(output.stdout).expect("UTF-8");
    let document = parsed(&page);
    let text = all_text(&document);
    assert!(
        text.contains("the generator was the bottleneck of C"),
        "{text}"
    );
    assert_eq!(plots(&document).len(), 3);

    // Runs of one kind only.
    std::fs::write(
        &c,
        serde_json::to_string(&RoomsSummary::default()).expect("JSON"),
    )
    .expect("written");
    let said = sentence(&run(&["compare", &a, &c]), 1);
    assert!(said.contains("is a load of rooms"), "{said}");
    let output = run(&["compare", &c, &c]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("deliveries"), "{table}");
}

/// A verdict on the generator says nothing of the server, neither good nor bad.
#[test]
fn a_saturated_client_is_painted_neither_red_nor_green() {
    let mut summary = full();
    summary.verdict = Verdict::SaturatedClient;
    let load = AnySummary::Requests(Box::new(summary.clone()));
    let index = Index {
        title: "loads".to_owned(),
        entries: vec![IndexedRun {
            name: "a".to_owned(),
            load,
            files: Vec::new(),
        }],
        others: Vec::new(),
    };
    assert!(
        index
            .to_string()
            .contains("class=\"text unsure\">SATURATED CLIENT")
    );
    assert!(
        Report(&summary)
            .to_string()
            .contains("class=\"verdict unsure\"")
    );
}

/// The page begins with what viewers saw, and names no rate, since none was requested.
#[test]
fn players_come_first_in_their_report() {
    let mut summary = full();
    (summary.asked_rate_per_s, summary.rate) = (None, None);
    summary.verdict = Verdict::Good;
    let page = Report(&summary).to_string();
    let text = all_text(&parsed(&page));
    let at = |words: &str| {
        text.find(words)
            .unwrap_or_else(|| panic!("{words}: {text}"))
    };
    assert!(at("start-up P50") < at("answered") && at("stalls") < at("answered"));
    assert!(at("What viewers saw") < at("Latency"));
    assert!(!text.contains("rate that was asked") && !text.contains("rate asked for"));
    let table = summary.to_string();
    assert!(table.find("start-up") < table.find("requests  "), "{table}");
    assert!(table.ends_with("  OK: Nothing failed.\n"), "{table}");
}

#[test]
fn a_folder_of_loads_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    let json = serde_json::to_string(&full()).expect("JSON");
    write("at a rate.json", &json);
    write("at a rate.html", "");
    write("at a rate.hlog", "");
    write("other.json", "{}");
    write("soak.tsv", "part\tmemory_kb\n01\t<17>\n02\t17\n03\t34\n");
    write("java\\script:x\"<b>", "");
    let path = folder.path().to_str().expect("UTF-8");
    let output = run(&["index", path]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let page = std::fs::read_to_string(said.trim()).expect("where it says");
    let document = parsed(&page);
    let text = all_text(&document);
    for fact in [
        "at a rate",
        "ERRORS",
        "995/s",
        "1,001/s",
        "17",
        "<17>",
        "other.json",
    ] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    let bars = document
        .descendants()
        .filter(|node| node.has_tag_name("rect"));
    let bars: Vec<_> = bars.map(|bar| bar.attribute("width")).collect();
    assert_eq!(bars, [Some("50.0"), Some("100.0")]);
    let links = document
        .descendants()
        .filter_map(|node| node.attribute("href"));
    let links: Vec<&str> = links.collect();
    assert!(links.contains(&"./at%20a%20rate%2Ehtml"), "{links:?}");
    // Again, with its own page in the folder.
    run(&["index", path]);
    let again = std::fs::read_to_string(said.trim()).expect("still there");
    assert_eq!(again, page);
    let said = sentence(&run(&["index", "/does/not/exist"]), 1);
    assert!(said.contains("/does/not/exist"), "{said}");
}
