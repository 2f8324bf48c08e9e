//! Addresses of the public internet. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks without public hosts: those of the IANA special-purpose registry,
/// and Azure's metadata service.
const NON_PUBLIC_V4: [([u8; 4], u32); 17] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Carrier-grade NAT; one cloud has its metadata service there.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local, where most clouds have theirs.
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    // The relays of 6to4.
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Azure's metadata service, at an address that looks public.
    ([168, 63, 129, 16], 32),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

/// IPv6 networks without public hosts within `2000::/3`, the only public one.
const NON_PUBLIC_V6: [([u16; 2], u32); 4] = [
    // Protocol assignments: Teredo, benchmarks, ORCHIDs.
    ([0x2001, 0], 23),
    ([0x2001, 0x0db8], 32),
    // 6to4 carries any IPv4 address, private ones too.
    ([0x2002, 0], 16),
    ([0x3fff, 0], 20),
];

/// True if an address belongs to a public host.
///
/// IPv6 addresses with an IPv4 address inside (mapped, compatible, NAT64, 6to4,
/// Teredo) are refused whatever it is: no public host needs them.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            !NON_PUBLIC_V4.iter().any(|(base, bits)| is_within_v4(four, Ipv4Addr::from(*base), *bits))
        }
        IpAddr::V6(six) => {
            let six = u128::from(six);
            is_within_v6(six, [0x2000, 0], 3)
                && !NON_PUBLIC_V6.iter().any(|(base, bits)| is_within_v6(six, *base, *bits))
        }
    }
}

fn is_within_v4(address: Ipv4Addr, base: Ipv4Addr, bits: u32) -> bool {
    (u32::from(address) ^ u32::from(base)) >> (32 - bits) == 0
}

fn is_within_v6(address: u128, [first, second]: [u16; 2], bits: u32) -> bool {
    let base = u128::from(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0));
    (address ^ base) >> (128 - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_25_only_public_addresses_are_public() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "168.63.129.16",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2001:1ff:ffff::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd12::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ];
        for address in refused {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "168.63.129.15",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ];
        for address in public {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }
}
