//! Offloads: work that the network card, or a late step of the kernel's network stack, can take
//! over; and BIG TCP.

use super::{Finding, Host, Nic, Severity};

const AREA: &str = "offload";
/// The largest packet that TCP hands to the device without BIG TCP.
const GSO_BYTES: u32 = 65_536;
/// The speed, in Mbit/s, from which packets of 64 KiB are so many that BIG TCP helps.
const FAST_MBIT_S: u64 = 25_000;

pub(super) fn check(host: &Host) -> Vec<Finding> {
    host.nics.iter().flat_map(|nic| card(host, nic)).collect()
}

fn card(host: &Host, nic: &Nic) -> Vec<Finding> {
    let name = &nic.name;
    let mut found = Vec::new();
    let off: Vec<&str> = nic
        .switches
        .iter()
        .filter(|(_, on)| !on)
        .map(|(flag, _)| *flag)
        .collect();
    if nic.switches.is_empty() {
        found.push(Finding::new(
            Severity::Note,
            AREA,
            format!("{name}: its offloads could not be read"),
        ));
    } else if off.is_empty() {
        let on: Vec<&str> = nic.switches.iter().map(|(flag, _)| *flag).collect();
        found.push(Finding::fine(AREA, format!("{name}: {} on", on.join(", "))));
    } else {
        let switches: Vec<String> = off.iter().map(|flag| format!("{flag} on")).collect();
        found.push(
            Finding::new(Severity::Warning, AREA, format!("{name}: {} off", off.join(", ")))
                .cost("the CPU splits, merges or checksums each packet of 1.5 KB: a large file costs several times as much")
                .fix(format!("ethtool -K {name} {}, where the driver can", switches.join(" "))),
        );
    }
    let speed = host.number(&format!("/sys/class/net/{name}/speed"));
    match (nic.gso_max_bytes, nic.tso_max_bytes) {
        (Some(gso), _) if gso > GSO_BYTES => {
            found.push(Finding::fine(
                AREA,
                format!("{name}: BIG TCP, up to {gso} bytes at once"),
            ));
        }
        (Some(_), Some(can))
            if can > GSO_BYTES && speed.is_some_and(|speed| speed >= FAST_MBIT_S) =>
        {
            found.push(
                Finding::new(
                    Severity::Note,
                    AREA,
                    format!("{name}: BIG TCP is off, and the card supports it"),
                )
                .cost("some percent of the CPU for large transfers at this speed")
                .fix(format!(
                    "ip link set dev {name} gso_max_size 185000 gro_max_size 185000 \
                         gso_ipv4_max_size 185000 gro_ipv4_max_size 185000"
                )),
            );
        }
        _ => {}
    }
    found
}
