//! Where a webhook may go: never to an address inside the operator's network. Looked at when an endpoint is made, and
//! again at every connection, since names can be pointed elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::failure::{Outcome, Refusal, RefusalCode};

/// Longest address, bytes.
const LONGEST: usize = 2048;
/// How long a name is looked up when an endpoint is made.
const LOOK_UP: Duration = Duration::from_secs(5);

/// IPv4 networks that are not part of the public internet (IANA's registry of special-purpose addresses).
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// IPv6 networks inside 2000::/3 that are not part of the public internet; outside of it nothing is.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Which addresses are allowed.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Not public, and allowed all the same.
    pub subnets: Vec<IpNet>,
    /// Development: this machine, and plain http.
    pub development: bool,
}

/// Why nothing was sent: the address is not allowed.
#[derive(Debug, thiserror::Error)]
#[error("the address is private, loopback or link-local")]
pub struct NotAllowed;

impl Policy {
    /// Whether something may be sent there.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = plain(address);
        is_public(address)
            || (self.development && address.is_loopback())
            || self.subnets.iter().any(|subnet| subnet.contains(&address))
    }

    /// Whether the address that a url names by its figures may be used; names are looked at when they are resolved.
    pub fn admits_host(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(address)) => self.admits(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => self.admits(IpAddr::V6(address)),
            Some(Host::Domain(_)) => true,
            None => false,
        }
    }

    /// Checks what a partner gave, names included where they can be resolved.
    ///
    /// # Errors
    /// INVALID or URL_NOT_ALLOWED, with the reason.
    pub async fn check(&self, text: &str) -> Outcome<Url> {
        let url = self.read(text)?;
        if let Some(Host::Domain(name)) = url.host() {
            let port = url.port_or_known_default().unwrap_or(443);
            // One that does not resolve (yet) fails later, at its first attempt.
            let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((name, port))).await;
            if let Ok(Ok(mut addresses)) = found
                && !addresses.all(|address| self.admits(address.ip()))
            {
                return Err(inside().into());
            }
        }
        Ok(url)
    }

    /// The part of the check that needs no network.
    fn read(&self, text: &str) -> Result<Url, Refusal> {
        let invalid = |message: &str| Err(Refusal::new(RefusalCode::Invalid, "url", message));
        if text.len() > LONGEST {
            return invalid("url is too long; it may have 2048 bytes");
        }
        let Ok(url) = Url::parse(text) else {
            return invalid("url is not an address; it needs one such as https://example.org/webhooks");
        };
        if url.scheme() != "https" && !(self.development && url.scheme() == "http") {
            return invalid("url does not begin with https://; anything else could be read on its way");
        }
        if !url.has_host() {
            return invalid("url names no host; it needs an address such as https://example.org/webhooks");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("url carries a user or password; leave them out, the signature proves who sends");
        }
        if url.fragment().is_some() {
            return invalid("url has a part after #, which is never sent; leave it out");
        }
        if !self.admits_host(&url) {
            return Err(inside());
        }
        Ok(url)
    }
}

fn inside() -> Refusal {
    Refusal::new(
        RefusalCode::UrlNotAllowed,
        "url",
        "url leads to a private, loopback or link-local address; use a public one, or let the operator name the subnet \
         in webhooks.allowed_subnets",
    )
}

/// An IPv4 address as itself, whatever IPv6 dress it wears (mapped, compatible, NAT64).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let wraps = matches!([a, b, c, d, e, f], [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0]);
    if !wraps || v6 == Ipv6Addr::LOCALHOST || v6 == Ipv6Addr::UNSPECIFIED {
        return address;
    }
    let ([first, second], [third, fourth]) = (g.to_be_bytes(), h.to_be_bytes());
    IpAddr::V4(Ipv4Addr::new(first, second, third, fourth))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let bits = u32::from(v4);
            !NOT_PUBLIC_V4.iter().any(|(net, length)| (bits ^ u32::from(*net)) >> (32 - length) == 0)
        }
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            bits >> 125 == 1
                && !NOT_PUBLIC_V6.iter().any(|(net, length)| (bits ^ u128::from(*net)) >> (128 - length) == 0)
        }
    }
}

/// Resolves names for the HTTP client. A name of which one address is not allowed is not used at all: who mixes them
/// wants us to connect to the one that we checked least.
pub struct Guard(pub Arc<Policy>);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if !found.iter().all(|address| policy.admits(address.ip())) {
                return Err(NotAllowed.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(policy: &Policy, address: &str) -> bool {
        policy.admits(address.parse().unwrap())
    }

    #[test]
    fn only_public_addresses_are_allowed() {
        let policy = Policy::default();
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2002:a00:1::1",
            "2001:db8::1",
        ] {
            assert!(!admits(&policy, inside), "{inside}");
        }
        for outside in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"] {
            assert!(admits(&policy, outside), "{outside}");
        }
    }

    #[test]
    fn development_adds_this_machine_and_a_setting_adds_subnets() {
        let here = Policy { development: true, subnets: Vec::new() };
        assert!(admits(&here, "127.0.0.1") && admits(&here, "::1") && !admits(&here, "10.0.0.1"));
        let named = Policy { development: false, subnets: vec!["10.7.0.0/16".parse().unwrap()] };
        assert!(admits(&named, "10.7.1.1") && admits(&named, "::ffff:10.7.1.1"));
        assert!(!admits(&named, "10.8.0.1") && !admits(&named, "127.0.0.1"));
    }

    #[tokio::test]
    async fn a_bad_address_is_refused_with_its_reason() {
        let policy = Policy::default();
        let long = format!("https://example.org/{}", "x".repeat(2048));
        for (url, code, reason) in [
            ("http://example.org/", RefusalCode::Invalid, "https"),
            ("ftp://example.org/", RefusalCode::Invalid, "https"),
            ("nonsense", RefusalCode::Invalid, "not an address"),
            ("https://user:word@example.org/", RefusalCode::Invalid, "password"),
            ("https://user@example.org/", RefusalCode::Invalid, "password"),
            ("https://example.org/#here", RefusalCode::Invalid, "#"),
            (&long, RefusalCode::Invalid, "too long"),
            ("https://127.0.0.1/", RefusalCode::UrlNotAllowed, "private"),
            ("https://2130706433/", RefusalCode::UrlNotAllowed, "private"),
            ("https://0x7f.1/", RefusalCode::UrlNotAllowed, "private"),
            ("https://[::1]/", RefusalCode::UrlNotAllowed, "private"),
            ("https://[::ffff:10.0.0.1]/", RefusalCode::UrlNotAllowed, "private"),
            ("https://169.254.169.254/latest/", RefusalCode::UrlNotAllowed, "private"),
            ("https://localhost/", RefusalCode::UrlNotAllowed, "private"),
        ] {
            match policy.check(url).await {
                Err(crate::failure::Failure::Refused(refusal)) => {
                    assert_eq!(refusal.code, code, "{url}");
                    assert!(refusal.message.contains(reason), "{url}: {}", refusal.message);
                    assert_eq!(refusal.field, ["url"]);
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_name_is_checked_when_it_is_resolved() {
        let strict = Guard(Arc::new(Policy::default()));
        let refused = strict.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.downcast_ref::<NotAllowed>().is_some(), "{refused}");
        let here = Guard(Arc::new(Policy { development: true, subnets: Vec::new() }));
        assert!(here.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
