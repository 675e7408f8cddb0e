//! Loads of ranges (sequential, random, and video players) on `headwater serve` and on servers with
//! wrong answers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use crate::serve::Serve;
use crate::server::{Server, Then, next_if};
use crate::{run, sentence, summary};

fn a_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32 + 8).to_be_bytes();
    [&size[..], kind, content].concat()
}

/// The parts of an MP4 file that a player reads, for this many seconds and bytes of media.
fn mp4(seconds: u32, media_bytes: usize, moov_first: bool) -> Vec<u8> {
    let mut mvhd = vec![0; 12];
    mvhd.extend(1000u32.to_be_bytes());
    mvhd.extend((seconds * 1000).to_be_bytes());
    mvhd.extend([0; 80]);
    let tables = a_box(b"trak", &vec![7; 20_000]);
    let moov = a_box(b"moov", &[a_box(b"mvhd", &mvhd), tables].concat());
    let media: Vec<u8> = (0..media_bytes).map(|at| (at / 7 % 251) as u8).collect();
    let (ftyp, mdat) = (
        a_box(b"ftyp", b"isom\0\0\x02\0isom"),
        a_box(b"mdat", &media),
    );
    match moov_first {
        true => [ftyp, moov, mdat].concat(),
        false => [ftyp, mdat, moov].concat(),
    }
}

/// First and last bytes that were asked for.
type Asked = Arc<Mutex<Vec<(usize, usize)>>>;

/// A server of one object that notes the ranges it is asked for; `answer` may change what is said.
fn noting(
    body: Vec<u8>,
    answer: impl Fn(usize, usize, &[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> (Server, Asked) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let server = Server::reading(move |head, connection| {
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("Range: bytes="))
            .expect("a range");
        let (start, end) = range.split_once('-').expect("two ends");
        let (start, end) = (
            start.parse().expect("a number"),
            end.parse().expect("a number"),
        );
        noted.lock().expect("not poisoned").push((start, end));
        next_if(connection.write_all(&answer(start, end, &body)))
    });
    (server, asked)
}

fn partial(start: usize, end: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{end}/{}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len(),
        end - start + 1
    );
    [head.as_bytes(), &body[start..=end]].concat()
}

#[test]
fn pieces_in_sequence_go_through_an_object_and_round_again() {
    let (server, asked) = noting(vec![b'x'; 250], partial);
    let url = server.url();
    let args = [
        &url,
        "--ranges",
        "sequential:100",
        "-n",
        "7",
        "-c",
        "1",
        "--check",
    ];
    let (code, got) = summary(&args);
    assert_eq!((code, got.requests, got.errors_total), (0, 7, 0));
    assert_eq!(got.ranges.as_deref(), Some("sequential:100"));
    let asked = asked.lock().expect("not poisoned");
    let round = [(0, 99), (100, 199), (200, 249)];
    // The size is asked for first.
    assert_eq!(
        asked[..],
        [&[(0, 0)], &round[..], &round[..], &round[..1]].concat()
    );
}

#[test]
fn random_pieces_are_the_same_for_a_seed_and_cover_the_object() {
    let runs = ["3", "3", "4"].map(|seed| {
        let (server, asked) = noting(vec![b'x'; 1000], partial);
        let url = server.url();
        let args = [
            &url,
            "--ranges",
            "random:100",
            "-n",
            "200",
            "-c",
            "1",
            "--pipeline",
            "4",
            "--seed",
            seed,
        ];
        let (code, got) = summary(&args);
        assert_eq!((code, got.requests), (0, 200));
        asked.lock().expect("not poisoned")[1..].to_vec()
    });
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    let mut pieces = BTreeMap::new();
    for (start, end) in &runs[0] {
        assert_eq!(end - start, 99);
        *pieces.entry(start).or_insert(0) += 1;
    }
    assert_eq!(pieces.len(), 10, "{pieces:?}");
}

#[test]
fn ranges_of_a_real_server_are_right_under_every_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let body: Vec<u8> = (0..300_000).map(|at| (at / 5 % 241) as u8).collect();
    fs::write(folder.path().join("a"), &body).expect("written");
    fs::write(folder.path().join("b"), &body[..1]).expect("written");
    let server = Serve::start(folder.path());
    let (a, b) = (server.url.clone() + "a", server.url.clone() + "b");
    for more in [
        &["--ranges", "sequential:64KiB", "-c", "3"][..],
        &["--ranges", "random:1000", "--rate", "2000", "-t", "2"],
        &["--ranges", "random:7777", "--pipeline", "8"],
        &["--ranges", "sequential", "--connection-per-request"],
    ] {
        let (_, got) = summary(&[&[&a[..], &b, "-n", "300", "--check"], more].concat());
        assert_eq!(
            (got.requests, got.errors_total),
            (300, 0),
            "{more:?}: {:?}",
            got.errors
        );
        assert_eq!(got.status["2xx"], 300, "{more:?}");
    }
}

#[test]
fn answers_that_are_not_the_range_are_counted() {
    type Wrong = fn(usize, usize, &[u8]) -> Vec<u8>;
    let wrong: [(&str, Wrong); 4] = [
        ("another range", |start, end, body| {
            let text = String::from_utf8(partial(start, end, body)).expect("ASCII");
            text.replace("bytes 100-", "bytes 101-").into_bytes()
        }),
        ("another size", |start, end, body| {
            let text = String::from_utf8(partial(start, end, body)).expect("ASCII");
            text.replace("/300", "/301").into_bytes()
        }),
        ("all of it", |_, _, body| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        }),
        ("less of it", |start, end, body| {
            let text = String::from_utf8(partial(start, end, body)).expect("ASCII");
            let text = text.replace("Content-Length: 100", "Content-Length: 99");
            text.as_bytes()[..text.len() - 1].to_vec()
        }),
    ];
    for (name, wrong) in wrong {
        let (server, _) = noting(vec![b'x'; 300], move |start, end, body| {
            // The first byte, and the first piece, are as they should be.
            match start {
                0 => partial(start, end, body),
                _ => wrong(start, end, body),
            }
        });
        let url = server.url();
        let (code, got) = summary(&[&url, "--ranges", "sequential:100", "-n", "4", "-c", "1"]);
        let wanted = if name == "another range" { 1 } else { 2 };
        assert_eq!(
            (code, got.requests, got.errors["bad_range"]),
            (3, 4, wanted),
            "{name}"
        );
        assert_eq!(got.errors_total, wanted, "{name}");
    }
}

#[test]
fn a_piece_that_changes_is_an_error_when_bodies_are_compared() {
    let answered = Mutex::new(0);
    let (server, _) = noting(vec![b'x'; 300], move |start, end, body| {
        let mut answered = answered.lock().expect("not poisoned");
        *answered += 1;
        let mut answer = partial(start, end, body);
        // The second time round.
        if *answered == 6 {
            *answer.last_mut().expect("a byte") = b'y';
        }
        answer
    });
    let url = server.url();
    let args = [
        &url,
        "--ranges",
        "sequential:100",
        "-n",
        "9",
        "-c",
        "1",
        "--check",
    ];
    let (code, got) = summary(&args);
    assert_eq!(
        (code, got.errors["body_mismatch"], got.errors_total),
        (3, 1, 1)
    );
}

#[test]
fn servers_without_ranges_are_reported_before_the_load() {
    for (answer, words) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello",
            "it does not support ranges there",
        ),
        (
            "HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\nContent-Length: 0\r\n\r\n",
            "the object is empty",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "404; name an object that exists",
        ),
        (
            "HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx",
            "without a Content-Range",
        ),
        ("hello", "requesting the size"),
    ] {
        let server = Server::answering_once(answer);
        let output = run(&[
            &server.url(),
            "--ranges",
            "random",
            "-n",
            "5",
            "--timeout",
            "2s",
        ]);
        let said = sentence(&output, 1);
        assert!(said.contains(words), "{answer}: {said}");
    }
    let silent = Server::new(|_| Then::Next);
    let output = run(&[&silent.url(), "--ranges", "random", "--timeout", "100ms"]);
    let said = sentence(&output, 1);
    assert!(said.contains("requesting the size"), "{said}");
}

#[test]
fn command_lines_about_ranges_that_mean_nothing() {
    let url = "http://127.0.0.1:1/";
    for (more, words) in [
        (
            &["--ranges", "player", "--rate", "5"][..],
            "set their own pace",
        ),
        (
            &["--ranges", "player", "--pipeline", "2"],
            "set their own pace",
        ),
        (&["--ranges", "random", "-X", "HEAD"], "needs GET"),
        (
            &["--ranges", "random", "-H", "range: bytes=0-1"],
            "leave out yours",
        ),
        (
            &["--ranges", "random", "--player-seek", "off"],
            "needs --ranges player",
        ),
    ] {
        let said = sentence(&run(&[&[url], more].concat()), 2);
        assert!(said.contains(words), "{more:?}: {said}");
    }
    for more in [
        &["--ranges", "walk"][..],
        &["--ranges", "random:0"],
        &["--ranges", "random", "--data", "x"],
        &["--player-seek", "1s"],
        &["--ranges", "player", "--player-bitrate", "0"],
    ] {
        assert_eq!(
            run(&[&[url], more].concat()).status.code(),
            Some(2),
            "{more:?}"
        );
    }
}

#[test]
fn a_player_opens_a_file_as_players_do() {
    for moov_first in [true, false] {
        // 100 KB, of 25 s.
        let file = mp4(25, 80_000, moov_first);
        let (server, asked) = noting(file, partial);
        let url = server.url();
        let args = [
            &url,
            "--ranges",
            "player:8KiB",
            "--player-seek",
            "off",
            "-c",
            "1",
            "-n",
            "6",
        ];
        let (code, got) = summary(&args);
        assert_eq!((code, got.requests), (0, 6), "{:?}", got.errors);
        let asked: Vec<usize> = {
            let asked = asked.lock().expect("not poisoned");
            asked.iter().map(|(start, _)| start / 8192).collect()
        };
        // The size; the head; the movie box, of 20 KB; and then what is to be played.
        let wanted = match moov_first {
            true => [0, 0, 1, 2, 3, 4, 5],
            false => [0, 0, 9, 10, 11, 12, 1],
        };
        assert_eq!(asked, wanted, "{moov_first}");
        let players = got.players.expect("players");
        assert_eq!((players.opened, players.started), (1, 1));
        assert_eq!((players.without_moov, players.stalls), (0, 0));
        assert!(players.startup_time_us.count == 1 && players.startup_time_us.max > 0.0);
        assert_eq!(got.model, "video players");
    }
}

#[test]
fn players_seek_stall_and_go_on_to_other_files() {
    let folder = tempfile::tempdir().expect("a folder");
    // Two seconds of 400 KB/s each.
    fs::write(folder.path().join("a.mp4"), mp4(2, 800_000, true)).expect("written");
    fs::write(folder.path().join("b.mp4"), mp4(2, 800_000, false)).expect("written");
    let server = Serve::start(folder.path());
    let (a, b) = (server.url.clone() + "a.mp4", server.url.clone() + "b.mp4");
    let args = [
        &a,
        &b,
        "--ranges",
        "player:64KiB",
        "--player-seek",
        "500ms",
        "-c",
        "8",
        "-d",
        "5s",
        "--check",
    ];
    let (_, got) = summary(&args);
    assert_eq!(got.errors_total, 0, "{:?}", got.errors);
    let players = got.players.expect("players");
    assert!(players.opened > 8 && players.ended > 0, "{players:?}");
    assert!(
        players.seeks > 10 && players.seek_time_us.count > 5,
        "{players:?}"
    );
    // Eight players, of which none plays faster than time goes by.
    assert!(
        players.played_s > 1.0 && players.played_s <= 8.0 * (got.seconds + 0.1),
        "{players:?}"
    );
    // Not faster than their buffers allow.
    assert!(got.bytes < 60_000_000, "{}", got.bytes);
    assert!(got.to_string().contains("start-up"), "{got}");
}

#[test]
fn a_server_that_is_slower_than_the_media_makes_players_stall() {
    let file = mp4(100, 8_000_000, true);
    let (server, _) = noting(file, |start, end, body| {
        // 16 KiB in at least 60 ms are less than 800 KB/s.
        std::thread::sleep(std::time::Duration::from_millis(60));
        partial(start, end, body)
    });
    let url = server.url();
    let args = [
        &url,
        "--ranges",
        "player:16KiB",
        "--player-bitrate",
        "4M",
        "--player-seek",
        "off",
        "-c",
        "2",
        "-d",
        "6s",
    ];
    let (_, got) = summary(&args);
    let players = got.players.expect("players");
    assert!(players.stalls > 0 && players.stalled_s > 0.0, "{players:?}");
    assert!(
        players.stalled_share > 0.01 && players.stalled_share < 1.0,
        "{players:?}"
    );
    assert!(got.to_string().contains("stalls"), "{got}");
}

#[test]
fn a_file_without_a_movie_box_is_played_all_the_same() {
    let (server, _) = noting(vec![b'x'; 100_000], partial);
    let url = server.url();
    let (code, got) = summary(&[&url, "--ranges", "player:10KB", "-c", "1", "-n", "5"]);
    assert_eq!((code, got.requests), (0, 5));
    let players = got.players.expect("players");
    assert_eq!(players.without_moov, players.opened);
    assert!(
        got.notes.iter().any(|note| note.contains("no movie box")),
        "{:?}",
        got.notes
    );
}

#[test]
fn a_player_asks_again_for_what_was_lost() {
    let count = Mutex::new(0);
    let file = mp4(100, 200_000, true);
    let server = Server::reading(move |head, connection| {
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("Range: bytes="));
        let (start, end) = range
            .and_then(|range| range.split_once('-'))
            .expect("a range");
        let (start, end) = (
            start.parse().expect("a number"),
            end.parse().expect("a number"),
        );
        let mut count = count.lock().expect("not poisoned");
        *count += 1;
        let answer = partial(start, end, &file);
        match *count {
            // In the middle of the movie box.
            3 => {
                let _ = connection.write_all(&answer[..answer.len() / 2]);
                Then::Close
            }
            _ => next_if(connection.write_all(&answer)),
        }
    });
    let url = server.url();
    let args = [
        &url,
        "--ranges",
        "player:8KiB",
        "--player-bitrate",
        "80k",
        "-c",
        "1",
        "-n",
        "8",
    ];
    let (_, got) = summary(&args);
    assert_eq!((got.errors["truncated"], got.errors_total), (1, 1));
    let players = got.players.expect("players");
    assert_eq!(
        (players.opened, players.started, players.without_moov),
        (1, 1, 0)
    );
}
