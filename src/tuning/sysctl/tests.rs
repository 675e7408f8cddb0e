//! Plans, applying and reverting, against folders that look like `/proc/sys`.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::*;

const MACHINE: Machine = Machine {
    memory_kib: 24 << 20,
    cpus: 2,
};

/// A folder of settings and one for snapshots.
struct Host {
    folder: tempfile::TempDir,
    settings: ProcSys,
}

impl Host {
    fn new(values: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host = Self {
            settings: ProcSys::new(folder.path().join("sys")),
            folder,
        };
        for (key, value) in values {
            let path = host.path(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        host
    }

    fn path(&self, key: &str) -> std::path::PathBuf {
        self.settings.root().join(Key::parse(key).unwrap().path())
    }

    fn value(&self, key: &str) -> String {
        let text = fs::read_to_string(self.path(key)).unwrap();
        text.trim_end().to_owned()
    }

    fn state(&self) -> State {
        State::new(self.folder.path().join("state")).expect("/proc tells")
    }

    fn plan(&self, text: &str) -> Plan {
        let profile = Profile::parse("test", text, MACHINE).expect("a profile");
        Plan::new(profile, &self.settings, false)
    }
}

const TWO: &[(&str, &str)] = &[("a.one", "1"), ("a.two", "2")];
const TWO_WANTED: &str = "a.one = 10\na.two = 20\n";

/// A tree of settings in which some writes fail, or end the program.
struct Failing<'a> {
    settings: &'a mut ProcSys,
    key: &'static str,
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Invalid,
    Crash,
    Clamp(&'static str),
}

impl Settings for Failing<'_> {
    fn read(&self, key: &Key) -> io::Result<String> {
        self.settings.read(key)
    }

    fn may_write(&self, key: &Key) -> bool {
        self.settings.may_write(key)
    }

    fn write(&mut self, key: &Key, value: &str) -> io::Result<()> {
        match self.how {
            _ if key.as_str() != self.key => self.settings.write(key, value),
            How::Invalid => Err(io::Error::from_raw_os_error(22)),
            How::Crash => panic!("a crash"),
            How::Clamp(to) => self.settings.write(key, to),
        }
    }
}

#[test]
fn built_in_profiles_are_whole() {
    for (name, text) in BUILT_IN {
        let profile = Profile::parse(name, text, MACHINE).expect(name);
        assert!(!profile.about().is_empty(), "{name}");
        let mut comments = String::new();
        let mut seen = 0;
        for line in text.lines() {
            if line.starts_with('#') {
                comments.push_str(line);
                comments.push('\n');
            } else if line.contains('=') {
                for part in [
                    "# What:",
                    "# Why:",
                    "# Unit:",
                    "# Source:",
                    "# Risk:",
                    "#@ better",
                    "#@ scope",
                ] {
                    assert!(comments.contains(part), "{name}: {line} has no {part}");
                }
                seen += 1;
                comments.clear();
            } else {
                comments.clear();
            }
        }
        assert_eq!(seen, profile.settings.len(), "{name}: a key appears twice");
        for setting in &profile.settings {
            assert_eq!(
                refused(setting.key.as_str(), &setting.value),
                None,
                "{name}"
            );
            let elsewhere = BUILT_IN
                .iter()
                .map(|(name, text)| Profile::parse(name, text, MACHINE).expect("a profile"))
                .flat_map(|profile| profile.settings)
                .filter(|other| other.key == setting.key);
            for other in elsewhere {
                let notes = |s: &Setting| (s.better, s.scope, s.optional);
                assert_eq!(notes(&other), notes(setting), "{}", setting.key);
            }
        }
    }
}

#[test]
fn the_value_on_the_line_is_a_careful_one() {
    // sysctl -p on a host of 32 GiB sets no more than headwater would.
    let large = Machine {
        memory_kib: 32 << 20,
        cpus: 8,
    };
    for (name, text) in BUILT_IN {
        let profile = Profile::parse(name, text, large).expect(name);
        for setting in &profile.settings {
            let line = text.lines().nth(setting.line - 1).unwrap();
            let literal = line.split_once('=').unwrap().1;
            let pairs = literal
                .split_whitespace()
                .zip(setting.value.split_whitespace());
            for (literal, computed) in pairs {
                let numbers = literal
                    .parse::<u64>()
                    .ok()
                    .zip(computed.parse::<u64>().ok());
                assert!(numbers.is_none_or(|(a, b)| a <= b), "{name}: {line}");
            }
        }
    }
}

#[test]
fn the_container_profile_touches_the_namespace_only() {
    let text = BUILT_IN
        .iter()
        .find(|(name, _)| *name == "container")
        .unwrap()
        .1;
    let profile = Profile::parse("container", text, MACHINE).unwrap();
    let global = |s: &&Setting| s.scope != Some(Scope::Namespace);
    assert_eq!(profile.settings.iter().find(global), None);
}

#[test]
fn profiles_are_read_as_sysctl_reads_them() {
    let text = "# about\n; also a comment\n\nnet/core/somaxconn=1\n-a.b = x y # z\na.b = 2\n";
    let profile = Profile::parse("p", text, MACHINE).expect("a profile");
    let shown: Vec<_> = profile
        .settings
        .iter()
        .map(|s| (s.key.as_str(), s.value.as_str(), s.optional, s.line))
        .collect();
    assert_eq!(
        shown,
        [
            ("net.core.somaxconn", "1", false, 4),
            ("a.b", "2", false, 6)
        ]
    );
    // The built-in profiles' notes on a key apply to files without notes on it.
    assert_eq!(profile.settings[0].better, Better::Higher);
    assert_eq!(profile.settings[0].scope, Some(Scope::Namespace));
    assert_eq!(profile.settings[1].better, Better::Exact);
    assert_eq!(profile.about(), "about");
}

#[test]
fn bad_lines_are_named() {
    for (text, words) in [
        ("a.b", "p:1: \"a.b\" is no setting"),
        ("\n../x = 1", "p:2: \"../x\" is no setting's name"),
        (
            "#@ better sideways\na.b = 1",
            "p:1: \"#@ better sideways\" says nothing",
        ),
        ("#@ compute 1 + 1\na.b = 1", "p:2: cannot compute a.b"),
    ] {
        let error = Profile::parse("p", text, MACHINE)
            .expect_err(text)
            .to_string();
        assert!(error.starts_with(words), "{error}");
    }
    let unknown = Profile::load("fileserver", MACHINE).expect_err("no such name");
    assert!(
        unknown.to_string().contains("choose from file-server"),
        "{unknown}"
    );
    let missing = Profile::load("./none.conf", MACHINE).expect_err("no such file");
    assert!(
        missing.to_string().contains("cannot read the profile"),
        "{missing}"
    );
}

#[test]
fn a_plan_has_a_verdict_for_each_key() {
    let host = Host::new(&[
        ("net.core.somaxconn", "70000"),
        ("net.ipv4.tcp_fin_timeout", "60"),
        ("net.ipv4.ip_local_port_range", "1000\t60999"),
        ("net.ipv4.tcp_sack", "1"),
        ("net.ipv4.tcp_mtu_probing", "1"),
    ]);
    let plan = host.plan(
        "net.core.somaxconn = 65535\nnet.ipv4.tcp_fin_timeout = 20\n\
         net.ipv4.ip_local_port_range = 1024 65535\nnet.ipv4.tcp_sack = 0\n\
         net.ipv4.tcp_mtu_probing = 1\n-net.core.default_qdisc = fq\nno.such = 1\n",
    );
    let verdicts: Vec<_> = plan.rows.iter().map(|row| row.verdict.clone()).collect();
    assert_eq!(
        verdicts[..3],
        [
            Verdict::Better,
            Verdict::Change("20".to_owned()),
            Verdict::Change("1000 65535".to_owned()),
        ]
    );
    assert!(matches!(verdicts[3], Verdict::Refused(reason) if reason.contains("selective")));
    assert_eq!(
        verdicts[4..],
        [Verdict::Same, Verdict::Missing, Verdict::Missing]
    );
    assert!(
        plan.rows[5]
            .remark()
            .is_some_and(|text| text.contains("namespace"))
    );
    let obstacles: Vec<_> = plan.rows.iter().map(Row::is_obstacle).collect();
    assert_eq!(obstacles, [false, false, false, true, false, false, true]);
}

#[test]
fn applying_and_reverting_leaves_everything_as_it_was() {
    let mut host = Host::new(&[("a.one", "1\t2"), ("a.two", ""), ("a.three", "3")]);
    let plan = host.plan("a.one = 10 20\na.two = 7\na.three = 3\n");
    let state = host.state();
    let applied = apply(&plan, &mut host.settings, &state, OutOfReach::LeaveOut).expect("applied");
    assert_eq!(applied.len(), 2);
    assert!(applied.iter().all(|one| one.outcome == Outcome::Set));
    assert_eq!([host.value("a.one"), host.value("a.two")], ["10 20", "7"]);
    assert!(state.exists());
    let Reverted::Back(back) = revert(&mut host.settings, &state, true).unwrap() else {
        panic!("a snapshot");
    };
    assert_eq!(back.len(), 2);
    assert_eq!(host.value("a.one"), "10 20", "a dry run");
    revert(&mut host.settings, &state, false).unwrap();
    assert_eq!([host.value("a.one"), host.value("a.two")], ["1\t2", ""]);
    assert!(!state.exists());
    assert_eq!(
        revert(&mut host.settings, &state, false).unwrap(),
        Reverted::Nothing
    );
}

#[test]
fn a_second_apply_keeps_the_first_old_values() {
    let mut host = Host::new(TWO);
    let state = host.state();
    for text in ["a.one = 10\n", "a.one = 100\na.two = 20\n"] {
        apply(
            &host.plan(text),
            &mut host.settings,
            &state,
            OutOfReach::LeaveOut,
        )
        .expect("applied");
    }
    revert(&mut host.settings, &state, false).unwrap();
    assert_eq!([host.value("a.one"), host.value("a.two")], ["1", "2"]);
}

#[test]
fn one_refused_value_undoes_all() {
    let mut host = Host::new(TWO);
    let state = host.state();
    let plan = host.plan(TWO_WANTED);
    let mut failing = Failing {
        settings: &mut host.settings,
        key: "a.two",
        how: How::Invalid,
    };
    let error = apply(&plan, &mut failing, &state, OutOfReach::LeaveOut).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "a.two = 20 was refused: out of range, or not of its form (EINVAL); \
         what had been changed before it was put back"
    );
    assert_eq!([host.value("a.one"), host.value("a.two")], ["1", "2"]);
    assert!(!state.exists());
}

#[test]
fn a_refused_value_leaves_an_earlier_snapshot_as_it_was() {
    let mut host = Host::new(TWO);
    let state = host.state();
    apply(
        &host.plan("a.one = 5\n"),
        &mut host.settings,
        &state,
        OutOfReach::LeaveOut,
    )
    .expect("applied");
    let before = fs::read(state.path()).unwrap();
    let plan = host.plan(TWO_WANTED);
    let mut failing = Failing {
        settings: &mut host.settings,
        key: "a.two",
        how: How::Invalid,
    };
    apply(&plan, &mut failing, &state, OutOfReach::LeaveOut).expect_err("refused");
    assert_eq!(host.value("a.one"), "5");
    assert_eq!(fs::read(state.path()).unwrap(), before);
}

#[test]
fn an_optional_value_is_passed_over() {
    let mut host = Host::new(TWO);
    let state = host.state();
    let plan = host.plan("-a.one = 10\na.two = 20\n");
    let mut failing = Failing {
        settings: &mut host.settings,
        key: "a.one",
        how: How::Invalid,
    };
    let applied = apply(&plan, &mut failing, &state, OutOfReach::LeaveOut).expect("applied");
    assert!(matches!(applied[0].outcome, Outcome::PassedOver(_)));
    assert_eq!([host.value("a.one"), host.value("a.two")], ["1", "20"]);
}

#[test]
fn what_the_kernel_makes_of_a_value_is_told() {
    let mut host = Host::new(TWO);
    let state = host.state();
    let plan = host.plan(TWO_WANTED);
    let mut clamping = Failing {
        settings: &mut host.settings,
        key: "a.two",
        how: How::Clamp("15"),
    };
    let applied = apply(&plan, &mut clamping, &state, OutOfReach::LeaveOut).expect("applied");
    assert_eq!(applied[1].outcome, Outcome::Altered("15".to_owned()));
    let Reverted::Back(back) = revert(&mut host.settings, &state, false).unwrap() else {
        panic!("a snapshot");
    };
    assert_eq!(back[0].outcome, Ok(BackFrom::Other("15".to_owned())));
    assert_eq!(host.value("a.two"), "2");
}

#[test]
fn a_crash_in_the_middle_is_taken_back() {
    for key in ["a.one", "a.two"] {
        let mut host = Host::new(TWO);
        let state = host.state();
        let plan = host.plan(TWO_WANTED);
        let mut crashing = Failing {
            settings: &mut host.settings,
            key,
            how: How::Crash,
        };
        let crash = AssertUnwindSafe(|| apply(&plan, &mut crashing, &state, OutOfReach::LeaveOut));
        catch_unwind(crash).expect_err("it crashed");
        assert!(
            state.exists(),
            "the snapshot is there before the first write"
        );
        // And the revert crashes as well, once.
        let mut crashing = Failing {
            settings: &mut host.settings,
            key: "a.one",
            how: How::Crash,
        };
        let _ = catch_unwind(AssertUnwindSafe(|| revert(&mut crashing, &state, false)));
        revert(&mut host.settings, &state, false).unwrap();
        assert_eq!([host.value("a.one"), host.value("a.two")], ["1", "2"]);
        assert!(!state.exists());
    }
}

#[test]
fn a_setting_that_does_not_go_back_keeps_the_snapshot() {
    let mut host = Host::new(TWO);
    let state = host.state();
    apply(
        &host.plan(TWO_WANTED),
        &mut host.settings,
        &state,
        OutOfReach::LeaveOut,
    )
    .expect("applied");
    let mut failing = Failing {
        settings: &mut host.settings,
        key: "a.two",
        how: How::Invalid,
    };
    let Reverted::Back(back) = revert(&mut failing, &state, false).unwrap() else {
        panic!("a snapshot");
    };
    assert!(back[0].outcome.is_err() && back[1].outcome.is_ok());
    assert!(state.exists());
    assert_eq!([host.value("a.one"), host.value("a.two")], ["1", "20"]);
}

#[test]
fn a_damaged_snapshot_stops_everything() {
    let mut host = Host::new(TWO);
    let state = host.state();
    apply(
        &host.plan(TWO_WANTED),
        &mut host.settings,
        &state,
        OutOfReach::LeaveOut,
    )
    .expect("applied");
    let text = fs::read_to_string(state.path()).unwrap();
    fs::write(state.path(), text.replace("was 1", "was 9")).unwrap();
    let error = revert(&mut host.settings, &state, false).expect_err("damaged");
    assert!(error.to_string().contains("is damaged"), "{error}");
    let again = apply(
        &host.plan("a.one = 11\n"),
        &mut host.settings,
        &state,
        OutOfReach::LeaveOut,
    );
    assert!(
        again
            .expect_err("damaged")
            .to_string()
            .contains("is damaged")
    );
    assert_eq!([host.value("a.one"), host.value("a.two")], ["10", "20"]);
}

#[test]
fn a_snapshot_of_an_earlier_boot_is_none() {
    let mut host = Host::new(TWO);
    let state = host.state();
    let mut old = state.empty("test");
    old.boot = "another".to_owned();
    old.add(&Key::parse("a.one").unwrap(), "99", "98");
    fs::create_dir_all(state.path().parent().unwrap()).unwrap();
    state.store(&old).unwrap();
    assert_eq!(
        revert(&mut host.settings, &state, false).unwrap(),
        Reverted::EarlierBoot
    );
    assert_eq!(host.value("a.one"), "1");
    assert!(!state.exists());
}

#[test]
fn two_at_once_are_one_too_many() {
    let mut host = Host::new(TWO);
    let state = host.state();
    let _lock = state.lock().expect("free");
    let error = apply(
        &host.plan(TWO_WANTED),
        &mut host.settings,
        &state,
        OutOfReach::LeaveOut,
    )
    .expect_err("busy");
    assert!(error.to_string().contains("another headwater"), "{error}");
    assert_eq!(host.value("a.one"), "1");
}

#[test]
fn an_obstacle_stops_before_anything_is_written() {
    let mut host = Host::new(TWO);
    let state = host.state();
    let plan = host.plan("a.one = 10\nno.such = 1\nnet.ipv4.tcp_tw_recycle = 1\n");
    let error = apply(&plan, &mut host.settings, &state, OutOfReach::LeaveOut)
        .expect_err("obstacles")
        .to_string();
    for words in [
        "no.such (line 2) is not on this kernel",
        "tcp_tw_recycle (line 3) is refused: it broke clients",
    ] {
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(host.value("a.one"), "1");
    assert!(!state.exists());
}

#[test]
fn what_a_namespace_cannot_set_is_left_out_and_a_mistyped_key_is_not() {
    let mut host = Host::new(&[("net.core.somaxconn", "128")]);
    let state = host.state();
    // The first is a key of the whole host that the built-in profiles know.
    let plan = host.plan("net.core.netdev_max_backlog = 16384\nnet.core.somaxconn = 512\n");
    let left_out: Vec<&str> = plan
        .left_out()
        .map(|row| row.setting.key.as_str())
        .collect();
    assert_eq!(left_out, ["net.core.netdev_max_backlog"]);
    let error = apply(&plan, &mut host.settings, &state, OutOfReach::Stop).expect_err("obstacle");
    assert!(
        error
            .to_string()
            .contains("netdev_max_backlog (line 1) is not on"),
        "{error}"
    );
    assert_eq!(host.value("net.core.somaxconn"), "128");
    apply(&plan, &mut host.settings, &state, OutOfReach::LeaveOut).expect("applied");
    assert_eq!(host.value("net.core.somaxconn"), "512");

    let plan = host.plan("net.core.netdev_max_backlogg = 16384\nnet.core.somaxconn = 513\n");
    apply(&plan, &mut host.settings, &state, OutOfReach::LeaveOut).expect_err("mistyped");
    assert_eq!(host.value("net.core.somaxconn"), "512");
}

#[test]
fn a_persisted_profile_keeps_what_is_better() {
    let host = Host::new(&[
        ("net.core.somaxconn", "70000"),
        ("net.ipv4.tcp_fin_timeout", "60"),
    ]);
    let text = "# why\n#@ better higher\n#@ scope namespace\nnet.core.somaxconn = 65535\n\
                net.ipv4.tcp_fin_timeout = 20\n-no.such = 1\n";
    let path = host.folder.path().join("etc/60-headwater.conf");
    persist(&host.plan(text), &path).expect("written");
    let written = fs::read_to_string(&path).unwrap();
    assert!(
        written.ends_with(
            "# why\nnet.core.somaxconn = 70000\nnet.ipv4.tcp_fin_timeout = 20\n-no.such = 1\n"
        ),
        "{written}"
    );
    persist(&host.plan("net.core.somaxconn = 80000\n"), &path).expect("written over our own");
    assert_eq!(leftovers(path.parent().unwrap()), 1);
    assert!(unpersist(&path).unwrap());
    assert!(!unpersist(&path).unwrap());
}

#[test]
fn a_file_of_another_program_is_left_alone() {
    let host = Host::new(TWO);
    let path = host.folder.path().join("60.conf");
    fs::write(&path, "a.one = 3\n").unwrap();
    let error = persist(&host.plan(TWO_WANTED), &path).expect_err("not ours");
    assert!(
        error.to_string().contains("not written by headwater"),
        "{error}"
    );
    unpersist(&path).expect_err("not ours");
    assert_eq!(fs::read_to_string(&path).unwrap(), "a.one = 3\n");
    let refused = persist(
        &host.plan("net.ipv4.tcp_timestamps = 0\n"),
        &host.folder.path().join("new"),
    );
    assert!(refused.expect_err("refused").to_string().contains("PAWS"));
}

fn leftovers(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn unsafe_values_of_the_host_are_found() {
    let host = Host::new(&[
        ("net.ipv4.tcp_timestamps", "0"),
        ("net.ipv4.tcp_syncookies", "1"),
        ("net.ipv4.tcp_sack", "1"),
    ]);
    let found = unsafe_now(&host.settings);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, "net.ipv4.tcp_timestamps");
}
