//! What a proxy says of the client before it, believed of configured proxies only.
//!
//! Invariant: a header that a client can send for itself changes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderValue};

use super::serve::Peer;

/// A network, such as `10.0.0.0/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = canonical(address.trim().parse().map_err(|_| invalid())?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.trim().parse().map_err(|_| invalid()))?;
        if bits > most { Err(invalid()) } else { Ok(Self { address, bits }) }
    }
}

/// An IPv4 address that arrives on an IPv6 socket is the IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl Network {
    /// Whether an address belongs to it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, canonical(address)) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(Ipv4Addr::BITS - bits).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(Ipv6Addr::BITS - bits).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }

    /// Whether it is so wide that being in it says little: wider than a /8, or than a /32 of IPv6.
    pub(crate) const fn is_broad(&self) -> bool {
        self.bits < if self.address.is_ipv4() { 8 } else { 32 }
    }
}

/// Who sent a request, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address; the proxy's when that says nothing.
    pub(crate) address: IpAddr,
    /// Whether it spoke TLS, with the gateway or with the proxy.
    pub(crate) tls: bool,
    /// The host that it asked for, when the proxy asked for another.
    pub(crate) host: Option<HeaderValue>,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Finds the client behind a connection.
pub(super) fn client(peer: Peer, headers: &HeaderMap, proxies: &[Network]) -> Client {
    let trusted = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    let mut client = Client { address: canonical(peer.address.ip()), tls: peer.tls, host: None };
    if !trusted(client.address) {
        return client;
    }
    // Each proxy adds whom it heard from; the nearest stands last. The first that is none of ours is the client, and
    // what stands before it is its own word.
    let said = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let chain: Vec<&str> = said.flat_map(|value| value.split(',')).map(str::trim).collect();
    for hop in chain.iter().rev() {
        // Some proxies add the port.
        let parsed = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|from| from.ip()));
        let Ok(address) = parsed.map(canonical) else { break };
        client.address = address;
        if !trusted(address) {
            break;
        }
    }
    if let Some(scheme) = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()) {
        client.tls = scheme.trim().eq_ignore_ascii_case("https");
    }
    client.host = headers.get("x-forwarded-host").filter(|host| !host.is_empty()).cloned();
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), tls: false }
    }

    #[test]
    fn a_network_is_an_address_with_or_without_bits() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::1", "::1", "::2"),
            ("10.1.0.0/16", "::ffff:10.1.2.3", "::ffff:10.2.2.3"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0", "host", "10.0.0.0/x"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_configured_proxy_is_believed() {
        let said = headers(&[
            ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.3"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "bucket.s3.example"),
        ]);
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let stranger = client(peer("198.51.100.7:5"), &said, &proxies);
        assert_eq!(stranger, Client { address: "198.51.100.7".parse().unwrap(), tls: false, host: None });
        let behind = client(peer("10.0.0.2:5"), &said, &proxies);
        assert_eq!(behind.address.to_string(), "203.0.113.9");
        assert!(behind.tls && behind.host.is_some());
        let silent = client(peer("10.0.0.2:5"), &HeaderMap::new(), &proxies);
        assert_eq!(silent.address.to_string(), "10.0.0.2");
        let nonsense = client(peer("10.0.0.2:5"), &headers(&[("x-forwarded-for", "203.0.113.9, what")]), &proxies);
        assert_eq!(nonsense.address.to_string(), "10.0.0.2");
    }
}
