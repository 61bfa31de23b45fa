//! What is written, and that it reads as it was meant.

use proptest::prelude::*;

use super::super::encode::*;
use super::*;

fn written(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = b"> ".to_vec();
    write(&mut out);
    String::from_utf8(out.split_off(2)).unwrap()
}

#[test]
fn start_lines_fields_and_chunks_have_their_form() {
    assert_eq!(written(|out| request_line(out, b"GET", b"/a?b")), "GET /a?b HTTP/1.1\r\n");
    assert_eq!(written(|out| status_line(out, Version::Http11, 404, None)), "HTTP/1.1 404 Not Found\r\n");
    assert_eq!(written(|out| status_line(out, Version::Http10, 200, Some(b"Fine"))), "HTTP/1.0 200 Fine\r\n");
    assert_eq!(written(|out| status_line(out, Version::Http11, 299, None)), "HTTP/1.1 299 \r\n");
    assert_eq!(written(|out| field(out, b"A", b"b c")), "A: b c\r\n");
    assert_eq!(written(|out| chunk_head(out, 255)), "ff\r\n");
    assert_eq!(written(|out| chunk_head(out, 0)), "");
}

#[test]
fn dates_are_imf_fixdates() {
    let date = |seconds| written(|out| http_date(out, seconds));
    assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_eq!(date(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
    assert_eq!(date(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
    assert_eq!(date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
}

/// Walks the calendar day by day, as one would on paper.
#[test]
fn every_day_for_five_centuries_has_its_date() {
    const WEEK: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, u32); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let mut day = 0_u64;
    for year in 1970..2470 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (month, days) in MONTHS {
            for of_month in 1..=days + u32::from(leap && month == "Feb") {
                let expected = format!("{}, {of_month:02} {month} {year} 23:59:01 GMT", WEEK[(day % 7) as usize]);
                assert_eq!(written(|out| http_date(out, day * 86_400 + 86_341)), expected);
                day += 1;
            }
        }
    }
}

proptest! {
    #[test]
    fn numbers_are_written_as_the_library_writes_them(number: u64, len in 1_usize..) {
        prop_assert_eq!(written(|out| decimal(out, number)), number.to_string());
        prop_assert_eq!(written(|out| chunk_head(out, len)), format!("{len:x}\r\n"));
    }
}
