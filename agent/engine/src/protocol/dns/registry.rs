//! Names of numbers ("Domain Name System (DNS) Parameters" of IANA).

use crate::semconv::Text;

/// Types of records that may be asked for, in the order of their numbers.
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (10, "NULL"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (39, "DNAME"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (249, "TKEY"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
];

/// Codes of responses. All but the first are errors.
const CODES: &[(u16, &str)] = &[
    (NO_ERROR, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (11, "DSOTYPENI"),
    (16, "BADVERS"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];

/// The code of a response that is no error.
pub(super) const NO_ERROR: u16 = 0;

/// `SERVFAIL` and `NOTIMP`: the server cannot, whoever asks.
const FAULTS_OF_SERVER: [u16; 2] = [2, 4];

/// Returns the name of a type; none where it has none here.
pub(super) fn type_name(number: u16) -> Option<&'static str> {
    find(TYPES, number)
}

/// Returns the name of a response's code.
pub(super) fn code_name(code: u16) -> Text {
    find(CODES, code).map_or_else(|| format!("RCODE{code}").into(), Text::from)
}

/// Returns whether an error is about what was asked (a name that does not exist), rather than the server's own.
pub(super) fn is_fault_of_client(code: u16) -> bool {
    !FAULTS_OF_SERVER.contains(&code)
}

fn find(table: &[(u16, &'static str)], number: u16) -> Option<&'static str> {
    let at = table.binary_search_by_key(&number, |(known, _)| *known).ok()?;
    table.get(at).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order() {
        assert!(TYPES.is_sorted_by_key(|(number, _)| number));
        assert!(CODES.is_sorted_by_key(|(number, _)| number));
        assert_eq!((type_name(28), type_name(3)), (Some("AAAA"), None));
        assert_eq!(
            [0, 3, 4095].map(code_name).map(|name| name.to_string()),
            ["NOERROR", "NXDOMAIN", "RCODE4095"]
        );
    }
}
