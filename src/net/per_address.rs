//! Bounds the connections of each client address.
//!
//! Shared by all shards under a lock, so it is only made when the operator sets the bound. The
//! table has at most as many addresses as there are open connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sys::sync::lock;

/// The bits of an IPv6 address that distinguish one client's network from another's: a single host
/// controls a whole /64 (RFC 4291, section 2.5.4).
const IPV6_NETWORK: u128 = u128::MAX << 64;

/// Counts of open connections by client address: IPv4 each, IPv6 by /64.
#[derive(Debug)]
pub struct PerAddress {
    connections_max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl PerAddress {
    /// Allows each address `connections_max` connections at a time.
    pub fn new(connections_max: usize) -> Arc<PerAddress> {
        Arc::new(PerAddress {
            connections_max,
            counts: Mutex::default(),
        })
    }

    /// Counts a connection for as long as the returned guard lives; `None` when the address has
    /// reached its limit.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admission> {
        let client = client(address);
        let mut counts = self.counts();
        let count = counts.get(&client).copied().unwrap_or(0);
        if count >= self.connections_max {
            return None;
        }
        counts.insert(client, count + 1);
        Some(Admission {
            table: Arc::clone(self),
            client,
        })
    }

    /// The number of addresses that have a connection.
    pub fn addresses(&self) -> usize {
        self.counts().len()
    }

    /// A panic elsewhere can't leave the table inconsistent.
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        lock(&self.counts)
    }
}

fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & IPV6_NETWORK).into(),
        v4 => v4,
    }
}

/// One counted connection; dropping it releases its place.
#[derive(Debug)]
pub struct Admission {
    table: Arc<PerAddress>,
    client: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.table.counts();
        match counts.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_bound_and_gets_places_back() {
        let table = PerAddress::new(2);
        let first = table.admit(ip("10.0.0.1")).unwrap();
        let second = table.admit(ip("10.0.0.1")).unwrap();
        assert!(table.admit(ip("10.0.0.1")).is_none());
        let other = table.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(table.addresses(), 2);
        drop(first);
        let third = table.admit(ip("10.0.0.1")).unwrap();
        assert!(table.admit(ip("10.0.0.1")).is_none());
        drop((second, third, other));
        assert_eq!(table.addresses(), 0);
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let table = PerAddress::new(1);
        let _first = table.admit(ip("2001:db8:0:1::1")).unwrap();
        assert!(table.admit(ip("2001:db8:0:1:ffff::2")).is_none());
        assert!(table.admit(ip("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        let table = PerAddress::new(1);
        let _first = table.admit(ip("::ffff:10.0.0.1")).unwrap();
        assert!(table.admit(ip("10.0.0.1")).is_none());
        assert!(table.admit(ip("::ffff:10.0.0.2")).is_some());
    }

    #[test]
    fn threads_never_exceed_the_bound() {
        let table = PerAddress::new(3);
        let held: Vec<Admission> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).filter_map(|_| table.admit(ip("::1"))).collect()))
                .collect();
            let collect = |worker: std::thread::ScopedJoinHandle<'_, Vec<Admission>>| worker.join();
            workers.into_iter().flat_map(collect).flatten().collect()
        });
        assert_eq!(held.len(), 3);
        drop(held);
        assert_eq!(table.addresses(), 0);
    }
}
