//! The facts about a host that the checks use.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::runtime::{Feature, RingError, features};
use crate::sys::ethtool::{self, Channels, Switch};
use crate::sys::link;

/// The server for which the host is examined, from the command line.
#[derive(Clone, Debug)]
pub struct Asked {
    /// CPUs that the server would use, one shard each.
    pub cpus: Vec<usize>,
    /// Backlog that the listeners would request.
    pub backlog: u32,
    /// Most connections that the server would accept.
    pub connections: u64,
    /// Profile with which the settings are compared.
    pub profile: String,
}

/// The facts of a network card that only a system call reports. `None`: it could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// Name of the interface, such as `eth0`.
    pub name: String,
    /// Queues in use and possible (`ethtool -l`).
    pub channels: Option<Channels>,
    /// The offload features that could be read, by their names for `ethtool -K`.
    pub switches: Vec<(&'static str, bool)>,
    /// The packet scheduler at its root, such as `fq` (`IFLA_QDISC`).
    pub qdisc: Option<String>,
    /// The largest packet that TCP over IPv6 hands down, in bytes (`IFLA_GSO_MAX_SIZE`).
    pub gso_max_bytes: Option<u32>,
    /// The largest packet to which received ones are merged, in bytes (`IFLA_GRO_MAX_SIZE`).
    pub gro_max_bytes: Option<u32>,
    /// The largest packet that the card itself splits, in bytes (`IFLA_TSO_MAX_SIZE`).
    pub tso_max_bytes: Option<u32>,
}

/// A host to be examined.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    /// The server that the host is examined for.
    pub asked: Asked,
    /// The ring's features, or why there is no ring; `None`: not tried.
    pub ring: Option<Result<Vec<Feature>, String>>,
    /// The network cards, as the kernel reports them.
    pub nics: Vec<Nic>,
}

impl Host {
    /// A host that is described only by a tree with `proc` and `sys` in it.
    pub fn tree(root: impl Into<PathBuf>, asked: Asked) -> Self {
        Self {
            root: root.into(),
            asked,
            ring: None,
            nics: Vec::new(),
        }
    }

    /// This host: builds a ring to try it and asks the kernel about the network cards.
    pub fn here(asked: Asked) -> Self {
        let mut host = Self::tree("/", asked);
        host.ring = Some(features().map_err(|error: RingError| error.to_string()));
        let links = link::all().unwrap_or_default();
        for name in host.cards() {
            let link = links.iter().find(|link| link.name == name);
            let link = link.cloned().unwrap_or_default();
            host.nics.push(Nic {
                channels: ethtool::channels(&name).ok(),
                switches: SWITCHES
                    .iter()
                    .filter_map(|(flag, switch)| {
                        Some((*flag, ethtool::switch(&name, *switch).ok()?))
                    })
                    .collect(),
                name,
                qdisc: link.qdisc,
                gso_max_bytes: link.gso_max_bytes,
                gro_max_bytes: link.gro_max_bytes,
                tso_max_bytes: link.tso_max_bytes,
            });
        }
        host
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text without leading and trailing white space.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        Some(fs::read_to_string(self.path(path)).ok()?.trim().to_owned())
    }

    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The names in a folder, sorted; none if there is no such folder.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten();
        let names: BTreeSet<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.into_iter().collect()
    }

    /// Network interfaces that have a device, real or of a virtual machine.
    pub(super) fn cards(&self) -> Vec<String> {
        let mut names = self.names("/sys/class/net");
        names.retain(|name| self.path(&format!("/sys/class/net/{name}/device")).exists());
        names
    }

    /// The last component of the target of a link in `/sys`.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        let target = fs::canonicalize(self.path(path)).ok()?;
        Some(
            Path::new(&target)
                .file_name()?
                .to_string_lossy()
                .into_owned(),
        )
    }
}

const SWITCHES: [(&str, Switch); 5] = [
    ("tso", Switch::SegmentationOffload),
    ("gso", Switch::GenericSegmentation),
    ("gro", Switch::GenericReceive),
    ("sg", Switch::ScatterGather),
    ("tx", Switch::Checksums),
];

/// The CPUs of a mask as `/sys` and `/proc/irq` write it: `ff` or `00000000,000000ff`.
pub(super) fn cpus_of_mask(mask: &str) -> BTreeSet<usize> {
    let mut cpus = BTreeSet::new();
    let digits = mask.trim().bytes().rev().filter(|&b| b != b',');
    for (index, digit) in digits.enumerate() {
        let value = (digit as char).to_digit(16).unwrap_or(0) as usize;
        cpus.extend(
            (0..4)
                .filter(|bit| value >> bit & 1 == 1)
                .map(|bit| index * 4 + bit),
        );
    }
    cpus
}

/// The mask of some CPUs, as `/sys` takes it: groups of 32 from the highest.
pub(super) fn mask_of(cpus: &[usize]) -> String {
    let groups = cpus.iter().max().map_or(1, |highest| highest / 32 + 1);
    let group = |index: usize| -> u32 {
        let of_group = cpus.iter().filter(|&&cpu| cpu / 32 == index);
        of_group.fold(0, |mask, cpu| mask | 1 << (cpu % 32))
    };
    let mut text = format!("{:x}", group(groups - 1));
    for index in (0..groups - 1).rev() {
        text += &format!(",{:08x}", group(index));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_and_written() {
        assert_eq!(cpus_of_mask("3"), BTreeSet::from([0, 1]));
        assert_eq!(cpus_of_mask("00000000,00000000"), BTreeSet::new());
        assert_eq!(cpus_of_mask("1,00000002"), BTreeSet::from([1, 32]));
        assert_eq!(mask_of(&[0, 1]), "3");
        assert_eq!(mask_of(&[1, 32]), "1,00000002");
        assert_eq!(mask_of(&[]), "0");
    }
}
