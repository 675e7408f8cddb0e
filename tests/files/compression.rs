//! Files compressed for clients that accept it.

use std::fs;
use std::rc::Rc;

use headwater::files::FilesOptions;
use headwater::limits;
use headwater::runtime::{Shard, yield_now};

use crate::site::{Answer, Site, always_look, expand, on_shard};

/// No request's wait ends while a slow machine compresses.
fn patient() -> FilesOptions {
    FilesOptions {
        work_wait_ms: 60_000,
        ..always_look()
    }
}

fn text(lines: usize) -> String {
    (0..lines)
        .map(|number| format!("line {number} of a text that can be compressed\n"))
        .collect()
}

async fn ask(site: &Site, path: &str, accepted: &str) -> Answer {
    site.get_with(path, "accept-encoding", accepted).await
}

#[test]
fn each_coding_and_its_fields() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        // One that is kept in memory, and one that stays behind its descriptor.
        for (path, lines) in [("/small.html", 500), ("/large.html", 20_000)] {
            let content = text(lines);
            site.write(&path[1..], &content);
            site.warm(path).await;
            let plain = site.get(path).await;
            assert_eq!(plain.field("vary"), "accept-encoding");
            assert_eq!(plain.field("accept-ranges"), "bytes");
            let mut tags = vec![plain.field("etag").to_owned()];
            for coding in ["br", "zstd", "gzip"] {
                let coded = site.warm_coded(path, coding).await;
                assert_eq!(coded.status, 200);
                assert_eq!(expand(&coded.body, coding), content.as_bytes());
                assert_eq!(coded.field("vary"), "accept-encoding");
                assert_eq!(coded.field("content-type"), "text/html; charset=utf-8");
                assert_eq!(coded.field("accept-ranges"), "");
                assert_eq!(coded.field("last-modified"), plain.field("last-modified"));
                let tag = coded.field("etag").to_owned();
                assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag}");
                tags.push(tag);
                // HEAD says the same, length included.
                let fields = [("accept-encoding", coding)];
                let head = site.ask("HEAD", path, &fields).await;
                assert_eq!(head.lines(), coded.lines());
                assert_eq!(head.len, coded.len);
            }
        }
    });
}

#[test]
fn conditions_are_those_of_the_form_that_is_sent() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        site.write("a.css", text(1000));
        let coded = site.warm_coded("/a.css", "gzip").await;
        let (plain, coded) = (
            site.get("/a.css").await.field("etag").to_owned(),
            coded.field("etag").to_owned(),
        );
        for (accepted, tag, status) in [
            ("gzip", &coded, 304),
            ("gzip", &plain, 200),
            ("identity", &coded, 200),
            ("identity", &plain, 304),
        ] {
            let fields = [("accept-encoding", accepted), ("if-none-match", tag)];
            let answer = site.ask("GET", "/a.css", &fields).await;
            assert_eq!(answer.status, status, "{accepted} {tag}");
            assert_eq!(answer.field("vary"), "accept-encoding");
        }
        let fields = [("accept-encoding", "gzip"), ("if-match", &plain)];
        assert_eq!(site.ask("GET", "/a.css", &fields).await.status, 412);
        let fields = [("accept-encoding", "gzip"), ("if-match", &coded)];
        assert_eq!(site.ask("GET", "/a.css", &fields).await.status, 200);
    });
}

/// A server that was started again has not made the form yet, and needn't to say this.
#[test]
fn what_the_client_has_is_not_made_again() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        site.write("a.css", text(1000));
        let coded = site.warm_coded("/a.css", "gzip").await;
        let again = site.another(&shard, patient());
        again.warm("/a.css").await;
        let fields = [
            ("accept-encoding", "gzip"),
            ("if-none-match", coded.field("etag")),
        ];
        let answer = again.ask("GET", "/a.css", &fields).await;
        assert_eq!((answer.status, answer.at_once), (304, false));
        assert_eq!(answer.field("etag"), coded.field("etag"));
        assert_eq!(answer.field("vary"), "accept-encoding");
    });
}

#[test]
fn a_part_is_a_part_of_the_file_as_it_is() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        let content = text(1000);
        site.write("a.css", &content);
        let coded = site.warm_coded("/a.css", "gzip").await;
        let fields = [("accept-encoding", "gzip, br"), ("range", "bytes=10-19")];
        let part = site.ask("GET", "/a.css", &fields).await;
        assert_eq!(part.brief(), (206, &content[10..20]));
        assert_eq!(part.field("content-encoding"), "");
        assert_eq!(part.field("vary"), "accept-encoding");
        let size = content.len();
        assert_eq!(part.field("content-range"), format!("bytes 10-19/{size}"));
        // What was begun in a coding is not resumed in another form: it begins again.
        let fields = [
            ("accept-encoding", "gzip"),
            ("range", "bytes=10-19"),
            ("if-range", coded.field("etag")),
        ];
        let whole = site.ask("GET", "/a.css", &fields).await;
        assert_eq!(whole.brief(), (200, &*content));
        // Who doesn't take the file as it is gets the whole of a coded form.
        let fields = [
            ("accept-encoding", "gzip, identity;q=0"),
            ("range", "bytes=10-19"),
        ];
        let coded = site.ask("GET", "/a.css", &fields).await;
        assert_eq!(
            (coded.status, coded.field("content-encoding")),
            (200, "gzip")
        );
    });
}

#[test]
fn what_is_not_compressed() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(20_000)
        .collect();
        site.write(
            "short.html",
            "x".repeat(limits::COMPRESS_BYTES_MIN as usize - 1),
        );
        site.write("just.html", "x".repeat(limits::COMPRESS_BYTES_MIN as usize));
        site.write("picture.png", text(1000));
        site.write("noise.html", &noise);
        let large = fs::File::create(site.path("large.html")).unwrap();
        large.set_len(limits::COMPRESS_BYTES_MAX + 1).unwrap();
        for (path, coding) in [
            ("/short.html", ""),
            ("/just.html", "gzip"),
            ("/picture.png", ""),
            ("/noise.html", ""),
            ("/large.html", ""),
        ] {
            site.warm(path).await;
            for _ in 0..2 {
                let answer = ask(&site, path, "gzip").await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.field("content-encoding"), coding, "{path}");
            }
            assert!(ask(&site, path, "gzip").await.at_once, "{path}");
            let vary = if path == "/picture.png" {
                ""
            } else {
                "accept-encoding"
            };
            assert_eq!(ask(&site, path, "gzip").await.field("vary"), vary, "{path}");
            // What is not negotiated is sent as it is, whatever is asked for.
            let refused = if vary.is_empty() { 200 } else { 406 };
            let answer = ask(&site, path, "identity;q=0").await;
            assert_eq!(answer.status, refused, "{path}");
        }
        assert_eq!(ask(&site, "/noise.html", "gzip").await.body, noise);
    });
}

#[test]
fn it_can_be_turned_off_in_all_and_in_part() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        site.write("a.css", text(1000));
        let off = FilesOptions {
            compress: false,
            ..patient()
        };
        let only_gzip = FilesOptions {
            levels: [0, 0, 9],
            ..patient()
        };
        for (options, accepted, coding) in [
            (off, "br, gzip", ""),
            (only_gzip.clone(), "br, gzip", "gzip"),
            (only_gzip, "br, zstd", ""),
        ] {
            let site = site.another(&shard, options);
            site.warm("/a.css").await;
            ask(&site, "/a.css", accepted).await;
            let answer = ask(&site, "/a.css", accepted).await;
            assert_eq!(answer.field("content-encoding"), coding);
        }
    });
}

#[test]
fn no_patience_sends_the_file_as_it_is_and_finds_it_compressed_later() {
    on_shard(async |shard| {
        let options = FilesOptions {
            work_wait_ms: 0,
            ..always_look()
        };
        let site = Site::new(&shard, options);
        let content = text(1000);
        site.write("a.css", &content);
        site.warm("/a.css").await;
        let first = ask(&site, "/a.css", "gzip").await;
        assert_eq!(first.field("vary"), "accept-encoding");
        // The work may be as fast as that, or take its time.
        if first.field("content-encoding").is_empty() {
            assert_eq!(first.text(), content);
        }
        for _ in 0..100_000 {
            let answer = ask(&site, "/a.css", "gzip").await;
            if answer.field("content-encoding") == "gzip" {
                assert_eq!(expand(&answer.body, "gzip"), content.as_bytes());
                return;
            }
            assert_eq!(answer.text(), content);
            shard_turns(1).await;
        }
        panic!("it was never compressed");
    });
}

async fn shard_turns(count: usize) {
    for _ in 0..count {
        headwater::runtime::sleep(std::time::Duration::from_millis(1)).await;
        yield_now().await;
    }
}

/// Many ask for many files at once, which is more than may be compressed at a time: each is
/// answered with a form that it accepts, and each form is the file.
#[test]
fn a_crowd_is_answered_in_one_form_or_the_other() {
    on_shard(async |shard: Shard| {
        let site = Rc::new(Site::new(&shard, patient()));
        let count = 2 * limits::COMPRESSIONS_MAX;
        let content = |number: usize| format!("{number} {}", text(200));
        for number in 0..count {
            site.write(&format!("{number}.css"), content(number));
        }
        site.settle().await;
        for number in 0..count {
            site.get(&format!("/{number}.css")).await;
        }
        let asked: Vec<_> = (0..4 * count)
            .map(|number| {
                let (site, number) = (Rc::clone(&site), number % count);
                shard.spawn(async move {
                    let answer = ask(&site, &format!("/{number}.css"), "gzip").await;
                    let body = match answer.field("content-encoding") {
                        "" => answer.body.clone(),
                        coding => expand(&answer.body, coding),
                    };
                    assert_eq!(answer.status, 200);
                    assert_eq!(body, content(number).into_bytes());
                    // Nothing but a coded form will do: it comes, or it can't be made now.
                    let path = format!("/{number}.css");
                    let answer = ask(&site, &path, "gzip, identity;q=0").await;
                    match answer.status {
                        503 => assert_eq!(answer.field("retry-after"), "1"),
                        status => {
                            assert_eq!(status, 200);
                            assert_eq!(answer.field("content-encoding"), "gzip");
                        }
                    }
                })
            })
            .collect();
        for answer in asked {
            answer.await.unwrap();
        }
    });
}

/// A writer replaces a file over and over while it is asked for: what is sent is what was
/// written last, as far as the answer's own tag says, and never an old coding under a new tag.
#[test]
fn a_changed_file_is_never_sent_in_an_old_coding() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        for round in 0..20 {
            let content = format!("round {round}\n{}", text(300));
            fs::write(site.outside("next"), &content).unwrap();
            if round % 2 == 0 {
                fs::rename(site.outside("next"), site.path("a.css")).unwrap();
            } else {
                fs::write(site.path("a.css"), &content).unwrap();
            }
            for wait in [false, true] {
                if wait {
                    site.settle().await;
                }
                for _ in 0..3 {
                    let answer = ask(&site, "/a.css", "br").await;
                    let body = match answer.field("content-encoding") {
                        "" => answer.body.clone(),
                        coding => expand(&answer.body, coding),
                    };
                    assert_eq!(String::from_utf8(body).unwrap(), content);
                }
            }
            let answer = ask(&site, "/a.css", "br").await;
            assert_eq!(
                answer.field("content-encoding"),
                "br",
                "settled and compressed"
            );
        }
    });
}

/// Compressed forms take of the same memory as bodies.
#[test]
fn compressed_forms_are_bounded_in_bytes() {
    on_shard(async |shard| {
        let options = FilesOptions {
            // Room for one large form, and not for two.
            cache_bodies_bytes: 96 * 1024,
            cache_body_bytes: 1024,
            ..patient()
        };
        let site = Site::new(&shard, options);
        let lines: String = (0..40_000_u64)
            .map(|number| format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40))
            .collect();
        for path in ["a.css", "b.css"] {
            site.write(path, &lines[..100_000]);
        }
        let a = site.warm_coded("/a.css", "gzip").await;
        assert!((48 * 1024..96 * 1024).contains(&a.body.len()), "{}", a.len);
        site.warm_coded("/b.css", "gzip").await;
        assert!(!ask(&site, "/a.css", "gzip").await.at_once);
    });
}
