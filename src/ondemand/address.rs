//! Addresses that a pattern alone must not open: this machine, its link, cloud metadata, and the forms in which an
//! IPv4 address hides inside an IPv6 one.
//!
//! The blocks are those of the IANA registries of special addresses
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>) that lead to something other than a host of a
//! network. Private networks are not among them: that is where databases are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: an address, and the number of its leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of an address; `None` if there are more bits than an address has.
    pub(crate) fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    /// The network of this address alone.
    pub(crate) fn host(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
    }

    const fn v6(segments: [u16; 8], bits: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = segments;
        Self { address: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), bits }
    }

    /// Reports whether an address is in the network. No IPv4 network contains an IPv6 address, nor the reverse.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let rest = 32 - u32::from(self.bits);
                own.to_bits().checked_shr(rest) == other.to_bits().checked_shr(rest)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let rest = 128 - u32::from(self.bits);
                own.to_bits().checked_shr(rest) == other.to_bits().checked_shr(rest)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Reports whether all of this network is in another one.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.bits >= other.bits && other.contains(self.address)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Addresses that are nobody's: "this host" (a connect to 0.0.0.0 reaches the loopback), multicast, reserved.
const NEVER: &[Network] = &[
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
    Network::v6([0; 8], 128),
    Network::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// Blocks that are open only to a network of `allowed_targets` that lies within the block. The first that
/// contains an address counts, so the metadata services come first: a whole link-local network does not open them.
const BY_NETWORK_ONLY: &[Network] = &[
    // Metadata and credentials: AWS, GCP, Azure and OpenStack share the first; ECS; EKS; then their IPv6 addresses.
    Network::v4(169, 254, 169, 254, 32),
    Network::v4(169, 254, 170, 2, 32),
    Network::v4(169, 254, 170, 23, 32),
    Network::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    Network::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128),
    Network::v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
    // Alibaba, Azure's agent, Oracle.
    Network::v4(100, 100, 100, 200, 32),
    Network::v4(168, 63, 129, 16, 32),
    Network::v4(192, 0, 0, 192, 32),
    // Loopback and link-local.
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(169, 254, 0, 0, 16),
    Network::v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    Network::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    // IPv4 inside of IPv6: compatible, translated, NAT64, 6to4, Teredo.
    Network::v6([0; 8], 96),
    Network::v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
    Network::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
    Network::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    Network::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
];

/// The caution that an address needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caution {
    /// None: an ordinary address.
    Ordinary,
    /// It is open only to a network within this block.
    NetworkWithin(Network),
    /// It is never open.
    Never,
}

impl Caution {
    /// The caution for an address as it stands, without a look inside; see [`layers`].
    pub(super) fn of(address: IpAddr) -> Self {
        let holds = |block: &&Network| block.contains(address);
        if NEVER.iter().any(|block| block.contains(address)) {
            return Self::Never;
        }
        match BY_NETWORK_ONLY.iter().find(holds) {
            Some(block) => Self::NetworkWithin(*block),
            None => Self::Ordinary,
        }
    }
}

/// The address itself, and the IPv4 address that packets to it may end at. Each needs its own permission. A mapped
/// address (`::ffff:10.0.0.1`) is its IPv4 address: the kernel sends IPv4.
pub(super) fn layers(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let address = address.to_canonical();
    let inner = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => inner(address),
    };
    std::iter::once(address).chain(inner.map(IpAddr::V4))
}

/// The IPv4 address inside of an IPv6 address.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let at = |first: usize| {
        let [a, b] = segments[first].to_be_bytes();
        let [c, d] = segments[first + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    let is_isatap = matches!(segments[4] & !0x0200, 0) && segments[5] == 0x5efe;
    match segments {
        [0x2002, ..] => Some(at(1)),
        // Teredo stores the client's address inverted (RFC 4380, section 4).
        [0x2001, 0, ..] => Some(Ipv4Addr::from_bits(!at(6).to_bits())),
        [0, 0, 0, 0, 0, 0, high, _] if high > 0 => Some(at(6)),
        [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, ..] => Some(at(6)),
        _ if is_isatap => Some(at(6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caution(text: &str) -> Caution {
        Caution::of(text.parse().unwrap())
    }

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        let network = |text: &str| {
            let (address, bits) = text.split_once('/').unwrap();
            Network::new(address.parse().unwrap(), bits.parse().unwrap()).unwrap()
        };
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.1.2.3/8", "10.0.0.1", "9.255.255.255"),
            ("10.0.0.1/32", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("fd00::/8", "fdab::1", "fc00::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
        ] {
            assert!(network(text).contains(inside.parse().unwrap()), "{inside} in {text}");
            assert!(!network(text).contains(outside.parse().unwrap()), "{outside} in {text}");
        }
        assert!(network("127.0.0.1/32").is_within(&network("127.0.0.0/8")));
        assert!(!network("0.0.0.0/0").is_within(&network("127.0.0.0/8")));
        assert_eq!(Network::new("10.0.0.0".parse().unwrap(), 33), None);
    }

    #[test]
    fn addresses_of_this_machine_its_link_and_the_cloud_need_a_network_of_their_own() {
        for text in ["10.1.2.3", "192.168.0.1", "203.0.113.5", "fd12::1", "2a00:1450::1"] {
            assert_eq!(caution(text), Caution::Ordinary, "{text}");
        }
        for text in ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
            assert_eq!(caution(text), Caution::Never, "{text}");
        }
        for (text, block) in [
            ("127.0.0.1", "127.0.0.0/8"),
            ("127.9.9.9", "127.0.0.0/8"),
            ("::1", "::1/128"),
            ("169.254.1.1", "169.254.0.0/16"),
            ("169.254.169.254", "169.254.169.254/32"),
            ("fd00:ec2::254", "fd00:ec2::254/128"),
            ("168.63.129.16", "168.63.129.16/32"),
            ("fe80::1", "fe80::/10"),
            ("64:ff9b::a00:1", "64:ff9b::/96"),
            ("2002:a00:1::", "2002::/16"),
        ] {
            let Caution::NetworkWithin(found) = caution(text) else { panic!("{text} is ordinary") };
            assert_eq!(found.to_string(), block, "{text}");
        }
    }

    #[test]
    fn the_address_inside_is_found() {
        for (text, expected) in [
            ("10.0.0.1", ["10.0.0.1"].as_slice()),
            ("::ffff:127.0.0.1", &["127.0.0.1"]),
            ("::127.0.0.1", &["::7f00:1", "127.0.0.1"]),
            ("64:ff9b::169.254.169.254", &["64:ff9b::a9fe:a9fe", "169.254.169.254"]),
            ("2002:7f00:1::", &["2002:7f00:1::", "127.0.0.1"]),
            ("2001:0:1:2:3:4:80ff:fffe", &["2001:0:1:2:3:4:80ff:fffe", "127.0.0.1"]),
            ("fe80::5efe:7f00:1", &["fe80::5efe:7f00:1", "127.0.0.1"]),
            ("fd00::200:5efe:7f00:1", &["fd00::200:5efe:7f00:1", "127.0.0.1"]),
            ("::1", &["::1"]),
            ("2a00::1", &["2a00::1"]),
        ] {
            let found: Vec<_> = layers(text.parse().unwrap()).map(|a| a.to_string()).collect();
            let expected: Vec<_> =
                expected.iter().map(|text| text.parse::<IpAddr>().unwrap().to_string()).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
