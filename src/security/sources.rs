//! Addresses and networks that a user may log in from, and those that clients may connect from.

use std::net::IpAddr;

/// An address, or all that begin with the same bits.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Network {
    first: u128,
    /// Of 128, also for IPv4: its addresses are those that IPv6 has for it.
    prefix: u32,
}

/// Bits of an address, and those of them before an IPv4 address.
const BITS: u32 = 128;
const BEFORE_IPV4: u32 = 96;

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`.
    ///
    ///  # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fail = || {
            format!("{text:?} is no address or network, such as \"192.0.2.7\" or \"192.0.2.0/24\"")
        };
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(length)),
        };
        let address: IpAddr = address.parse().map_err(|_| fail())?;
        let before = if address.is_ipv4() { BEFORE_IPV4 } else { 0 };
        let prefix = match length {
            None => BITS,
            Some(length) => before + length.parse::<u8>().map(u32::from).map_err(|_| fail())?,
        };
        if prefix > BITS {
            return Err(fail());
        }
        let first = number(address);
        if first != kept(first, prefix) {
            return Err(format!(
                "{text:?} is no network: its address has bits beyond its length"
            ));
        }
        Ok(Self { first, prefix })
    }

    /// Whether the address is one of it.
    pub fn contains(&self, address: IpAddr) -> bool {
        kept(number(address), self.prefix) == self.first
    }
}

/// Whether the address is in one of the networks, or there is no list of them.
pub fn is_within(networks: &[Network], address: IpAddr) -> bool {
    networks.is_empty() || networks.iter().any(|it| it.contains(address))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first bits of an address, the others as zero.
fn kept(address: u128, prefix: u32) -> u128 {
    let mask = u128::MAX.checked_shl(BITS - prefix).unwrap_or(0);
    address & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_with_its_bits() {
        for (network, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.0/24", "::ffff:192.0.2.9", "::192.0.2.9"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("0.0.0.0/0", "255.1.2.3", "2001:db8::1"),
            ("::1", "::1", "::2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
        ] {
            let parsed = Network::parse(network).expect(network);
            let contains = |address: &str| parsed.contains(address.parse().expect("an address"));
            assert!(contains(inside), "{inside} in {network}");
            assert!(!contains(outside), "{outside} in {network}");
        }
        let all = Network::parse("::/0").expect("a network");
        assert!(all.contains("192.0.2.1".parse().expect("an address")));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "host",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::/129",
            "10.0.0.1/8",
            "10.0.0/8",
            "10.0.0.0/8/8",
            "10.0.0.0/256",
        ] {
            let error = Network::parse(text).expect_err(text);
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
