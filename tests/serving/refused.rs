//! A host that does not allow the program an io_uring: it says why, and serves by epoll unless it
//! was told to use io_uring.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{Binary, headwater};

/// Has the system call `io_uring_setup` fail with `errno` in the program that
/// `command` will run, as a container's seccomp profile does (seccomp(2)).
fn forbid_io_uring(command: &mut Command, errno: i32) {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let number = libc::SYS_io_uring_setup as u32;
    let refuse = libc::SECCOMP_RET_ERRNO | errno as u32;
    let filter = [
        // The system call's number is the first field of seccomp_data.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, refuse),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let mut filter = filter;
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: prctl(2) with these operations reads its arguments and the program that the
        // last one points to, which lives across the calls.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ) == 0
        };
        match done {
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the closure only makes system calls; it doesn't allocate,
    // and takes no lock.
    unsafe { command.pre_exec(install) };
}

/// The command that serves a folder, by `driver`, where `io_uring_setup` fails with `errno`.
fn serve_without_io_uring(root: &Path, driver: &str, errno: i32) -> Command {
    let mut command = headwater();
    command.arg("serve").arg(root);
    command.args(["--listen", "127.0.0.1:0", "--admin", "off"]);
    command.args(["--cores", "0", "--driver", driver]);
    command.env_remove("HEADWATER_DRIVER");
    forbid_io_uring(&mut command, errno);
    command
}

/// Starts the program by io_uring where that is forbidden; what it says.
#[track_caller]
fn refused_with(errno: i32) -> String {
    let mut program = Binary::spawn(serve_without_io_uring("/".as_ref(), "io_uring", errno));
    let (code, said) = program.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("headwater: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said.to_owned()
}

#[test]
fn a_seccomp_profile_is_named_with_its_remedy() {
    let said = refused_with(libc::EPERM);
    assert!(
        said.contains("seccomp") && said.contains("io_uring_setup"),
        "{said}"
    );
    assert!(said.contains("--driver epoll"), "{said}");
}

#[test]
fn a_kernel_without_io_uring_is_named() {
    let said = refused_with(libc::ENOSYS);
    assert!(
        said.contains("has no io_uring") && said.contains("6.1"),
        "{said}"
    );
}

#[test]
fn without_io_uring_files_are_served_by_epoll_and_the_banner_says_why() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("small"), "hello").unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(dir.path().join("large"), &large).unwrap();
    for (driver, errno, reason) in [
        ("auto", libc::EPERM, Some("seccomp")),
        ("auto", libc::ENOSYS, Some("has no io_uring")),
        ("epoll", libc::EPERM, None),
    ] {
        let mut program = Binary::spawn(serve_without_io_uring(dir.path(), driver, errno));
        assert!(program.line("cores").contains("one epoll each"));
        let mut client = program.client();
        assert_eq!(client.get("/small").body, b"hello");
        assert!(client.get("/large").body == large);
        drop(client);
        program.signal(Signal::SIGTERM);
        let (code, said) = program.end();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(
            said.contains("warning: using epoll"),
            reason.is_some(),
            "{said}"
        );
        assert!(said.contains(reason.unwrap_or_default()), "{said}");
    }
}
