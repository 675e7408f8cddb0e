//! Too few local ports, in a separate network namespace.
//!
//! Needs permission to create one, and `ip` (iproute2). Without them the test is skipped, and says
//! so, unless `HEADWATER_NAMESPACES=required` (scripts/namespaces.sh).

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::server::{OK, Server};
use crate::{run, sentence, summary};

/// Runs something in a new namespace with a loopback device, unless that can't be made.
fn within(run: impl FnOnce() + Send) {
    let entered = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let loopback_up = || {
                let status = Command::new("ip")
                    .args(["link", "set", "lo", "up"])
                    .status();
                status.is_ok_and(|status| status.success())
            };
            let entered = unshare(CloneFlags::CLONE_NEWNET).is_ok() && loopback_up();
            if entered {
                run();
            }
            entered
        });
        thread.join().expect("no panic")
    });
    let required = std::env::var_os("HEADWATER_NAMESPACES").is_some();
    assert!(entered || !required, "no network namespace can be made");
    if !entered {
        // Past the test's capture, so that it is seen.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no right to make network namespaces, or no iproute2; see scripts/namespaces.sh"
        );
    }
}

#[test]
fn too_few_ports_before_and_in_the_middle_of_a_load() {
    within(|| {
        // It leaves the closing to its clients, whose ports then stay in TIME_WAIT.
        let server = Server::answering(OK);
        let url = server.url();
        // These are the namespace's own.
        for (name, value) in [
            ("ip_local_port_range", "40000 40015"),
            ("tcp_tw_reuse", "0"),
        ] {
            fs::write(format!("/proc/sys/net/ipv4/{name}"), value).expect("written");
        }
        let said = sentence(&run(&[&url, "-c", "17"]), 1);
        assert!(
            said.contains("net.ipv4.ip_local_port_range has 40000 to 40015"),
            "{said}"
        );
        assert!(
            said.contains("sysctl net.ipv4.ip_local_port_range="),
            "{said}"
        );

        let (code, got) = summary(&[&url, "-c", "2", "-n", "40", "--connection-per-request"]);
        assert!((1..=16).contains(&got.requests), "{}", got.requests);
        assert_eq!((code, got.errors["no_ports"]), (3, 40 - got.requests));
        assert_eq!(got.errors_total, got.errors["no_ports"], "{:?}", got.errors);
        let advice =
            "no local port was left for more connections: widen net.ipv4.ip_local_port_range";
        let notes = &got.notes;
        assert!(
            notes.iter().any(|note| note.starts_with(advice)),
            "{notes:?}"
        );

        // And when there is none from the beginning: the one before holds all for a minute.
        let said = sentence(&run(&[&url, "-c", "1"]), 1);
        assert!(
            said.contains("widen net.ipv4.ip_local_port_range"),
            "{said}"
        );
    });
}
