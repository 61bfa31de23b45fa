//! The log-linear buckets of `HdrHistogram`: each power of two is cut into the same number of equal parts.

/// How a histogram cuts its range into buckets.
///
/// With a precision of `p` bits, values below 2^(p+1) have a bucket each and every later power of two has 2^p, so a
/// bucket is never wider than 1/2^p of its lowest value. With a range of `r` bits, values of 2^r and more share the
/// last bucket; the exact maximum is kept beside the buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    precision: u8,
    range: u8,
}

impl Shape {
    /// 128 buckets a power of two: an error below 0.79 %, two significant digits. 36 KiB; the buckets that one
    /// latency distribution touches fit in a few cache lines, which three digits (264 KiB) would not.
    pub const FINE: Shape = Shape { precision: 7, range: 42 };

    /// 32 buckets a power of two: an error below 3.2 %, 9.5 KiB. For sets with one histogram a route.
    pub const COARSE: Shape = Shape { precision: 5, range: 42 };

    /// The most bits of precision: 2^12 buckets a power of two.
    const MAX_PRECISION: u8 = 12;

    /// A shape of `precision` bits (1 to 12) and `range` bits (above the precision, at most 63).
    pub const fn new(precision: u8, range: u8) -> Option<Shape> {
        if precision == 0 || precision > Shape::MAX_PRECISION || range <= precision || range > 63 {
            return None;
        }
        Some(Shape { precision, range })
    }

    /// log2 of the buckets in a power of two.
    pub const fn precision(self) -> u8 {
        self.precision
    }

    /// Values below 2^range have buckets of their own.
    pub const fn range(self) -> u8 {
        self.range
    }

    /// How many buckets there are.
    pub const fn buckets(self) -> usize {
        (self.range as usize - self.precision as usize + 1) << self.precision
    }

    /// The bucket of a value: always below [`Shape::buckets`].
    #[inline]
    pub const fn index(self, value: u64) -> usize {
        let highest = (1_u64 << self.range) - 1;
        let value = if value > highest { highest } else { value };
        // The bit that is or-ed in makes every small value take the first, linear part without a branch.
        let exponent = (value | (1 << self.precision)).ilog2();
        let shift = exponent - self.precision as u32;
        ((shift as usize) << self.precision) + (value >> shift) as usize
    }

    /// The lowest value of a bucket.
    pub const fn lowest(self, index: usize) -> u64 {
        let shift = self.shift(index);
        ((index - (shift << self.precision)) as u64) << shift
    }

    /// The highest value of a bucket. The last bucket also holds every value past the range.
    pub const fn highest(self, index: usize) -> u64 {
        self.lowest(index) + (1 << self.shift(index)) - 1
    }

    const fn shift(self, index: usize) -> usize {
        (index >> self.precision).saturating_sub(1)
    }
}
