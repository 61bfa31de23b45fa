//! The static table of RFC 7541 Appendix A.

/// Entries in the static table.
pub(super) const LEN: usize = 61;

/// Names and values; entry 1 is the first.
pub(super) static STATIC: [(&str, &str); LEN] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Places in the table of names.
const SLOTS: usize = 128;

/// Where a name is looked for first. A table of 128 places keeps the ways from there short.
#[inline]
const fn slot(name: &[u8]) -> usize {
    let len = name.len();
    let (first, middle, last) = (name[0] as usize, name[len / 2] as usize, name[len - 1] as usize);
    (len * 5 + first * 3 + middle * 11 + last * 7) % SLOTS
}

/// For each place the first entry with a name, or 0.
static NAMES: [u8; SLOTS] = {
    let mut slots = [0; SLOTS];
    let mut at = 0;
    while at < LEN {
        let name = STATIC[at].0.as_bytes();
        // Entries with the same name follow each other.
        if at == 0 || !same(name, STATIC[at - 1].0.as_bytes()) {
            let mut place = slot(name);
            while slots[place] != 0 {
                place = (place + 1) % SLOTS;
            }
            slots[place] = at as u8 + 1;
        }
        at += 1;
    }
    slots
};

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The first entry with this name, in lower case.
#[inline]
pub(super) fn name_index(name: &[u8]) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let mut place = slot(name);
    loop {
        let index = usize::from(NAMES[place]);
        let (found, _) = STATIC.get(index.checked_sub(1)?)?;
        if found.as_bytes() == name {
            return Some(index);
        }
        place = (place + 1) % SLOTS;
    }
}

/// The entry with the name of entry `index` and this value.
#[inline]
pub(super) fn value_index(index: usize, value: &[u8]) -> Option<usize> {
    let (name, _) = STATIC.get(index - 1)?;
    STATIC[index - 1..]
        .iter()
        .take_while(|(other, _)| other == name)
        .position(|(_, other)| other.as_bytes() == value)
        .map(|offset| index + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_and_nothing_else() {
        for (at, (name, value)) in STATIC.iter().enumerate() {
            let first = STATIC.iter().position(|(other, _)| other == name).unwrap() + 1;
            assert_eq!(name_index(name.as_bytes()), Some(first));
            assert_eq!(value_index(first, value.as_bytes()), Some(at + 1));
        }
        assert_eq!(value_index(2, b"PUT"), None);
        for other in [&b""[..], b"x", b"accept-", b"cookie2", b":statut", b"x-request-id"] {
            assert_eq!(name_index(other), None);
        }
    }

    #[test]
    fn names_are_near_where_they_are_looked_for() {
        let longest = STATIC
            .iter()
            .map(|(name, _)| {
                let index = name_index(name.as_bytes()).unwrap();
                let place = NAMES.iter().position(|&entry| usize::from(entry) == index).unwrap();
                (place + SLOTS - slot(name.as_bytes())) % SLOTS
            })
            .max();
        assert!(longest <= Some(6), "{longest:?} steps");
    }
}
