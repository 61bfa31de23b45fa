//! Priorities that a client states (RFC 9218).

/// How soon a response is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Priority {
    /// 0 is the most urgent, 7 the least; 3 where nothing is said.
    pub urgency: u8,
    /// Whether a part of it is already of use, so that responses like it share the connection.
    pub is_incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, is_incremental: false }
    }
}

impl Priority {
    /// Reads the value of a `priority` field or of a PRIORITY_UPDATE: a dictionary (RFC 8941 section 3.2), of which `u`
    /// and `i` count. What is unknown, out of range or malformed is left out (RFC 9218 section 4).
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|&byte| byte == b',') {
            // Parameters say nothing that we know.
            let member = member.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            match member {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.is_incremental = true,
                b"i=?0" => priority.is_incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_counts_and_the_rest_does_not() {
        for (value, urgency, is_incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=7, i", 7, true),
            ("i,u=5", 5, true),
            ("i=?1", 3, true),
            ("i, i=?0", 3, false),
            ("u=1,u=2", 2, false),
            ("u=8", 3, false),
            ("u=-1", 3, false),
            ("u=1.5, i=1", 3, false),
            ("u = 1", 3, false),
            ("U=1, I", 3, false),
            ("u=2;x=1;y, i;z", 2, true),
            ("a=\"u=1\", b=(1 2)", 3, false),
        ] {
            assert_eq!(Priority::parse(value.as_bytes()), Priority { urgency, is_incremental }, "{value}");
        }
    }
}
