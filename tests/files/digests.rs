//! Digests for clients that request them (RFC 9530).

use headwater::files::FilesOptions;
use headwater::http::digest::repr_digest;
use sha2::{Digest, Sha256};

use crate::site::{Answer, Site, always_look, on_shard};

fn patient() -> FilesOptions {
    FilesOptions {
        work_wait_ms: 60_000,
        ..always_look()
    }
}

fn of(content: &[u8]) -> String {
    repr_digest(&Sha256::digest(content).into())
}

async fn ask(site: &Site, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let wanted = [("want-repr-digest", "sha-512=3, sha-256=10")];
    site.ask(method, path, &[&wanted, fields].concat()).await
}

#[test]
fn the_digest_is_that_of_the_form_that_is_sent() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        for (path, lines) in [("/small.css", 100), ("/large.css", 100_000)] {
            let content = "a line of a text\n".repeat(lines);
            site.write(&path[1..], &content);
            site.warm(path).await;
            let answer = ask(&site, "GET", path, &[]).await;
            assert_eq!(answer.field("repr-digest"), of(content.as_bytes()));
            assert_eq!(answer.len, content.len() as u64);
            let coded = ask(&site, "GET", path, &[("accept-encoding", "br")]).await;
            assert_eq!(coded.field("content-encoding"), "br");
            assert_eq!(coded.field("repr-digest"), of(&coded.body));
            // A part has the digest of the whole; HEAD says what GET does.
            let part = ask(&site, "GET", path, &[("range", "bytes=0-9")]).await;
            assert_eq!((part.status, part.len), (206, 10));
            assert_eq!(part.field("repr-digest"), of(content.as_bytes()));
            let head = ask(&site, "HEAD", path, &[]).await;
            assert_eq!(head.lines(), answer.lines());
            assert!(head.at_once, "it is remembered");
            // A request without the field gets no digest.
            assert_eq!(site.get(path).await.field("repr-digest"), "");
        }
    });
}

#[test]
fn a_changed_file_has_another_digest() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        for content in ["one", "two"] {
            site.write("a", content);
            site.warm("/a").await;
            let answer = ask(&site, "GET", "/a", &[]).await;
            assert_eq!(answer.field("repr-digest"), of(content.as_bytes()));
        }
    });
}

#[test]
fn no_digest_where_there_is_nothing_to_digest() {
    on_shard(async |shard| {
        let site = Site::new(&shard, patient());
        site.write("a", "content");
        site.warm("/a").await;
        let tag = site.get("/a").await.field("etag").to_owned();
        for (path, field, status) in [
            ("/a", ("if-none-match", &*tag), 304),
            ("/a", ("if-match", "\"x\""), 412),
            ("/a", ("range", "bytes=100-"), 416),
            ("/none", ("accept", "*/*"), 404),
        ] {
            let answer = ask(&site, "GET", path, &[field]).await;
            assert_eq!((answer.status, answer.field("repr-digest")), (status, ""));
        }
    });
}

#[test]
fn it_can_be_turned_off() {
    on_shard(async |shard| {
        let options = FilesOptions {
            digests: false,
            ..patient()
        };
        let site = Site::new(&shard, options);
        site.write("a", "content");
        let answer = ask(&site, "GET", "/a", &[]).await;
        assert_eq!((answer.status, answer.field("repr-digest")), (200, ""));
    });
}
