//! `headwater sysctl` on the kernel's settings, in separate network namespaces.
//!
//! No test changes a setting of the host: each writes only namespaced settings, in a new namespace.
//! Without permission to create one the tests print that and pass.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use headwater::tuning::sysctl::{BUILT_IN, Machine, Profile, Scope};
use nix::sched::{CloneFlags, unshare};

/// Runs `body` on a thread of its own in a new network namespace, whose settings it sees.
fn in_namespace(name: &str, body: impl FnOnce(&Path) + Send) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    thread::scope(|scope| {
        let inside = scope.spawn(move || match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => body(path),
            Err(errno) => eprintln!(
                "SKIPPED {name}: no right to make a network namespace ({errno}); run as root to have it tested"
            ),
        });
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// `headwater sysctl` in the calling thread's namespace.
fn sysctl(state: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headwater"))
        .arg("sysctl")
        .args(args)
        .env_clear()
        .env("HEADWATER_STATE_DIR", state)
        .output()
        .expect("the binary runs")
}

#[track_caller]
fn said(output: &Output, status: i32) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    assert_eq!(output.status.code(), Some(status), "{text}");
    text
}

fn now(key: &str) -> String {
    let path = format!("/proc/thread-self/root/proc/sys/{}", key.replace('.', "/"));
    fs::read_to_string(path)
        .expect(key)
        .trim_end()
        .replace('\t', " ")
}

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("mine.conf");
    fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_container_profile_applies_and_goes_back() {
    in_namespace("container profile", |folder| {
        let keys: Vec<String> =
            Profile::load("container", Machine::read("/proc".as_ref()).unwrap())
                .expect("a profile")
                .settings
                .iter()
                .map(|setting| setting.key.to_string())
                .collect();
        let before: Vec<String> = keys.iter().map(|key| now(key)).collect();
        let dry = said(&sysctl(folder, &["apply", "container"]), 0);
        assert!(
            dry.contains("would change") && dry.contains("--yes"),
            "{dry}"
        );
        assert_eq!(before, keys.iter().map(|key| now(key)).collect::<Vec<_>>());
        said(&sysctl(folder, &["check", "container"]), 1);

        let applied = said(&sysctl(folder, &["apply", "container", "--yes"]), 0);
        assert!(
            applied.contains("net.core.somaxconn = 65535 (was "),
            "{applied}"
        );
        assert_eq!(now("net.core.somaxconn"), "65535");
        assert_eq!(now("net.ipv4.ip_local_port_range"), "1024 65535");
        said(&sysctl(folder, &["check", "container"]), 0);
        let again = said(&sysctl(folder, &["apply", "container", "--yes"]), 0);
        assert_eq!(again, "nothing to change\n");

        said(&sysctl(folder, &["revert"]), 0);
        assert_eq!(before, keys.iter().map(|key| now(key)).collect::<Vec<_>>());
        let nothing = said(&sysctl(folder, &["revert"]), 0);
        assert!(nothing.starts_with("nothing to put back"), "{nothing}");
    });
}

#[test]
fn what_a_profile_says_of_namespaces_is_so() {
    in_namespace("scopes", |_| {
        let writable = |key: &str| {
            let path = Path::new("/proc/sys").join(key.replace('.', "/"));
            fs::OpenOptions::new().write(true).open(path)
        };
        for (name, _) in BUILT_IN {
            let machine = Machine::read("/proc".as_ref()).unwrap();
            for setting in Profile::load(name, machine).expect(name).settings {
                let key = setting.key.as_str();
                match setting.scope {
                    Some(Scope::Namespace) => match writable(key) {
                        Ok(_) => {}
                        // An older kernel may lack it.
                        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{key}"),
                    },
                    Some(Scope::Global) if key.starts_with("net.") => {
                        assert!(writable(key).is_err(), "{key} can be set in a namespace");
                    }
                    scope => assert_eq!(scope, Some(Scope::Global), "{key}"),
                }
            }
        }
    });
}

#[test]
fn a_value_out_of_range_undoes_all() {
    in_namespace("EINVAL", |folder| {
        let before = now("net.core.somaxconn");
        let mine = write(
            folder,
            "net.core.somaxconn = 60001\n#@ better exact\n#@ scope namespace\n\
             net.ipv4.tcp_fin_timeout = 99999999999\n",
        );
        let refused = said(&sysctl(folder, &["apply", &mine, "--yes"]), 1);
        assert!(
            refused.contains("net.ipv4.tcp_fin_timeout = 99999999999 was refused: out of range")
                && refused.contains("was put back"),
            "{refused}"
        );
        assert_eq!(now("net.core.somaxconn"), before);
        let snapshots = fs::read_dir(folder).unwrap();
        let snapshots = snapshots.filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension()
                .is_some_and(|extension| extension == "snapshot")
        });
        assert_eq!(snapshots.count(), 0);
    });
}

#[test]
fn missing_and_read_only_keys_have_their_verdicts() {
    in_namespace("verdicts", |folder| {
        let mine = write(
            folder,
            "net.ipv4.no_such_key = 1\n-net.core.netdev_max_backlog = 99999\n\
             net.netfilter.nf_conntrack_max = 99999999\nnet.core.rmem_max = 99999999\n",
        );
        let table = said(&sysctl(folder, &["diff", &mine]), 0);
        let verdict = |key: &str| {
            let line = table.lines().find(|line| line.contains(key)).expect(key);
            [
                "not on this kernel",
                "not permitted",
                "would change",
                "same",
            ]
            .into_iter()
            .find(|words| line.contains(words))
        };
        assert_eq!(
            verdict("no_such_key"),
            Some("not on this kernel"),
            "{table}"
        );
        assert_eq!(
            verdict("netdev_max_backlog"),
            Some("not on this kernel"),
            "{table}"
        );
        // Read-only for a namespace where the kernel shows it at all.
        let read_only = if Path::new("/proc/sys/net/core/rmem_max").exists() {
            Some("not permitted")
        } else {
            Some("not on this kernel")
        };
        assert_eq!(verdict("rmem_max"), read_only, "{table}");
        let refused = said(&sysctl(folder, &["apply", &mine, "--yes"]), 1);
        assert!(refused.contains("nothing was changed"), "{refused}");
    });
}

#[test]
fn a_profile_is_set_but_for_what_a_namespace_cannot_set() {
    in_namespace("high-connections", |folder| {
        // Without its keys outside net., which are the host's and writable for root.
        let machine = Machine::read("/proc".as_ref()).unwrap();
        let profile = Profile::load("high-connections", machine).expect("a profile");
        let keys = profile.settings.iter();
        let keys = keys.filter(|setting| setting.key.as_str().starts_with("net."));
        let text: String = keys
            .map(|setting| format!("{} = {}\n", setting.key, setting.value))
            .collect();
        let mine = write(folder, &text);
        let refused = said(
            &sysctl(folder, &["apply", &mine, "--yes", "--all-or-nothing"]),
            1,
        );
        assert!(refused.contains("nothing was changed"), "{refused}");
        let dry = said(&sysctl(folder, &["apply", &mine]), 0);
        assert!(dry.contains("would be left out"), "{dry}");
        let applied = said(&sysctl(folder, &["apply", &mine, "--yes"]), 3);
        assert!(applied.contains(" is left out: not "), "{applied}");
        assert_eq!(now("net.core.somaxconn"), "65535");
        said(&sysctl(folder, &["revert"]), 0);
        assert_ne!(now("net.core.somaxconn"), "65535");
    });
}

#[test]
fn a_damaged_snapshot_is_not_believed() {
    in_namespace("damage", |folder| {
        let mine = write(folder, "net.ipv4.tcp_keepalive_time = 601\n");
        said(&sysctl(folder, &["apply", &mine, "--yes"]), 0);
        let snapshot = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|e| e == "snapshot"))
            .expect("a snapshot");
        let text = fs::read_to_string(&snapshot).unwrap();
        fs::write(&snapshot, text.replace("was 7200", "was 7201")).unwrap();
        let error = said(&sysctl(folder, &["revert"]), 1);
        assert!(error.contains("is damaged"), "{error}");
        assert_eq!(now("net.ipv4.tcp_keepalive_time"), "601");
        fs::write(&snapshot, text).unwrap();
        said(&sysctl(folder, &["revert"]), 0);
        assert_eq!(now("net.ipv4.tcp_keepalive_time"), "7200");
    });
}

#[test]
fn an_unsafe_value_is_critical() {
    in_namespace("unsafe value", |folder| {
        fs::write("/proc/sys/net/ipv4/tcp_timestamps", "0\n").expect("ours to set");
        let report = said(&sysctl(folder, &["check", "container", "--json"]), 2);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["status"], "CRITICAL");
        assert_eq!(report["dangers"][0]["key"], "net.ipv4.tcp_timestamps");
        assert_eq!(report["settings"][0]["key"], "net.core.somaxconn");
        assert_eq!(report["settings"][0]["verdict"], "would change");
    });
}

#[test]
fn commands_answer_without_any_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = said(&sysctl(folder.path(), &["list"]), 0);
    assert_eq!(list.lines().count(), BUILT_IN.len());
    for (name, text) in BUILT_IN {
        assert!(list.contains(name), "{list}");
        assert_eq!(
            said(&sysctl(folder.path(), &["show", name, "--raw"]), 0),
            text
        );
        let computed = said(&sysctl(folder.path(), &["show", name]), 0);
        assert!(!computed.contains("\n#@"), "{computed}");
        said(&sysctl(folder.path(), &["diff", name]), 0);
    }
    said(&sysctl(folder.path(), &["check", "no-such-profile"]), 3);
    said(&sysctl(folder.path(), &["diff", "no-such-profile"]), 1);
    said(&sysctl(folder.path(), &["apply"]), 2);
    assert!(
        fs::read_dir(folder.path()).unwrap().next().is_none(),
        "nothing is written"
    );
}

#[test]
fn a_folder_may_stand_for_proc_sys() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("sys");
    fs::create_dir_all(root.join("net/core")).unwrap();
    fs::write(root.join("net/core/somaxconn"), "128\n").unwrap();
    let root = root.to_str().expect("UTF-8");
    let mine = write(folder.path(), "net.core.somaxconn = 512\n");
    let state = folder.path().join("state");
    let output = folder.path().join("60-headwater.conf");
    let output = output.to_str().expect("UTF-8");
    let persist = ["persist", &mine, "--output", output, "--proc-sys", root];
    let shown = said(&sysctl(&state, &persist), 0);
    assert!(shown.contains("\nnet.core.somaxconn = 512\n") && shown.contains("--yes"));
    assert!(!Path::new(output).exists(), "a dry run");
    said(&sysctl(&state, &[&persist[..], &["--yes"]].concat()), 0);
    assert!(
        fs::read_to_string(output)
            .unwrap()
            .ends_with("\nnet.core.somaxconn = 512\n")
    );
    said(
        &sysctl(&state, &["persist", "--remove", "--output", output]),
        0,
    );
    said(
        &sysctl(&state, &["apply", &mine, "--yes", "--proc-sys", root]),
        0,
    );
    let value = || fs::read_to_string(Path::new(root).join("net/core/somaxconn")).unwrap();
    assert_eq!(value(), "512\n");
    said(&sysctl(&state, &["revert", "--proc-sys", root]), 0);
    assert_eq!(value(), "128\n");
}
