use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

/// Checks a trace against the Trace Event Format; the error says what is wrong.
fn check(text: &[u8]) -> Result<Vec<Value>, String> {
    let trace: Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let events = trace["traceEvents"].as_array().ok_or("no traceEvents")?;
    let mut open: HashMap<(String, String), (f64, String)> = HashMap::new();
    let mut spans: HashMap<u64, Vec<(f64, f64)>> = HashMap::new();
    let mut named = BTreeSet::new();
    for event in events {
        let wrong = |what: &str| Err(format!("{what}: {event}"));
        let text = |key: &str| event[key].as_str().map(str::to_owned);
        let (Some(ph), Some(name)) = (text("ph"), text("name")) else {
            return wrong("no ph or no name");
        };
        let (Some(_), Some(tid)) = (event["pid"].as_u64(), event["tid"].as_u64()) else {
            return wrong("no pid or no tid");
        };
        if !event["args"].is_object() {
            return wrong("no args");
        }
        if ph == "M" {
            if name == "thread_name" {
                named.insert(tid);
            }
            continue;
        }
        let Some(ts) = event["ts"].as_f64().filter(|ts| *ts >= 0.0) else {
            return wrong("no ts");
        };
        if text("cat").is_none() {
            return wrong("no cat");
        }
        if !named.contains(&tid) {
            return wrong("a thread without a name");
        }
        match &*ph {
            "X" => match event["dur"].as_f64() {
                Some(dur) if dur >= 0.0 => spans.entry(tid).or_default().push((ts, ts + dur)),
                _ => return wrong("no dur"),
            },
            "i" if event["s"] == "t" => {}
            "b" | "n" | "e" => {
                let Some(id) = text("id") else {
                    return wrong("no id");
                };
                let key = (event["cat"].to_string(), id);
                let balanced = match &*ph {
                    "b" => open.insert(key, (ts, name)).is_none(),
                    "n" => open.get(&key).is_some_and(|b| b.0 <= ts && b.1 == name),
                    _ => open.remove(&key).is_some_and(|b| b.0 <= ts && b.1 == name),
                };
                if !balanced {
                    return wrong("not in balance");
                }
            }
            _ => return wrong("an unknown ph"),
        }
    }
    match open.is_empty() {
        true => Ok(events.clone()),
        false => Err(format!("never ended: {open:?}")),
    }
}

fn record(at_ns: u64, event: Event, site: &'static str, id: u64, value: u64) -> Record {
    Record {
        at_ns,
        event,
        site: CallSite::named(site),
        id,
        value,
    }
}

fn snapshot(tracks: Vec<(&str, Vec<Record>)>, taken_ns: u64) -> Snapshot {
    let track = |(name, records): (&str, Vec<Record>)| TrackSnapshot {
        name: name.to_owned(),
        lost: 3,
        records,
    };
    Snapshot {
        tracks: tracks.into_iter().map(track).collect(),
        taken_ns,
    }
}

fn written(snapshot: &Snapshot, since_ns: u64) -> Vec<u8> {
    let mut text = Vec::new();
    write(&mut text, snapshot, since_ns).unwrap();
    text
}

#[test]
fn each_event_has_its_form() {
    let records = vec![
        record(1000, Event::Spawn, "src/a.rs:1:2", 7, 0),
        record(1500, Event::Submit, "receive", 0x1_0000_0002, 0),
        record(2000, Event::Run, "src/a.rs:1:2", 7, 500),
        record(2100, Event::RunBatch, "src/b.rs:3:4", 12, 300),
        record(2500, Event::Progress, "receive", 0x1_0000_0002, 100),
        record(2600, Event::Park, "", 3, 400),
        record(
            3000,
            Event::Complete,
            "receive",
            0x1_0000_0002,
            (-104_i64) as u64,
        ),
        record(3100, Event::Steal, "", 2, 16),
        record(3200, Event::HandOff, "", 1, 9),
        record(
            2000,
            Event::Stall,
            "connection",
            u64::from(CallSite::named("parse").number()),
            30_000_000,
        ),
    ];
    let events = check(&written(&snapshot(vec![("shard-0", records)], 9000), 0)).unwrap();
    let find = |name: &str, ph: &str| {
        let found = events
            .iter()
            .find(|event| event["name"] == name && event["ph"] == ph);
        found.unwrap_or_else(|| panic!("no {name} {ph}: {events:?}"))
    };
    assert_eq!(find("thread_name", "M")["args"]["name"], "shard-0");
    assert_eq!(
        find("spawn", "i")["args"],
        json!({"task": 7, "site": "src/a.rs:1:2"})
    );
    let run = find("src/a.rs:1:2", "X");
    assert_eq!((&run["ts"], &run["dur"]), (&json!(2.0), &json!(0.5)));
    assert_eq!(find("src/b.rs:3:4", "X")["args"]["tasks"], 12);
    assert_eq!(find("park", "X")["args"]["completions"], 3);
    assert_eq!(find("receive", "b")["id"], "1:100000002");
    assert_eq!(find("receive", "n")["args"]["result"], 100);
    assert_eq!(find("receive", "e")["args"]["result"], -104);
    assert_eq!(find("steal", "i")["args"]["tasks"], 16);
    assert_eq!(find("hand-off", "i")["args"]["from"], 1);
    assert_eq!(
        find("stall", "X")["args"],
        json!({"task": "connection", "doing": "parse"})
    );
}

#[test]
fn what_still_runs_ends_with_the_snapshot_and_what_began_too_early_is_an_instant() {
    let records = vec![
        record(10, Event::Complete, "read", 1, 5),
        record(20, Event::Submit, "send", 2, 0),
    ];
    let events = check(&written(&snapshot(vec![("s", records)], 5000), 0)).unwrap();
    let end = events.iter().find(|event| event["ph"] == "e").unwrap();
    assert_eq!(
        (&end["ts"], &end["args"]["unfinished"]),
        (&json!(5.0), &json!(true))
    );
    let lost = events
        .iter()
        .find(|event| event["name"] == "completion")
        .unwrap();
    assert_eq!(lost["args"], json!({"result": 5, "site": "read"}));
}

#[test]
fn what_was_over_earlier_is_left_out() {
    let records = vec![
        record(1000, Event::Run, "early", 1, 500),
        record(1000, Event::Run, "into", 1, 1500),
        record(3000, Event::Run, "late", 1, 1),
    ];
    let text = written(&snapshot(vec![("s", records)], 5000), 2000);
    let text = String::from_utf8(text).unwrap();
    assert!(
        !text.contains("early") && text.contains("into") && text.contains("late"),
        "{text}"
    );
}

#[test]
fn names_are_escaped() {
    let records = vec![record(1, Event::Run, "a \"quoted\"\\\n name", 1, 1)];
    check(&written(&snapshot(vec![("track \"0\"\t", records)], 2), 0)).unwrap();
}

fn any_record() -> impl Strategy<Value = Record> {
    let event = prop::sample::select(vec![
        Event::Spawn,
        Event::Run,
        Event::RunBatch,
        Event::Steal,
        Event::Park,
        Event::HandOff,
        Event::Submit,
        Event::Submit,
        Event::Progress,
        Event::Complete,
        Event::Complete,
        Event::Stall,
    ]);
    let site = prop::sample::select(vec!["accept", "receive", "send"]);
    (0..1000_u64, event, site, 0..6_u64, 0..100_u64)
        .prop_map(|(at, event, site, id, value)| record(at, event, site, id, value))
}

proptest! {
    /// The trace is well-formed whatever records an overwritten buffer holds, in any order.
    #[test]
    fn any_records_make_a_trace(
        tracks in prop::collection::vec(prop::collection::vec(any_record(), 0..60), 0..4),
        since in 0..1000_u64,
        taken in 900..2000_u64,
    ) {
        let tracks = tracks.into_iter().map(|records| ("t", records)).collect();
        let text = written(&snapshot(tracks, taken), since);
        prop_assert!(check(&text).is_ok(), "{:?}", check(&text));
    }
}
