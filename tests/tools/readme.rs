//! The commands in the documentation work.
//!
//! In the `sh` blocks of README.md and docs, every `headwater ...` and
//! `cargo run ... -- ...` line must work: `serve` with `--check`, `sysctl` on a folder in place of
//! the host's settings. The `headwater load` lines, and the curl lines of a block under a comment
//! that begins with [`MARK`], are run against a server that serves this repository. Rust blocks
//! are doc tests of the crate.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

const MARK: &str = "<!-- against the server:";
const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).expect("docs is readable");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = docs
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain(
            [
                "README.md",
                "ARCHITECTURE.md",
                "CHANGELOG.md",
                "CONTRIBUTING.md",
                "SECURITY.md",
            ]
            .map(|name| root().join(name)),
        )
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("the page is UTF-8");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The lines of a page's `sh` blocks, with whether the block is marked.
fn shell_lines(page: &str) -> Vec<(bool, &str)> {
    let mut found = Vec::new();
    let (mut block, mut marked) = (None, false);
    for line in page.lines() {
        match (block, line.strip_prefix("```")) {
            (None, Some(language)) => block = Some(language),
            (Some(_), Some(_)) => (block, marked) = (None, false),
            (Some("sh"), None) if !line.trim().is_empty() => found.push((marked, line.trim())),
            (None, None) if !line.trim().is_empty() => marked = line.starts_with(MARK),
            _ => {}
        }
    }
    found
}

/// Splits a line as a shell does that knows words, single quotes and comments.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            '#' if !quoted && word.is_empty() => break,
            c if c.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Names and values.
type Variables = Vec<(String, String)>;

/// The environment and the arguments of a line that runs headwater.
fn headwater_line(line: &str) -> Option<(Variables, Vec<String>)> {
    let mut words = words(line);
    let is_variable = |word: &&String| word.contains('=') && !word.starts_with('-');
    let variables = words.iter().take_while(is_variable).count();
    let variables = words.drain(..variables).collect::<Vec<_>>();
    let variables = variables.iter().filter_map(|word| word.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let skip = match words.first().map(String::as_str) {
        Some("headwater") => 1,
        Some("cargo") if words.get(1).is_some_and(|word| word == "run") => {
            words.iter().position(|word| word == "--")? + 1
        }
        _ => return None,
    };
    Some((variables.collect(), words.split_off(skip)))
}

/// Puts what this host has in place of the folders and CPUs of the examples.
fn localize(arguments: &mut [String], folder: &str) {
    let cpu = headwater::sys::cpu::allowed().expect("affinity")[0];
    for index in 1..arguments.len() {
        let argument = &mut arguments[index];
        match argument.as_str() {
            path if path.starts_with("/srv") => *argument = folder.to_owned(),
            "/etc/headwater/headwater.toml" => *argument = "examples/headwater.toml".to_owned(),
            _ => {}
        }
        if arguments[index - 1] == "--cores" {
            headwater::sys::cpu::parse_list(&arguments[index]).expect("a list of CPUs");
            arguments[index] = cpu.to_string();
        }
    }
}

/// A folder with every setting of every profile, to be changed in the host's place.
fn settings(folder: &str) -> PathBuf {
    use headwater::tuning::sysctl::{BUILT_IN, Machine, Profile};
    let machine = Machine::read("/proc".as_ref()).expect("a host's memory");
    let folder = Path::new(folder).join("settings");
    for (name, _) in BUILT_IN {
        for setting in Profile::load(name, machine).expect(name).settings {
            let path = folder.join(setting.key.path());
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, "1\n").expect("written");
        }
    }
    folder
}

#[test]
fn every_command_line_is_accepted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path().to_str().expect("UTF-8");
    let settings = settings(folder);
    let mut tried = 0;
    for (path, page) in pages() {
        for (_, line) in shell_lines(&page) {
            let Some((variables, mut arguments)) = headwater_line(line) else {
                continue;
            };
            if arguments.first().is_some_and(|command| command == "load") {
                continue;
            }
            localize(&mut arguments, folder);
            let told = |flag: &str| arguments.iter().any(|argument| argument == flag);
            let serves = arguments.first().is_some_and(|command| command == "serve");
            let quiet = told("--check") || told("--print-config");
            let check = (serves && !quiet).then_some("--check");
            let output = Command::new(HEADWATER)
                .args(&arguments)
                .args(check)
                .current_dir(root())
                .env_clear()
                .env("HEADWATER_PROC_SYS", &settings)
                .env("HEADWATER_STATE_DIR", format!("{folder}/state"))
                .env("HEADWATER_SYSCTL_D", format!("{folder}/60-headwater.conf"))
                .envs(variables)
                .output()
                .expect("the binary runs");
            let said = String::from_utf8_lossy(&output.stderr);
            // These two answer by their status, and 1 is one of the answers.
            let answers = told("doctor") || (told("sysctl") && told("check"));
            let good = output.status.success() || (answers && output.status.code() == Some(1));
            assert!(good, "{path:?}: {line}\n{said}");
            tried += 1;
        }
    }
    assert!(tried >= 10, "only {tried} command lines were found");
}

/// `headwater serve` on this repository.
struct Server {
    process: Child,
    address: String,
    admin: String,
    /// Kept open, so that the server can still speak.
    _stderr: BufReader<ChildStderr>,
}

impl Server {
    fn start() -> Server {
        let cpu = headwater::sys::cpu::allowed().expect("affinity")[0].to_string();
        let mut process = Command::new(HEADWATER)
            .args(["serve", ".", "--browse", "--cores", &cpu])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.2:0"])
            .current_dir(root())
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stderr = BufReader::new(process.stderr.take().expect("a pipe"));
        let (mut said, mut found) = (String::new(), [None, None]);
        while found.contains(&None) {
            let start = said.len();
            let count = stderr.read_line(&mut said).expect("UTF-8");
            assert!(count > 0, "the server ended: {said}");
            let mut words = said[start..].split_whitespace();
            match words.next() {
                Some("listening") => found[0] = words.next().map(str::to_owned),
                Some("admin") => found[1] = words.next().map(str::to_owned),
                _ => {}
            }
        }
        let [address, admin] = found.map(Option::unwrap);
        Server {
            process,
            address,
            admin,
            _stderr: stderr,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_curl_examples_work() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("curl is not installed: the pages' curl lines were not tried");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = format!("{}/", folder.path().display());
    let server = Server::start();
    let mut tried = 0;
    for (path, page) in pages() {
        for (_, line) in shell_lines(&page).into_iter().filter(|(marked, _)| *marked) {
            let here = line
                .replace("localhost:8080", &server.address)
                .replace("localhost:9180", &server.admin)
                .replace("/tmp/", &folder);
            let words = words(&here);
            assert_eq!(
                words[0], "curl",
                "{path:?}: only curl lines are run: {line}"
            );
            let output = Command::new("curl")
                .args(["--fail", "--silent", "--show-error", "--max-time", "20"])
                .args(["--noproxy", "*"])
                .args(&words[1..])
                .output()
                .expect("curl runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{path:?}: {line}\n{said}");
            let written = words.iter().any(|word| word == "--output");
            assert!(written || !output.stdout.is_empty(), "{line}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "only {tried} curl lines were found");
}

#[test]
fn the_load_examples_work() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start();
    // The files that the examples name.
    let urls = "/README.md 3\n/docs/load.md\n";
    let line = "::1 - - [01/Jan/2026:00:00:00 +0000] \"GET /README.md HTTP/1.1\" 200 5\n";
    fs::write(folder.path().join("urls.txt"), urls).expect("written");
    fs::write(folder.path().join("access.log"), line.repeat(20)).expect("written");
    let mut tried = 0;
    for (path, page) in pages() {
        for (_, line) in shell_lines(&page) {
            let Some((variables, mut arguments)) = headwater_line(line) else {
                continue;
            };
            if arguments.first().is_none_or(|command| command != "load") {
                continue;
            }
            localize(&mut arguments, "");
            for argument in &mut arguments {
                *argument = argument.replace("localhost:8080", &server.address);
            }
            let output = Command::new(HEADWATER)
                .args(&arguments)
                // A few requests say as much as thirty seconds of them.
                .args(["--requests", "20"])
                .current_dir(&folder)
                .env_clear()
                .envs(variables)
                .output()
                .expect("the binary runs");
            let said = String::from_utf8_lossy(&output.stdout);
            // On a crowded machine the generator may be late, and says so.
            let status = output.status.code();
            assert!(
                matches!(status, Some(0 | 4 | 5)),
                "{path:?}: {line}\n{said}"
            );
            assert!(said.contains("2xx 20"), "{path:?}: {line}\n{said}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "only {tried} load lines were found");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = pages();
    for (path, page) in &pages {
        for target in page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
        {
            let target = target.0;
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().expect("a folder").join(file),
            };
            let file = file.canonicalize();
            let file = file.unwrap_or_else(|e| panic!("{path:?}: ]({target}): {e}"));
            let linked = pages.iter().find(|(path, _)| path.ends_with(&file));
            if anchor.is_empty() {
                continue;
            }
            let (_, text) = linked.unwrap_or_else(|| panic!("{path:?}: {target} is no page"));
            let headings = text.lines().filter(|line| line.starts_with('#'));
            let found = headings.map(heading_anchor).any(|found| found == anchor);
            assert!(found, "{path:?}: ]({target}): no such heading");
        }
    }
}

/// A heading's anchor as GitHub makes it.
fn heading_anchor(line: &str) -> String {
    let text = line.trim_start_matches('#').trim().to_lowercase();
    text.replace(' ', "-")
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

#[test]
fn blocks_and_words_are_told_apart() {
    let page = format!(
        "```text\nheadwater no\n```\n\n{MARK} x -->\n```sh\ncurl a\n\n```\n```sh\nheadwater b # c\n```\n"
    );
    let lines = shell_lines(&page);
    assert_eq!(lines, [(true, "curl a"), (false, "headwater b # c")]);
    assert_eq!(
        words("A=b c 'd # e'  f#g # h"),
        ["A=b", "c", "d # e", "f#g"]
    );
    let (variables, arguments) = headwater_line("A=b headwater serve --x=y").expect("a command");
    assert_eq!(variables, [("A".to_owned(), "b".to_owned())]);
    assert_eq!(arguments, ["serve", "--x=y"]);
    assert_eq!(headwater_line("cargo test"), None);
}
