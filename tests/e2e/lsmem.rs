//! `lsmem`: boot memory, a DIMM that is offline and one that ends inside a block, as util-linux would show them.

use serde_json::{Value, json};
use tests::guest::Dimm;
use tests::{Machine, Plan};

/// Proves that each form of `lsmem` tells the same memory as `resources`, in the bytes of util-linux 2.38.1 (what
/// it prints for such blocks was taken from it, with `--sysroot`). Fails when ranges are joined that are not
/// alike, a column is off, or a form says something else than the others.
#[test]
fn as_util_linux() {
    let mut guest = Plan::new(Machine::Q35).boot();
    guest.sh("policy offline");
    assert_eq!(guest.plug(Dimm { number: 0, size: "256M", node: 1 }).status, 0);
    guest.sh("policy online");
    guest.plug_online(Dimm { number: 1, size: "228M", node: 1 });
    let sums =
        ["Memory block size:       128M", "Total online memory:     740M", "Total offline memory:    256M"];
    let table = [
        "RANGE                                  SIZE   STATE REMOVABLE BLOCK",
        "0x0000000000000000-0x000000001fffffff  512M  online        no   0-3",
        "0x0000000100000000-0x000000010fffffff  256M offline           32-33",
        "0x0000000110000000-0x000000011e3fffff  228M  online       yes 34-35",
    ];
    assert_eq!(guest.sh("lsmem"), [&table[..], &[""], &sums].concat());
    assert_eq!(guest.sh("lsmem -n --summary=never"), table[1..]);
    assert_eq!(guest.sh("lsmem --summary"), sums);
    assert_eq!(guest.sh("lsmem -a --summary=never").len(), 1 + 4 + 2 + 2);
    assert_eq!(
        guest.sh("lsmem -r -o range,state,node -S node"),
        [
            "RANGE STATE NODE",
            "0x0000000000000000-0x000000001fffffff online 0",
            "0x0000000100000000-0x000000011e3fffff offline 1",
        ]
    );
    assert_eq!(
        guest.sh("lsmem -Pb -o SIZE,ZONES,REMOVABLE"),
        [r#"SIZE="536870912" ZONES="kernel" REMOVABLE="no""#, r#"SIZE="507510784" ZONES="any" REMOVABLE="""#,]
    );
    let listed: Value = guest.json("lsmem -J -b");
    let expected = json!({"range": "0x0000000110000000-0x000000011e3fffff", "size": 239_075_328,
        "state": "online", "removable": true, "block": "34-35"});
    assert_eq!(listed["memory"][2], expected);
    for (line, reason) in [
        ("lsmem -J -P", "mutually exclusive arguments: --json --pairs --raw"),
        ("lsmem -J -a -S NODE", "mutually exclusive arguments: --split --all"),
        ("lsmem -J --summary=always", "JSON output has no summary"),
        ("lsmem -J -o RANGE,COLOUR", "unknown column: COLOUR"),
    ] {
        let refused: Value = guest.json(line);
        assert!(refused["error"].as_str().is_some_and(|error| error.contains(reason)), "{line}: {refused}");
    }
}
