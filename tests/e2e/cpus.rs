//! Several CPUs: all of them start, and memory comes and goes while they run.

use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Stdio};
use tests::guest::Dimm;
use tests::schema::Cpu;
use tests::tables::Tables;
use tests::{Guest, Machine, Plan};

fn plan(machine: Machine, cpus: usize) -> Plan {
    Plan::new(machine).option("--cpus", &cpus.to_string())
}

#[track_caller]
fn cpus(guest: &mut Guest) -> Vec<Cpu> {
    guest.json("cpus -J")
}

/// Boots with `count` CPUs, whose local APICs are numbered from 0 on.
#[track_caller]
fn memory_comes_and_goes(plan: &Plan, count: usize) {
    memory_comes_and_goes_with(plan, &(0..count as u32).collect::<Vec<_>>());
}

/// Boots with CPUs of these local APICs: all run, each with its own number. Plugs, uses, moves and removes memory; `check`,
/// which asks each CPU for its protections, finds nothing broken. With one CPU nothing is asked of any other.
#[track_caller]
fn memory_comes_and_goes_with(plan: &Plan, apic_ids: &[u32]) {
    let count = apic_ids.len();
    let mut guest = plan.boot();
    guest.assert_sound();
    let all = cpus(&mut guest);
    assert_eq!(all.len(), count);
    for (number, (cpu, &apic_id)) in all.iter().zip(apic_ids).enumerate() {
        assert_eq!((cpu.cpu, cpu.apic_id, cpu.state.as_str()), (number as u32, apic_id, "online"));
    }
    let log = guest.log();
    assert_eq!(log.contains(&format!("{count} CPUs run, 0 failed, 0 parked")), count > 1, "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let before = cpus(&mut guest);
    guest.plug_online(Dimm { number: 0, size: "256M", node: 1 });
    let after = cpus(&mut guest);
    let sent = |cpus: &[Cpu]| cpus.iter().map(|cpu| cpu.shootdowns_sent).sum::<u64>();
    assert_eq!(sent(&after), sent(&before), "an add asks no other CPU");
    guest.alloc("--node 1 200M");
    guest.assert_sound();
    guest.unplug(0); // what is in it moves
    assert!(guest.verify().ok);
    guest.sh("free all");
    guest.assert_sound();
    let all = cpus(&mut guest);
    assert_eq!(all[0].shootdowns_sent > 0, count > 1, "{all:?}");
    for cpu in &all[1..] {
        assert_eq!(
            cpu.shootdowns_received, all[0].shootdowns_sent,
            "each other CPU has done each request: {all:?}"
        );
    }
    assert_eq!(guest.power_off(), 0);
}

/// Proves it for one, two and four CPUs of a q35. Fails when a CPU does not start, or a request is not served.
#[test]
fn q35() {
    for count in [1, 2, 4] {
        memory_comes_and_goes(&plan(Machine::Q35, count), count);
    }
}

/// Proves it for one, two and four CPUs of a pc.
#[test]
fn pc() {
    for count in [1, 2, 4] {
        memory_comes_and_goes(&plan(Machine::Pc, count), count);
    }
}

/// The threads of the CPUs, as QEMU's monitor says.
#[track_caller]
fn threads(plan: &Plan) -> usize {
    let answer = plan.boot().human("info cpus");
    let ids: HashSet<_> = answer.lines().filter_map(|line| line.split_once("thread_id=")).collect();
    ids.iter().map(|(_, id)| *id).collect::<HashSet<_>>().len()
}

/// Proves it with all CPUs in one thread of QEMU: there a CPU that spins for another one stops it. Proves first that it is
/// one thread.
#[test]
fn in_one_thread() {
    assert_eq!(threads(&plan(Machine::Q35, 4)), 4);
    let plan = plan(Machine::Q35, 4).qemu(&["-accel", "tcg,thread=single"]);
    assert_eq!(threads(&plan), 1);
    memory_comes_and_goes(&plan, 4);
}

/// Proves it in the time that the number of instructions determines, which also is one thread.
#[test]
fn by_instruction_count() {
    let plan = plan(Machine::Q35, 2).qemu(&["-icount", "shift=1,sleep=off"]);
    assert_eq!(threads(&plan), 1);
    memory_comes_and_goes(&plan, 2);
}

/// Proves that CPUs belong to the nodes that SRAT says.
#[test]
fn cpus_have_nodes() {
    let nodes = [0, 0, 1, 1].iter().enumerate();
    let plan = nodes.fold(plan(Machine::Q35, 4), |plan, (core, node)| {
        plan.qemu(&["-numa", &format!("cpu,node-id={node},socket-id=0,core-id={core},thread-id=0")])
    });
    let mut guest = plan.boot();
    let nodes: Vec<_> = cpus(&mut guest).iter().map(|cpu| cpu.node).collect();
    assert_eq!(nodes, [0, 0, 1, 1]);
}

/// Proves that a processor which the MADT names and which is not there is waited for no longer than a bound, named in
/// the log and in `cpus`, and that the kernel and the other processors work without it. Fails when it is waited for
/// without end, or is asked to flush its TLB.
#[test]
fn a_silent_cpu_is_named() {
    let plan = plan(Machine::Q35, 2);
    let mut tables = Tables::of(&mut plan.boot());
    // A local APIC of identity 7, enabled.
    tables.change("APIC", |table| table.extend([0, 8, 7, 7, 1, 0, 0, 0]));
    let mut guest = tables.plan(plan).boot();
    let log = guest.log();
    assert!(log.contains("processor 7 (CPU 2) does not come"), "{log}");
    assert!(log.contains("2 CPUs run, 1 failed, 0 parked"), "{log}");
    let states: Vec<_> = cpus(&mut guest).iter().map(|cpu| cpu.state.to_string()).collect();
    assert_eq!(states, ["online", "online", "failed"]);
    guest.alloc("100M");
    guest.sh("free all"); // asks the CPUs that run
    guest.assert_sound();
    let all = cpus(&mut guest);
    assert!(all[0].shootdowns_sent > 0);
    assert_eq!(all[1].shootdowns_received, all[0].shootdowns_sent);
    assert_eq!(all[2].shootdowns_received, 0);
    assert_eq!(guest.power_off(), 0);
}

/// Proves that a fatal report says where each other CPU was, once, with a backtrace, for a panic and for an exception.
/// Fails when a CPU is not stopped, or when its stack is not known.
#[test]
fn a_report_has_all_cpus() {
    for what in ["panic", "panic null"] {
        let mut guest = plan(Machine::Q35, 4).boot();
        guest.send(format!("{what}\n").as_bytes());
        assert_eq!(guest.wait_exit(), 33);
        let log = guest.log();
        assert!(log.contains("this is CPU 0"), "{log}");
        let parts: Vec<&str> = log.split(" was at rip ffffffff8").skip(1).collect();
        assert_eq!(parts.len(), 3, "one place for each other CPU: {log}");
        for (number, part) in (1..).zip(&parts) {
            assert!(log.contains(&format!("CPU {number} was at rip")), "{log}");
            // An idle one is in its first function, which has no caller.
            assert!(part.contains("carapace::cpus::start::main + "), "{part}");
        }
        assert!(!log.contains("does not stop") && !log.contains("no further"), "{log}");
    }
}

/// What QEMU says against emulating x2APIC mode; nothing where it does, as 9.0 and later.
fn objection_to_x2apic() -> Option<String> {
    // It refuses a model with a feature that it cannot give.
    let words =
        "-machine q35,accel=tcg -cpu qemu64,+x2apic,enforce -S -nodefaults -display none -monitor stdio";
    let mut command = Command::new("qemu-system-x86_64");
    command.args(words.split(' ')).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut qemu = command.spawn().expect("QEMU is installed");
    // One that has ended already reads nothing.
    let _ = qemu.stdin.take().expect("a pipe").write_all(b"quit\n");
    let answer = qemu.wait_with_output().expect("QEMU ends");
    (!answer.status.success()).then(|| String::from_utf8_lossy(&answer.stderr).trim().to_owned())
}

/// Proves that CPUs start and serve requests in x2APIC mode, which SeaBIOS chooses for all CPUs where there may be more than
/// 255: one of them has the number 256, which only a destination of more than 8 bits reaches. Fails when such a CPU stays
/// parked, or a request goes to the CPU whose number is the lowest 8 bits.
#[test]
fn in_x2apic_mode() {
    if let Some(objection) = objection_to_x2apic() {
        println!("x2APIC mode is NOT tried, QEMU 9.0 is the first to emulate it: {objection}");
        return;
    }
    let plan = Plan::new(Machine::Q35).option("--cpu", "max").qemu(&[
        "-smp",
        "2,sockets=2,cores=129,threads=1,maxcpus=258",
        "-device",
        "max-x86_64-cpu,socket-id=1,core-id=0,thread-id=0",
    ]);
    memory_comes_and_goes_with(&plan, &[0, 1, 256]);
}
