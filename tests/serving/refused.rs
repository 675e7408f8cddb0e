//! A host that does not allow the program an io_uring.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

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

/// Starts the program without io_uring; what it says.
#[track_caller]
fn refused_with(errno: i32) -> String {
    let mut command = headwater();
    command.args(["serve", "/", "--listen", "127.0.0.1:0", "--admin", "off"]);
    forbid_io_uring(&mut command, errno);
    let mut program = Binary::spawn(command);
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
}

#[test]
fn a_kernel_without_io_uring_is_named() {
    let said = refused_with(libc::ENOSYS);
    assert!(
        said.contains("has no io_uring") && said.contains("6.1"),
        "{said}"
    );
}
