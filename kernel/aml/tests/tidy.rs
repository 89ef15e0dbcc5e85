//! What evaluations leave behind goes when it is asked for.
mod host;

use carapace_aml::{Aml, Limits};
use host::TestHost;

/// After each round of evaluations that make names, buffers and fields of their own, tidying leaves exactly as many
/// bytes as before. Breaks if something stays that no name reaches, or if something is freed that one does.
#[test]
fn nothing_stays_behind() {
    let mut host = TestHost::default();
    let mut aml = Aml::new(Limits::default());
    aml.load(&mut host, include_bytes!("fixtures/hotplug.aml")).expect("a good table");
    aml.tidy();
    let empty = aml.bytes_held();
    for _ in 0..5 {
        let ranges = aml.evaluate(&mut host, "\\_SB.MHPC.MP00._CRS", &[]).expect("ranges");
        assert!(ranges.as_buffer().is_some_and(|bytes| !bytes.is_empty()));
        assert!(aml.bytes_held() > empty);
        aml.tidy();
        assert_eq!(aml.bytes_held(), empty);
    }
}
