//! What cores tell each other of their load.

use crate::mesh::{Load, Loads};

#[test]
fn a_reservation_holds_only_for_the_load_that_was_seen() {
    let loads = Loads::new(2);
    let seen = loads.of(1).unwrap();
    assert!(loads.reserve(1, seen));
    assert!(!loads.reserve(1, seen), "somebody was faster");
    loads.set_busy(1, 300);
    assert_eq!(loads.of(1), Some(Load { connections: 1, busy: 300 }));
    loads.add(1);
    loads.remove(1);
    loads.set_busy(1, 2000);
    assert_eq!(loads.of(1), Some(Load { connections: 1, busy: 1000 }));
    assert_eq!(loads.of(0), Some(Load::default()), "each core has its own");
}

#[test]
fn a_core_that_takes_no_more_can_still_be_counted_down() {
    let loads = Loads::new(1);
    loads.add(0);
    let seen = loads.of(0).unwrap();
    loads.close(0);
    assert_eq!((loads.of(0), loads.reserve(0, seen), loads.connections(0)), (None, false, 1));
    loads.remove(0);
    assert_eq!(loads.connections(0), 0);
    assert_eq!((loads.of(7), loads.reserve(7, Load::default())), (None, false), "there is no such core");
}
