//! Resolves paths with symbolic links that are absolute, or go through `..` above the root, but
//! lead back into the root.
//!
//! `RESOLVE_BENEATH` of `openat2(2)` refuses every absolute link, and every `..` above the root,
//! with `EXDEV`, even where the link leads back inside. A [`LinkWalk`] then finds the path without
//! links that such a path is equivalent to: it reads the links one by one, and takes a target that begins
//! with the root's own path as relative to the root.
//!
//! docs/decisions/061-absolute-links.md has the reasons.
//!
//! The walk does not control access. Its result is opened beneath the root like every other path,
//! so a link that is replaced during the walk can at worst lead to another file of the root.

use std::collections::VecDeque;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::fstat;

use super::file::is_symlink;
use crate::limits;

/// The paths by which links name a root, in components.
#[derive(Clone, Debug, Default)]
pub(super) struct RootNames {
    /// The root's path without symbolic links; `None` if unknown.
    pub real: Option<Vec<Vec<u8>>>,
    /// The root's absolute path as the operator wrote it, which may itself contain links.
    pub given: Vec<Vec<u8>>,
}

/// The components of an absolute or relative path, without empty ones and `.`.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|component| !matches!(component, [] | [b'.']))
}

/// The next step of a walk, for its caller.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkStep {
    /// Open this path beneath the root with [`open_how_link`](super::open::open_how_link), and pass
    /// the result of [`read_link`] to the walk.
    Look(CString),
    /// The walk is over: open this path beneath the root.
    Open(CString),
}

/// The resolution of one path.
#[derive(Debug)]
pub struct LinkWalk<'a> {
    root: &'a RootNames,
    /// A path below the root with no link in it.
    clean: Vec<u8>,
    /// Where its last component begins that may still be a link, while [`LinkStep::Look`] is open.
    parent_len: usize,
    rest: VecDeque<Vec<u8>>,
    /// Folders above the root that the walk has climbed to.
    above: usize,
    links: usize,
    steps: usize,
}

impl<'a> LinkWalk<'a> {
    pub(super) fn new(root: &'a RootNames, path: &[u8]) -> LinkWalk<'a> {
        LinkWalk {
            root,
            clean: Vec::new(),
            parent_len: 0,
            rest: components(path).map(<[u8]>::to_vec).collect(),
            above: 0,
            links: 0,
            steps: 0,
        }
    }

    /// Continues to the next component that may be a link.
    ///
    /// # Errors
    /// `EXDEV` when the path leads out of the root; `ELOOP` when it has more components than
    /// [`limits::LINK_STEPS_MAX`].
    pub fn step(&mut self) -> io::Result<LinkStep> {
        while let Some(name) = self.rest.pop_front() {
            if name == b".." {
                self.climb()?;
            } else if self.above > 0 {
                self.descend(&name)?;
            } else {
                self.steps += 1;
                if self.steps > limits::LINK_STEPS_MAX {
                    return Err(Errno::ELOOP.into());
                }
                self.parent_len = self.clean.len();
                if !self.clean.is_empty() {
                    self.clean.push(b'/');
                }
                self.clean.extend_from_slice(&name);
                return Ok(LinkStep::Look(CString::new(self.clean.clone())?));
            }
        }
        match self.above {
            0 => Ok(LinkStep::Open(CString::new(self.clean.clone())?)),
            _ => Err(Errno::EXDEV.into()),
        }
    }

    /// Takes what was found at the path of the last [`LinkStep::Look`]: a link's target, or `None`
    /// for any other file.
    ///
    /// # Errors
    /// `EXDEV` when the target is absolute and outside of the root; `ELOOP` after
    /// [`limits::LINKS_FOLLOWED_MAX`] links.
    pub fn found(&mut self, target: Option<Vec<u8>>) -> io::Result<()> {
        let Some(target) = target else {
            return Ok(());
        };
        self.links += 1;
        if self.links > limits::LINKS_FOLLOWED_MAX {
            return Err(Errno::ELOOP.into());
        }
        self.clean.truncate(self.parent_len);
        let mut names: Vec<&[u8]> = components(&target).collect();
        if target.starts_with(b"/") {
            self.clean.clear();
            let root = self.root.real.iter().chain([&self.root.given]);
            let matching = root
                .filter(|root| names.len() >= root.len())
                .find(|root| root.iter().zip(&names).all(|(a, b)| a == b));
            let inside = matching.ok_or(Errno::EXDEV)?;
            names.drain(..inside.len());
        }
        for name in names.into_iter().rev() {
            self.rest.push_front(name.to_vec());
        }
        Ok(())
    }

    /// Handles `..`: the path so far has no links in it, so its last component is removed.
    fn climb(&mut self) -> io::Result<()> {
        if !self.clean.is_empty() {
            let slash = self.clean.iter().rposition(|&byte| byte == b'/');
            self.clean.truncate(slash.unwrap_or(0));
            return Ok(());
        }
        let depth = self.root.real.as_ref().ok_or(Errno::EXDEV)?.len();
        self.above = (self.above + 1).min(depth);
        Ok(())
    }

    /// Handles a component above the root: only the root's own path leads back.
    fn descend(&mut self, name: &[u8]) -> io::Result<()> {
        let own = self.root.real.as_ref().and_then(|real| {
            let at = real.len().checked_sub(self.above)?;
            real.get(at)
        });
        if own.is_none_or(|own| own != name) {
            return Err(Errno::EXDEV.into());
        }
        self.above -= 1;
        Ok(())
    }
}

/// The target of a symbolic link that was opened itself; `None` for anything else.
///
/// # Errors
/// Those of `fstat(2)` and `readlinkat(2)`.
pub fn read_link(fd: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    if !is_symlink(&fstat(fd.as_fd())?) {
        return Ok(None);
    }
    Ok(Some(readlinkat(fd, "").map(OsString::into_vec)?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn names() -> RootNames {
        let of = |path: &[u8]| components(path).map(<[u8]>::to_vec).collect();
        RootNames {
            real: Some(of(b"/srv/releases/42")),
            given: of(b"/srv/current"),
        }
    }

    /// Where `path` leads in a root with these links.
    fn resolve(links: &[(&str, &str)], path: &str) -> Result<String, Errno> {
        let links: HashMap<_, _> = links.iter().copied().collect();
        let names = names();
        let mut walk = LinkWalk::new(&names, path.as_bytes());
        let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        loop {
            match walk.step().map_err(errno)? {
                LinkStep::Open(path) => return Ok(path.into_string().expect("ASCII")),
                LinkStep::Look(path) => {
                    let target = links.get(path.to_str().expect("ASCII"));
                    walk.found(target.map(|target| target.as_bytes().to_vec()))
                        .map_err(errno)?;
                }
            }
        }
    }

    #[test]
    fn targets_inside_the_root_become_relative_to_it() {
        let links = [
            ("v/a", "/srv/releases/42/x/y"),
            ("v/b", "/srv/current/x//./y/"),
            ("v/c", "../../42/x/y"),
            ("v/d", "../x/y"),
            ("v/e", "/srv/current/v/a"),
            ("top", "/srv/releases/42"),
            ("up", "../../../../../srv/releases/42/x"),
        ];
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(
                resolve(&links, &format!("v/{name}")),
                Ok("x/y".into()),
                "{name}"
            );
            let below = format!("v/{name}/z/../w");
            assert_eq!(resolve(&links, &below), Ok("x/y/w".into()), "{name}");
        }
        assert_eq!(resolve(&links, "top"), Ok("".into()));
        assert_eq!(resolve(&links, "top/top/q"), Ok("q".into()));
        assert_eq!(resolve(&links, "up/q"), Ok("x/q".into()));
    }

    #[test]
    fn targets_outside_of_the_root_are_refused() {
        for target in [
            "/etc/passwd",
            "/",
            "/srv/releases/4",
            "/srv/releases/421/x",
            "/srv/releases/x/../42/y",
            "/srv/currently",
            "..",
            "../41/x",
            "../../../../..",
        ] {
            assert_eq!(
                resolve(&[("l", target)], "l"),
                Err(Errno::EXDEV),
                "{target}"
            );
            assert_eq!(
                resolve(&[("l", target)], "l/etc/x"),
                Err(Errno::EXDEV),
                "{target}"
            );
        }
    }

    #[test]
    fn loops_and_endless_paths_end() {
        let links = [
            ("a", "/srv/current/b"),
            ("b", "a"),
            ("c", "/srv/current/c/c"),
        ];
        for path in ["a", "b/x", "c", &"x/".repeat(limits::LINK_STEPS_MAX + 1)] {
            assert_eq!(resolve(&links, path), Err(Errno::ELOOP), "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_opened_is_below_the_root_and_has_no_dots(
            links in prop::collection::vec(("[ab](/[ab]){0,2}", "/?((srv|current|releases|42|\\.\\.|\\.|a|b)/){0,6}[ab]?"), 0..5),
            path in "([ab]/){0,4}[ab]",
        ) {
            let links: Vec<_> = links.iter().map(|(a, b)| (a.as_str(), b.as_str())).filter(|(_, b)| !b.is_empty()).collect();
            if let Ok(found) = resolve(&links, &path) {
                prop_assert!(!found.starts_with('/'), "{found}");
                prop_assert!(found.split('/').all(|name| name != ".." && name != "."), "{found}");
            }
        }
    }
}
