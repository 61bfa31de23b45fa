//! Why a block is refused.

use std::fmt;

/// Why a block cannot be decoded. After any of these the table is not what the peer believes, so the connection ends
/// (RFC 9113 section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HpackError {
    /// The block ends inside a field (`hpack_truncated`).
    Truncated,
    /// An integer is too large or too long (`hpack_integer_overflow`, RFC 7541 section 5.1).
    IntegerOverflow,
    /// Index 0, or one past both tables (`hpack_bad_index`, RFC 7541 sections 2.3.3 and 6.1).
    BadIndex,
    /// EOS in a string, or padding that is not less than eight ones (`hpack_bad_huffman`, RFC 7541 section 5.2).
    BadHuffman,
    /// A table size above what was allowed (`hpack_table_too_large`, RFC 7541 section 6.3).
    TableTooLarge,
    /// A table size update after a field, or a third one (`hpack_late_table_update`, RFC 7541 section 4.2).
    LateTableUpdate,
    /// No table size update after the allowed size went below the one in use (`hpack_missing_table_update`,
    /// RFC 7541 section 4.2).
    MissingTableUpdate,
    /// The fields come to more than the block may stand for (`hpack_bomb`).
    Bomb,
}

impl HpackError {
    /// Every value, each once.
    pub const ALL: [Self; 8] = [
        Self::Truncated,
        Self::IntegerOverflow,
        Self::BadIndex,
        Self::BadHuffman,
        Self::TableTooLarge,
        Self::LateTableUpdate,
        Self::MissingTableUpdate,
        Self::Bomb,
    ];

    /// The stable reason code, in `snake_case`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Truncated => "hpack_truncated",
            Self::IntegerOverflow => "hpack_integer_overflow",
            Self::BadIndex => "hpack_bad_index",
            Self::BadHuffman => "hpack_bad_huffman",
            Self::TableTooLarge => "hpack_table_too_large",
            Self::LateTableUpdate => "hpack_late_table_update",
            Self::MissingTableUpdate => "hpack_missing_table_update",
            Self::Bomb => "hpack_bomb",
        }
    }
}

impl fmt::Display for HpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "a header block ends inside a field",
            Self::IntegerOverflow => "an integer in a header block is too large",
            Self::BadIndex => "a header block names an entry that no table has",
            Self::BadHuffman => "a string in a header block is not Huffman code",
            Self::TableTooLarge => "a header block sets its table larger than allowed",
            Self::LateTableUpdate => "a header block changes the size of its table too late or too often",
            Self::MissingTableUpdate => "a header block does not make its table smaller, as it must",
            Self::Bomb => "a header block stands for far more than is allowed",
        })
    }
}

impl std::error::Error for HpackError {}
