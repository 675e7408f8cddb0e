//! The command line as a user runs it: the built binary, its output and exit status.

use std::path::Path;
use std::process::{Command, Output};

/// A `headwater` with an environment of its own.
fn headwater(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(args).env_clear();
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the binary runs")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

/// The one sentence of a failure with exit status `status`.
#[track_caller]
fn sentence(output: &Output, status: i32) -> &str {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert_eq!(stdout(output), "");
    let sentence = text.strip_prefix("headwater: ").expect("our own sentence");
    let sentence = sentence.strip_suffix('\n').expect("a whole line");
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("site.toml");
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn help_is_grouped_and_shows_examples() {
    let output = run(&mut headwater(&["serve", "--help"]));
    assert!(output.status.success());
    let help = stdout(&output);
    let headings = [
        "Arguments:",
        "Options:",
        "Listening:",
        "Files:",
        "Limits:",
        "Keepalive:",
        "Timeouts:",
        "Cache:",
        "EXAMPLES:",
    ];
    let places: Vec<_> = headings
        .iter()
        .map(|heading| help.find(&format!("\n{heading}\n")).expect(heading))
        .collect();
    assert!(places.is_sorted(), "{help}");
    for flag in [
        "--listen <ADDR>",
        "--cores <LIST>",
        "--browse",
        "--idle-timeout <TIME>",
        "--max-head-bytes <SIZE>",
    ] {
        assert!(help.contains(flag), "{flag}: {help}");
    }
    assert!(
        help.contains("[default: 75s]") && help.contains("[default: 16KiB]"),
        "{help}"
    );
}

#[test]
fn help_fits_the_terminal() {
    for (columns, widest) in [("80", 80), ("120", 100)] {
        let output = run(headwater(&["serve", "--help"]).env("COLUMNS", columns));
        let help = stdout(&output);
        for line in help.lines() {
            assert!(line.chars().count() <= widest, "{columns}: {line}");
        }
    }
}

#[test]
fn a_folder_in_place_of_a_command_is_meant_to_be_served() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("my site")).expect("a folder");
    for (given, meant) in [
        (".", "."),
        ("my site", "\"my site\""),
        ("/srv/videos", "/srv/videos"),
    ] {
        let output = run(headwater(&[given]).current_dir(folder.path()));
        let expected = format!("{meant} is no command; did you mean: headwater serve {meant}");
        assert_eq!(sentence(&output, 2), expected);
    }
    // A mistyped command is clap's to explain.
    let output = run(headwater(&["serv"]).current_dir(folder.path()));
    assert!(stderr(&output).contains("'serve'"), "{}", stderr(&output));
}

#[test]
fn a_port_is_short_for_an_address() {
    for args in [
        &["--port", "3000"][..],
        &["-p", "3000"],
        &["-p3000"],
        &["--port=3000"],
    ] {
        let args = [&["serve", "--print-config"], args].concat();
        let output = run(headwater(&args)
            .env("HEADWATER_LISTEN", ":1")
            .env("PORT", "2"));
        let text = stdout(&output);
        assert!(text.contains("listen = [\":3000\"]  # --port\n"), "{text}");
    }
    let both = run(&mut headwater(&["serve", "-p", "1", "--listen", ":2"]));
    assert_eq!(both.status.code(), Some(2));
    let text = stderr(&both);
    assert!(
        text.contains("'--port <PORT>' cannot be used with '--listen <ADDR>'"),
        "{text}"
    );
    for (args, words) in [
        (
            ["serve", "--port", "x"],
            "invalid value 'x' for '--port <PORT>'",
        ),
        (["serve", "--port", "70000"], "invalid value '70000'"),
        (["serve", "--prot", "80"], "'--port'"),
    ] {
        let output = run(&mut headwater(&args));
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

/// Flags that are refused, and how the sentence begins that says why.
const RULES_REFUSED: &[([&str; 2], &str)] = &[
    (
        ["--header", "Date: x"],
        "--header: Date belongs to the protocol",
    ),
    (
        ["--header", "X-A: a\u{1}b"],
        "--header: the value of X-A has a line break or another control character",
    ),
    (
        ["--header", "X A: b"],
        "--header: \"X A\" is no header name",
    ),
    (
        ["--header", "Content-Type: b"],
        "--header: Content-Type follows from the file's name; set it in [types]",
    ),
    (
        ["--header", "no colon"],
        "--header: \"no colon\" cannot be used; write 'NAME: VALUE'",
    ),
    (
        ["--preset", "hsl"],
        "--preset: there is no preset \"hsl\"; choose from hls,",
    ),
    (
        ["--cors", "example.org"],
        "--cors: \"example.org\" is no origin",
    ),
    (
        ["--fallback", "index.html"],
        "--fallback: \"index.html\" is no file beneath the root",
    ),
    (
        ["--error-page", "404=x"],
        "--error-page: \"x\" is no file beneath the root",
    ),
    (
        ["--error-page", "200=/x"],
        "--error-page: \"200\" is no error's status",
    ),
];

#[test]
fn rules_that_cannot_be_used_are_named_with_their_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "[server]\ncors = [\"https://a.example\", \"b.example\"]\n";
    let file = write(folder.path(), text);
    let config = ["serve", "--check", "--config", &file];
    assert_eq!(
        sentence(&run(&mut headwater(&config)), 1),
        format!(
            "{file}:2:8: \"b.example\" is no origin; write scheme and host, and the port if there is \
             one, such as https://player.example or http://localhost:3000, or * for all"
        )
    );
    let text = "[[headers]]\nset.X-A = \"1\"\n\n[[headers]]\nset.Content-Length = \"1\"\n";
    let file = write(folder.path(), text);
    let config = ["serve", "--check", "--config", &file];
    let output = run(&mut headwater(&config));
    let sentence_of_file = sentence(&output, 1);
    assert!(
        sentence_of_file.starts_with(&format!("{file}:4:"))
            && sentence_of_file.ends_with(
                "Content-Length belongs to the protocol and is written by the server; leave it out"
            ),
        "{sentence_of_file}"
    );
    for (args, words) in RULES_REFUSED {
        let args = [&["serve", "--check"], &args[..]].concat();
        let output = run(&mut headwater(&args));
        let said = sentence(&output, 2);
        assert!(said.starts_with(words), "{said}");
    }
}

#[test]
fn without_a_command_there_is_help_and_status_2() {
    let output = run(&mut headwater(&[]));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage: headwater <COMMAND>"));
}

#[test]
fn the_version_is_the_crates() {
    let output = run(&mut headwater(&["--version"]));
    assert!(output.status.success());
    assert_eq!(
        stdout(&output),
        concat!("headwater ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_mistyped_command_line_is_status_2() {
    let unknown = run(&mut headwater(&["serve", "--idle-timeot", "5s"]));
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        stderr(&unknown).contains("'--idle-timeout'"),
        "{}",
        stderr(&unknown)
    );
    let no_unit = run(&mut headwater(&["serve", "--idle-timeout", "5"]));
    assert_eq!(
        sentence(&no_unit, 2),
        "--idle-timeout: \"5\" has no unit; write 5s for seconds or 5ms"
    );
    let twice = run(&mut headwater(&["serve", "--cores", "0", "--cores", "1"]));
    assert_eq!(twice.status.code(), Some(2));
    let no_port = run(&mut headwater(&["serve", "--listen", "127.0.0.1"]));
    assert!(sentence(&no_port, 2).starts_with("--listen: cannot listen on \"127.0.0.1\""));
    let no_cpu = run(&mut headwater(&["serve", "--check", "--cores", "x"]));
    assert!(sentence(&no_cpu, 2).starts_with("--cores: cannot read the CPU list \"x\""));
    let out_of_range = run(&mut headwater(&["serve", "--max-headers=0"]));
    assert_eq!(
        sentence(&out_of_range, 2),
        "--max-headers: 0 is out of range; choose from 1 to 1000"
    );
}

#[test]
fn a_bad_file_is_status_1_and_names_the_place_and_the_nearest_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(
        folder.path(),
        "[server]\nbrowse = true\nlisen = [\":80\"]\n",
    );
    let expected =
        format!("{file}:3:1: unknown key \"lisen\" in [server]; did you mean \"listen\"?");
    for args in [
        &["serve", "--config", &file, "--check"][..],
        &["serve", "--config", &file][..],
    ] {
        assert_eq!(sentence(&run(&mut headwater(args)), 1), expected);
    }
    let by_env = run(headwater(&["serve", "--check"]).env("HEADWATER_CONFIG", &file));
    assert_eq!(sentence(&by_env, 1), expected);
    let missing = run(&mut headwater(&["serve", "--config", "/nope.toml"]));
    assert!(
        sentence(&missing, 1)
            .starts_with("--config: cannot read the configuration file \"/nope.toml\"")
    );
}

#[test]
fn the_printed_configuration_shows_who_won() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(
        folder.path(),
        "[timeouts]\nidle_ms = 1000\nbody_ms = 1000\nheader_ms = 1000\n[server]\nbrowse = true\nlisten = \":81\"\n",
    );
    let output = run(
        headwater(&["serve", "/srv", "--config", &file, "--print-config"])
            .args(["--idle-timeout", "3s", "--browse=false"])
            .env("HEADWATER_IDLE_TIMEOUT", "2s")
            .env("HEADWATER_BODY_TIMEOUT", "2s")
            .env("PORT", "82"),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let printed = stdout(&output);
    for line in [
        "root = \"/srv\"  # DIR".to_owned(),
        "listen = [\":82\"]  # PORT".to_owned(),
        "browse = false  # --browse".to_owned(),
        "idle_ms = 3000  # --idle-timeout".to_owned(),
        "body_ms = 2000  # HEADWATER_BODY_TIMEOUT".to_owned(),
        format!("header_ms = 1000  # {file}:4:13"),
        "drain_ms = 30000".to_owned(),
    ] {
        assert!(
            printed.lines().any(|found| found == line),
            "{line}\n{printed}"
        );
    }
    let again = write(folder.path(), printed);
    let output = run(&mut headwater(&[
        "serve",
        "--config",
        &again,
        "--print-config",
    ]));
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split("  #").next().unwrap_or("").to_owned())
            .collect()
    };
    assert_eq!(values(stdout(&output)), values(printed));
}

#[test]
fn check_looks_at_the_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("UTF-8");
    let cpu = headwater::sys::cpu::allowed().expect("affinity")[0].to_string();
    let good = run(&mut headwater(&[
        "serve", path, "--listen", ":81", "--cores", &cpu, "--check",
    ]));
    assert!(good.status.success());
    assert_eq!(
        stdout(&good),
        format!("headwater: the configuration is good: \"{path}\" on :81, CPUs {cpu}\n")
    );
    let missing = folder.path().join("none");
    let missing = missing.to_str().expect("UTF-8");
    let bad = run(&mut headwater(&["serve", missing, "--check"]));
    assert!(sentence(&bad, 1).starts_with(&format!(
        "DIR: cannot serve the folder \"{missing}\": No such file"
    )));
}

#[test]
fn the_example_is_good() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/headwater.toml");
    let output = run(&mut headwater(&["serve", "--config", example, "--check"]));
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn keepalive_explain_tells_when_a_peer_is_noticed_and_where_values_are_from() {
    let output = run(&mut headwater(&["keepalive", "explain"]));
    let text = stdout(&output);
    for line in [
        "Keepalive of *:8080, preset default: the open internet, every kind of client",
        "    after 75 s     HTTP idle time-out: idle time-out",
        "    after 780 s    TCP keepalive: idle 600 s + interval 60 s x 3 probes",
        "Probes of 100000 living, silent connections: 333.3 packets/s, 17333 bytes/s (a probe and its answer every 600 s each)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("warning"), "{text}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(
        folder.path(),
        "[server]\nlisten = [\":1\", \":2 keepalive=lan\"]\n[keepalive]\nidle_s = \"10s\"\n",
    );
    let output = run(headwater(&["keepalive", "explain", "--config", &file])
        .args(["--keepalive-interval", "50s"])
        .env("HEADWATER_USER_TIMEOUT", "30s"));
    let text = stdout(&output);
    for words in [
        format!("idle              10 s   set by {file}:4:10"),
        "interval          50 s   set by --keepalive-interval".to_owned(),
        "user time-out     30 s   set by HEADWATER_USER_TIMEOUT".to_owned(),
        "Keepalive of *:2, preset default".to_owned(),
        "idle              60 s   set after the address".to_owned(),
        "warning: the user time-out of 30 s overrides".to_owned(),
        "warning: the probes need 160 s".to_owned(),
    ] {
        assert!(text.contains(&words), "{words}\n{text}");
    }
    let wrong = run(&mut headwater(&[
        "keepalive",
        "explain",
        "--preset",
        "lann",
    ]));
    assert_eq!(
        sentence(&wrong, 2),
        "--keepalive: \"lann\" cannot be used; write default, mobile, lan, live or off"
    );
}

#[test]
fn keepalive_explain_has_a_form_for_programs() {
    let output = run(&mut headwater(&[
        "keepalive",
        "explain",
        "--preset",
        "live",
        "--connections",
        "300",
        "--json",
    ]));
    let value: serde_json::Value = serde_json::from_str(stdout(&output)).expect("JSON");
    let policy = &value["policies"][0];
    assert_eq!(policy["idle_s"], 30);
    assert_eq!(policy["http_idle_ms"], 30_000);
    assert_eq!(policy["noticed"][3]["situation"], "answer pending");
    assert_eq!(policy["noticed"][3]["after_ms"], 60_000);
    assert_eq!(policy["cost"]["packets_per_s"], 20.0);
    assert!(value["kernel"]["tcp_retries2"].is_u64());
}

#[test]
fn keepalive_show_reads_the_connections_of_a_process() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let client = std::net::TcpStream::connect(address).expect("a connection");
    let (server, _) = listener.accept().expect("a connection");
    let policy = headwater::keepalive::Preset::Lan.policy();
    headwater::keepalive::options::set(std::os::fd::AsFd::as_fd(&server), &policy).expect("set");
    for by in [
        &["--listen", &address.to_string()][..],
        &[&std::process::id().to_string()],
    ] {
        let mut command = headwater(&["keepalive", "show", "--json", "--limit", "0"]);
        let output = run(command.args(by));
        let value: serde_json::Value = serde_json::from_str(stdout(&output)).expect("JSON");
        let connections = value["processes"][0]["connections"]
            .as_array()
            .expect("a list");
        let peer = client.local_addr().expect("an address").to_string();
        let found = connections
            .iter()
            .find(|connection| connection["peer"] == peer);
        let found = found.unwrap_or_else(|| panic!("{value}"));
        assert_eq!(
            (&found["state"], &found["timer"]),
            (&"established".into(), &"keepalive".into())
        );
        assert!(
            found["timer_due_ms"]
                .as_u64()
                .is_some_and(|due| due <= 60_000)
        );
        // The options are there, or it is said what right is missing.
        match found["options"]["idle_s"].as_u64() {
            Some(idle_s) => assert_eq!(idle_s, 60),
            None => assert!(value["processes"][0]["missing"].is_string(), "{value}"),
        }
    }
    let output = run(&mut headwater(&[
        "keepalive",
        "show",
        "--listen",
        &address.to_string(),
    ]));
    assert!(
        stdout(&output).contains("established"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn keepalive_show_says_why_there_is_nothing_to_see() {
    let none = run(&mut headwater(&["keepalive", "show", "4194305"]));
    assert!(sentence(&none, 1).starts_with("there is no process 4194305"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let free = free.expect("an address").to_string();
    let nobody = run(&mut headwater(&["keepalive", "show", "--listen", &free]));
    assert!(sentence(&nobody, 1).starts_with(&format!("no process listens on {free}")));
    let unix = run(&mut headwater(&[
        "keepalive",
        "show",
        "--listen",
        "unix:/x",
    ]));
    assert!(sentence(&unix, 2).starts_with("a Unix socket has no keepalive"));
    assert_eq!(
        run(&mut headwater(&["keepalive", "show"])).status.code(),
        Some(2)
    );
}
