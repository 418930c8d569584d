//! The address that proxies say the client has (RFC 7239, and `X-Forwarded-For` as it is used).

use std::net::{IpAddr, SocketAddr};

use super::field::{Field, value};

/// Returns the first address in `Forwarded`, or else in `X-Forwarded-For`; none where it is hidden or no address.
pub(in crate::protocol) fn client_address(fields: &[Field<'_>]) -> Option<(IpAddr, Option<u16>)> {
    match value(fields, "forwarded") {
        Some(forwarded) => address(forwarded_for(str::from_utf8(forwarded).ok()?)?),
        None => address(str::from_utf8(value(fields, "x-forwarded-for")?).ok()?.split(',').next()?),
    }
}

fn forwarded_for(forwarded: &str) -> Option<&str> {
    let first = forwarded.split(',').next()?;
    first.split(';').filter_map(|pair| pair.split_once('=')).find_map(|(name, node)| {
        name.trim().eq_ignore_ascii_case("for").then(|| node.trim().trim_matches('"'))
    })
}

fn address(node: &str) -> Option<(IpAddr, Option<u16>)> {
    let node = node.trim();
    if let Ok(socket) = node.parse::<SocketAddr>() {
        return Some((socket.ip(), Some(socket.port())));
    }
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    Some((bare.parse().ok()?, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, expected: Option<(&str, Option<u16>)>) {
        let fields = [Field { name: name.as_bytes(), value: value.as_bytes() }];
        let expected = expected.map(|(address, port)| (address.parse().expect("address"), port));
        assert_eq!(client_address(&fields), expected, "{value}");
    }

    #[test]
    fn the_first_address_is_taken() {
        check("X-Forwarded-For", "203.0.113.7, 10.0.0.1", Some(("203.0.113.7", None)));
        check("x-forwarded-for", " 203.0.113.7:4711", Some(("203.0.113.7", Some(4711))));
        check("x-forwarded-for", "2001:db8::7", Some(("2001:db8::7", None)));
        check("x-forwarded-for", "unknown", None);
        check(
            "Forwarded",
            "for=192.0.2.60;proto=http;by=203.0.113.43, for=10.0.0.1",
            Some(("192.0.2.60", None)),
        );
        check("forwarded", "proto=https; For=\"[2001:db8::7]:4711\"", Some(("2001:db8::7", Some(4711))));
        check("forwarded", "for=_hidden", None);
        check("forwarded", "by=203.0.113.43", None);
    }
}
