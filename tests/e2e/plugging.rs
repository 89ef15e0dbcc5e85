//! `plug`, `unplug` and `dimms` in the guest's own shell, which `cargo xtask run` carries out.

use serde_json::{Value, json};
use tests::session::Session;
use tests::{Machine, Plan};

/// Proves that the guest's shell plugs a DIMM by the host that runs it, that `dimms` has QEMU's name beside slot, device
/// and resource, that refusals of QEMU and of the kernel are errors with their reason (what the host cannot fill is refused too), and that `unplug` takes a DIMM out;
/// also by `cargo xtask sh`, while that program is connected. Fails when a request is not taken, or its answer is lost.
#[test]
fn plugged_from_the_guest() {
    let mut session = Session::start();
    let mut ask = |line: &str| serde_json::from_str::<Value>(&session.ask(line)).expect("JSON");
    let plugged = ask("plug 256M --node 1 -J");
    assert_eq!(plugged, json!({"id": "d0", "size": 256 << 20, "node": 1, "state": "online"}));
    let dimms = ask("dimms -J");
    assert_eq!(
        dimms,
        json!([{"id": "d0", "slot": 0, "device": "\\_SB.MHPC.MP00", "base": 4_u64 << 30, "size": 256 << 20, "node": 1,
            "state": "online", "resources": [1]}])
    );
    let error = |answer: Value| answer["error"].as_str().unwrap_or_default().to_owned();
    assert!(error(ask("plug 256M --node 7 -J")).contains("there is no node 7"));
    assert!(error(ask("plug 3M -J")).contains("not a multiple of 2M"));
    ask("alloc 4K --node 1 --pinned -J");
    let kept = error(ask("unplug d0 -J"));
    assert!(kept.contains("pinned frame at frame 0x100400, held by allocation 1"), "{kept}");
    ask("free all -J");
    assert_eq!(ask("unplug d0 -J"), json!({"id": "d0"}));
    assert!(error(ask("unplug d0 -J")).contains("there is no DIMM d0"));

    // No host has as much memory; it is said before the guest takes it.
    ask("plug 4T -J");
    assert!(error(ask("alloc 3T -J")).contains("try --no-fill"));
    assert!(ask("alloc 3T --no-fill -J")["pages"].is_u64());
    ask("free all -J");
    ask("unplug d0 -J");

    let output = session.task(&["sh", "plug", "128M"]).output().expect("cargo can be started");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "d0: 128M online on node 0\n");
    assert_eq!(session.end(), Some(0));
}

/// Proves that without a host the commands say so and print what to type in QEMU's monitor, at once where there is no
/// second serial line and soon where no host answers there. Fails when the shell waits for ever.
#[test]
fn no_host_to_plug() {
    for plan in [Plan::new(Machine::Q35), Plan::new(Machine::Pc).second_port()] {
        let mut guest = plan.boot();
        let answer = guest.sh("plug 256M --node 1");
        assert!(
            answer.iter().any(|line| line == "    device_add pc-dimm,id=dimm0,memdev=ram0,node=1"),
            "{answer:?}"
        );
        assert!(
            answer.last().is_some_and(|line| line.starts_with("error: no host carries out plug")),
            "{answer:?}"
        );
        let answer = guest.sh("unplug dimm0");
        assert!(answer.iter().any(|line| line == "    object_del ram0"), "{answer:?}");
        assert_eq!(guest.sh("dimms"), ["no DIMM is plugged; plug 256M plugs one"]);
    }
}
