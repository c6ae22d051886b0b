//! Chooses subnets and addresses. Pure.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{AddressPool, Error, SubnetUse};

/// How many released addresses rest before the oldest is given again. A neighbour's caches and a
/// client's old connections then find nobody instead of somebody else.
const RESTING_MAX: usize = 16;

/// Docker's list: what users' firewalls and VPNs already reckon with.
const DOCKER_POOLS: [([u8; 4], u8, u8); 7] = [
    ([172, 17, 0, 0], 16, 16),
    ([172, 18, 0, 0], 16, 16),
    ([172, 19, 0, 0], 16, 16),
    ([172, 20, 0, 0], 14, 16),
    ([172, 24, 0, 0], 14, 16),
    ([172, 28, 0, 0], 14, 16),
    ([192, 168, 0, 0], 16, 20),
];

/// The pools to use when none are configured.
pub fn default_pools() -> Vec<AddressPool> {
    DOCKER_POOLS
        .iter()
        .map(|(base, length, size)| AddressPool {
            base: Ipv4Net::new_assert((*base).into(), *length).into(),
            size: *size,
        })
        .collect()
}

/// The first subnet of the pools that overlaps nothing in `taken`.
pub fn choose_subnet(pools: &[AddressPool], ipv6: bool, taken: &[IpNet]) -> Option<IpNet> {
    let pools = pools.iter();
    let mut pools = pools.filter(|pool| pool.base.addr().is_ipv6() == ipv6);
    pools.find_map(|pool| first_free(pool, taken))
}

/// Goes from one taken range to the next, however many subnets fit between: a pool of IPv6 may have
/// more of them than can be looked at.
fn first_free(pool: &AddressPool, taken: &[IpNet]) -> Option<IpNet> {
    let ipv6 = pool.base.addr().is_ipv6();
    let size = u32::from(pool.base.max_prefix_len().checked_sub(pool.size)?);
    if pool.size < pool.base.prefix_len() {
        return None;
    }
    let last = number(pool.base.broadcast());
    let mut start = number(pool.base.network());
    while start <= last {
        let subnet = IpNet::new_assert(address(start, ipv6), pool.size);
        let Some(other) = taken.iter().find(|other| overlaps(subnet, **other)) else {
            return Some(subnet);
        };
        let passed = number(subnet.broadcast()).max(number(other.broadcast()));
        // The next multiple of the size.
        let next = passed.checked_shr(size).unwrap_or(0).checked_add(1)?;
        start = next.checked_mul(1_u128.checked_shl(size)?)?;
    }
    None
}

/// Whether two ranges share an address.
pub fn overlaps(a: IpNet, b: IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// A private IPv6 subnet of a network's own, made from its id (RFC 4193).
pub fn private_ipv6(seed: [u8; 7]) -> Ipv6Net {
    let [a, b, c, d, e, f, g] = seed;
    let octets = [0xfd, a, b, c, d, e, f, g, 0, 0, 0, 0, 0, 0, 0, 0];
    Ipv6Net::new_assert(octets.into(), 64)
}

/// The addresses of one subnet.
#[derive(Debug, Clone)]
pub struct Addresses {
    subnet: IpNet,
    range: IpNet,
    used: BTreeSet<IpAddr>,
    /// No address of the range below is free, unless it rests: the search for one begins here.
    first_free: u128,
    resting: VecDeque<IpAddr>,
}

impl Addresses {
    /// All free but the subnet's own and its broadcast address.
    pub fn new(subnet: IpNet, range: Option<IpNet>) -> Self {
        let range = range.unwrap_or(subnet);
        Self {
            subnet,
            range,
            used: BTreeSet::new(),
            first_free: number(range.network()),
            resting: VecDeque::new(),
        }
    }

    /// The range.
    pub fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// How full it is, as far as 64 bits can say.
    pub fn usage(&self) -> SubnetUse {
        let count = |range: IpNet| {
            let length = u32::from(range.max_prefix_len() - range.prefix_len());
            1_u128.checked_shl(length).unwrap_or(u128::MAX)
        };
        let special = [self.subnet.network(), self.subnet.broadcast()];
        let mut taken: BTreeSet<_> = special
            .into_iter()
            .filter(|a| self.is_special(*a))
            .collect();
        taken.extend(&self.used);
        let within = taken
            .iter()
            .filter(|taken| self.range.contains(*taken))
            .count();
        let short = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        SubnetUse {
            subnet: self.subnet,
            in_use: taken.len() as u64,
            available: short(count(self.range).saturating_sub(within as u128)),
        }
    }

    /// Takes a certain address.
    pub fn take(&mut self, address: IpAddr) -> Result<(), Error> {
        if !self.subnet.contains(&address) || self.is_special(address) {
            return Err(Error::AddressOutside(address));
        }
        if !self.used.insert(address) {
            return Err(Error::AddressTaken(address));
        }
        self.resting.retain(|resting| *resting != address);
        Ok(())
    }

    /// Takes the lowest address that is free and does not rest.
    pub fn take_any(&mut self) -> Option<IpAddr> {
        let free = self.lowest_free();
        if let Some(address) = free {
            self.first_free = number(address);
        }
        let address = free.or_else(|| self.resting.pop_front())?;
        self.used.insert(address);
        Some(address)
    }

    /// Gives an address back.
    pub fn release(&mut self, address: IpAddr) {
        if self.used.remove(&address) && self.range.contains(&address) {
            self.resting.push_back(address);
            if self.resting.len() > RESTING_MAX
                && let Some(rested) = self.resting.pop_front()
            {
                self.first_free = self.first_free.min(number(rested));
            }
        }
    }

    fn lowest_free(&self) -> Option<IpAddr> {
        let last = number(self.range.broadcast());
        let mut candidate = self.first_free;
        // Walks the used and the free side by side: the sum is bounded by what is in use.
        let mut used = self
            .used
            .range(address(candidate, self.range.addr().is_ipv6())..)
            .map(|used| number(*used))
            .peekable();
        while candidate <= last {
            if used.next_if_eq(&candidate).is_some() {
                candidate = candidate.checked_add(1)?;
                continue;
            }
            let address = address(candidate, self.range.addr().is_ipv6());
            if !self.is_special(address) && !self.resting.contains(&address) {
                return Some(address);
            }
            candidate = candidate.checked_add(1)?;
        }
        None
    }

    fn is_special(&self, address: IpAddr) -> bool {
        if self.subnet.max_prefix_len() - self.subnet.prefix_len() < 2 {
            return false;
        }
        let is_broadcast = address.is_ipv4() && address == self.subnet.broadcast();
        is_broadcast || address == self.subnet.network()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(number: u128, ipv6: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if !ipv6 => IpAddr::V4(number.into()),
        _ => IpAddr::V6(number.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_subnet_is_dockers_unless_the_host_uses_it() {
        let pools = default_pools();
        let choose = |taken: &[&str]| {
            let taken: Vec<_> = taken.iter().map(|text| net(text)).collect();
            choose_subnet(&pools, false, &taken).map(|subnet| subnet.to_string())
        };
        assert_eq!(choose(&[]).as_deref(), Some("172.17.0.0/16"));
        assert_eq!(
            choose(&["172.17.5.0/24", "10.0.0.0/8"]).as_deref(),
            Some("172.18.0.0/16")
        );
        assert_eq!(
            choose(&["172.16.0.0/12"]).as_deref(),
            Some("192.168.0.0/20")
        );
        assert_eq!(
            choose(&["172.16.0.0/12", "192.168.0.0/17"]).as_deref(),
            Some("192.168.128.0/20")
        );
        assert_eq!(choose(&["172.16.0.0/12", "192.168.0.0/16"]), None);
        assert_eq!(choose_subnet(&pools, true, &[]), None);
    }

    #[test]
    fn a_pool_of_many_subnets_beneath_a_taken_range_is_passed_at_once() {
        let pool = |base: &str, size| AddressPool {
            base: net(base),
            size,
        };
        let pools = [pool("fd00::/16", 64), pool("fe00::/8", 127)];
        let choose = |taken: &[&str]| {
            let taken: Vec<_> = taken.iter().map(|text| net(text)).collect();
            choose_subnet(&pools, true, &taken).map(|subnet| subnet.to_string())
        };
        assert_eq!(choose(&["fd00::/16"]).as_deref(), Some("fe00::/127"));
        assert_eq!(
            choose(&["fd00::/17", "fd00:8000::1/128"]).as_deref(),
            Some("fd00:8000:0:1::/64")
        );
        assert_eq!(choose(&["::/0"]), None);
        assert_eq!(
            choose(&["fd00::/16", "fe00::/9"]).as_deref(),
            Some("fe80::/127")
        );
        let whole = [pool("10.0.0.0/30", 30), pool("0.0.0.0/0", 0)];
        assert_eq!(choose_subnet(&whole, false, &[net("10.0.0.2/32")]), None);
    }

    #[test]
    fn addresses_are_given_lowest_first_and_rest_when_released() {
        let mut pool = Addresses::new(net("172.17.0.0/16"), None);
        pool.take(ip("172.17.0.1")).unwrap();
        assert_eq!(pool.take_any(), Some(ip("172.17.0.2")));
        assert_eq!(pool.take_any(), Some(ip("172.17.0.3")));
        pool.release(ip("172.17.0.2"));
        assert_eq!(pool.take_any(), Some(ip("172.17.0.4")));
        for _ in 0..RESTING_MAX {
            let address = pool.take_any().unwrap();
            pool.release(address);
        }
        assert_eq!(pool.take_any(), Some(ip("172.17.0.2")));
    }

    #[test]
    fn how_full_a_subnet_is() {
        let full = |pool: &Addresses| (pool.usage().in_use, pool.usage().available);
        let mut pool = Addresses::new(net("172.17.0.0/16"), None);
        pool.take(ip("172.17.0.1")).unwrap();
        assert_eq!(full(&pool), (3, 65533));
        let mut part = Addresses::new(net("10.0.0.0/24"), Some(net("10.0.0.128/25")));
        part.take(ip("10.0.0.1")).unwrap();
        part.take_any().unwrap();
        assert_eq!(full(&part), (4, 126));
        let six = Addresses::new(net("fd00::/48"), None);
        assert_eq!(full(&six), (1, u64::MAX));
    }

    #[test]
    fn a_full_network_gives_resting_addresses_and_then_none() {
        let mut pool = Addresses::new(net("10.0.0.0/30"), None);
        assert_eq!(pool.take_any(), Some(ip("10.0.0.1")));
        assert_eq!(pool.take_any(), Some(ip("10.0.0.2")));
        assert_eq!(pool.take_any(), None);
        pool.release(ip("10.0.0.2"));
        assert_eq!(pool.take_any(), Some(ip("10.0.0.2")));
        assert_eq!(pool.take_any(), None);
    }

    #[test]
    fn a_fixed_address_must_be_inside_and_free() {
        let mut pool = Addresses::new(net("10.0.0.0/24"), Some(net("10.0.0.128/25")));
        pool.take(ip("10.0.0.5")).unwrap();
        assert!(matches!(
            pool.take(ip("10.0.0.5")),
            Err(Error::AddressTaken(_))
        ));
        assert!(matches!(
            pool.take(ip("10.0.1.5")),
            Err(Error::AddressOutside(_))
        ));
        assert!(matches!(
            pool.take(ip("10.0.0.0")),
            Err(Error::AddressOutside(_))
        ));
        assert!(matches!(
            pool.take(ip("10.0.0.255")),
            Err(Error::AddressOutside(_))
        ));
        assert_eq!(pool.take_any(), Some(ip("10.0.0.128")));
        let mut six = Addresses::new(net("fd00::/64"), None);
        six.take(ip("fd00::1")).unwrap();
        assert_eq!(six.take_any(), Some(ip("fd00::2")));
    }

    #[test]
    fn subnets_of_a_few_addresses_work() {
        let mut two = Addresses::new(net("10.0.0.0/31"), None);
        assert_eq!(two.take_any(), Some(ip("10.0.0.0")));
        assert_eq!(two.take_any(), Some(ip("10.0.0.1")));
        assert_eq!(two.take_any(), None);
        let mut top = Addresses::new(net("255.255.255.252/30"), None);
        assert_eq!(top.take_any(), Some(ip("255.255.255.253")));
    }
}
