//! Segments and the task state segment: flat 64-bit segments as long mode asks, and the interrupt
//! stack table with the stacks of `stacks`.
//!
//! Invariants: loaded once per CPU, before interrupts are on and before the lower half is unmapped
//! (the loader's descriptor table may lie there). All CPUs have the same selectors, since they share the IDT.

use super::{percpu, stacks};
use carapace_mm::machine::CpuNr;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Makes the GDT and TSS of the CPU that runs, which is `cpu`, and loads them.
pub fn load(cpu: CpuNr) {
    let state = percpu::of(cpu);
    let tss = state.tss.call_once(|| {
        let mut tss = TaskStateSegment::new();
        for stack in stacks::FAULT_STACKS {
            // The table's first place is number 1 to the CPU (Intel SDM vol. 3, figure 8-11).
            tss.interrupt_stack_table[stack as usize - 1] = VirtAddr::new(stacks::top(cpu, stack).0);
        }
        tss
    });
    let mut code = SegmentSelector::NULL;
    let mut data = SegmentSelector::NULL;
    let mut task = SegmentSelector::NULL;
    let gdt = state.gdt.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        code = gdt.append(Descriptor::kernel_code_segment());
        data = gdt.append(Descriptor::kernel_data_segment());
        task = gdt.append(Descriptor::tss_segment(tss));
        gdt
    });
    if task == SegmentSelector::NULL {
        return; // this CPU has loaded its tables before
    }
    gdt.load();
    // SAFETY: `code` names a 64-bit code segment of ring 0 in the table just loaded.
    unsafe { CS::set_reg(code) };
    // SAFETY: `data` names a flat writable data segment in the table just loaded.
    unsafe { SS::set_reg(data) };
    // SAFETY: `data` names a flat writable data segment in the table just loaded; DS has no base in 64-bit mode.
    unsafe { DS::set_reg(data) };
    // SAFETY: `data` names a flat writable data segment in the table just loaded; ES has no base in 64-bit mode.
    unsafe { ES::set_reg(data) };
    // SAFETY: the null selector is allowed; nothing is addressed through FS.
    unsafe { FS::set_reg(SegmentSelector::NULL) };
    // SAFETY: the null selector is allowed; nothing is addressed through GS before `percpu::install` sets its base.
    unsafe { GS::set_reg(SegmentSelector::NULL) };
    // SAFETY: `task` names the TSS above, which is static and used by this CPU alone.
    unsafe { load_tss(task) };
}
