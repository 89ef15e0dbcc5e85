//! The shape of a guest: machine type, memory, nodes, processors, and the CPU model that can address it all.
//!
//! Pure. Neighbour: `qemu` composes the command of a guest of such a shape.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};

use crate::size::ByteSize;

/// Above this QEMU's default CPU model has too few address bits.
const HYPERTRANSPORT: u64 = 0xfd_0000_0000;
/// The model for guests that need more address bits; it also has 1 GiB pages. With AMD's vendor QEMU would move memory
/// for DIMMs to 1 TiB, above the addresses that HyperTransport reserves there.
const WIDE_CPU: &str = "max,vendor=GenuineIntel";
/// The address bits that the kernel can use.
const WIDE: &str = "phys-bits=46";

/// QEMU's machine types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Intel Q35.
    Q35,
    /// Intel 440FX.
    Pc,
    /// QEMU's own, without PCI: hardware-reduced ACPI, no memory hotplug.
    Microvm,
}

impl Machine {
    /// Those that are known to work.
    pub const ALL: [Machine; 3] = [Machine::Q35, Machine::Pc, Machine::Microvm];

    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
            Machine::Microvm => "microvm",
        }
    }

    /// Its description.
    pub const fn description(self) -> &'static str {
        match self {
            Machine::Q35 => "Intel Q35, with PCI Express",
            Machine::Pc => "Intel 440FX",
            Machine::Microvm => "no PCI, hardware-reduced ACPI, no memory hotplug",
        }
    }
}

impl FromStr for Machine {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Machine> {
        let found = Machine::ALL.into_iter().find(|machine| machine.name() == name);
        found.with_context(|| format!("`{name}` is no machine type that is known to work"))
    }
}

/// The accelerators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Emulation.
    Tcg,
    /// The processor itself.
    Kvm,
}

impl Accelerator {
    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// Memory and processors of a guest.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Machine type.
    pub machine: Machine,
    /// Memory at boot, in node 0.
    pub memory: ByteSize,
    /// Slots for DIMMs.
    pub slots: u64,
    /// Memory at boot and all DIMMs together.
    pub max_memory: ByteSize,
    /// NUMA nodes.
    pub nodes: u64,
    /// Processors.
    pub cpus: u64,
    /// CPU model, where one was asked for.
    pub cpu: Option<String>,
    /// virtio-mem devices: vm0, vm1, ...
    pub virtio_mem: Vec<VirtioMem>,
    /// A balloon by which the guest reports free pages.
    pub balloon: bool,
    /// The speed of each node's memory, from node 0 on, for an HMAT. Empty: the machine has none.
    pub hmat: Vec<Speed>,
}

/// How fast a node's memory is, `NS:SIZE`: an access takes so many nanoseconds, and a second moves so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// The latency in nanoseconds.
    pub latency: u64,
    /// The bandwidth in bytes per second.
    pub bandwidth: ByteSize,
}

impl FromStr for Speed {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Speed> {
        let (latency, bandwidth) =
            text.split_once(':').with_context(|| format!("`{text}` is no NS:SIZE, as in 80:20G"))?;
        let latency = latency.parse().with_context(|| format!("`{latency}` nanoseconds"))?;
        let speed = Speed { latency, bandwidth: bandwidth.parse()? };
        let is_whole = speed.bandwidth.bytes().is_multiple_of(ByteSize::MIB.bytes());
        ensure!(latency > 0 && speed.bandwidth.bytes() > 0 && is_whole, "`{text}`: some ns, and whole MiB/s");
        Ok(speed)
    }
}

/// A virtio-mem device, `SIZE[,node=N][,block=SIZE]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioMem {
    /// The most memory that it can plug.
    pub size: ByteSize,
    /// The node of its memory.
    pub node: u64,
    /// The size of its blocks, where it is not QEMU's default.
    pub block: Option<ByteSize>,
}

impl FromStr for VirtioMem {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<VirtioMem> {
        let mut words = text.split(',');
        let size: ByteSize = words.next().unwrap_or_default().parse()?;
        let mut device = VirtioMem { size, node: 0, block: None };
        for word in words {
            match word.split_once('=') {
                Some(("node", node)) => {
                    device.node = node.parse().with_context(|| format!("node `{node}`"))?
                }
                Some(("block", block)) => device.block = Some(block.parse()?),
                _ => anyhow::bail!("`{word}` is neither node=N nor block=SIZE"),
            }
        }
        let block = device.block.unwrap_or(ByteSize::MIB.times(2));
        let fits = block.bytes().is_power_of_two() && size.bytes().is_multiple_of(block.bytes());
        ensure!(size.bytes() > 0 && fits, "{size} does not consist of blocks of {block}");
        Ok(device)
    }
}

/// With less, QEMU puts the kernel's file over the firmware's own memory, and nothing says a word.
const LEAST_MEMORY: ByteSize = ByteSize::MIB.times(3);

impl Shape {
    /// Refuses what QEMU would refuse in words of its own, or misread.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.memory >= LEAST_MEMORY && self.memory.bytes().is_multiple_of(ByteSize::MIB.bytes()),
            "--memory {}: memory comes in whole MiB, and at least {LEAST_MEMORY} of it",
            self.memory
        );
        for device in &self.virtio_mem {
            let nodes = self.nodes;
            ensure!(device.node < nodes, "--virtio-mem: there is no node {} (--nodes {nodes})", device.node);
        }
        let (speeds, nodes) = (self.hmat.len() as u64, self.nodes);
        ensure!(
            speeds == 0 || speeds == nodes,
            "--hmat has {speeds} speeds, one for each of the {nodes} nodes is needed"
        );
        ensure!(speeds == 0 || self.machine != Machine::Microvm, "--hmat: microvm has no nodes");
        ensure!(
            self.slots == 0 || self.max_memory > self.memory,
            "--max-memory {} leaves no room for DIMMs above --memory {} (or say --slots 0)",
            self.max_memory,
            self.memory
        );
        Ok(())
    }

    /// The most memory that the guest can have: what QEMU reserves addresses for.
    pub(crate) fn most_memory(&self) -> ByteSize {
        let devices: u64 = self.virtio_mem.iter().map(|device| device.size.bytes()).sum();
        // A GiB more for each device: QEMU aligns them.
        let gaps = self.virtio_mem.len() as u64 * ByteSize::GIB.bytes();
        let least = self.memory.bytes().saturating_add(devices).saturating_add(gaps);
        match self.slots {
            0 => ByteSize::MIB.times(least.div_ceil(ByteSize::MIB.bytes())),
            _ if devices == 0 => self.max_memory,
            _ => ByteSize::MIB.times(least.max(self.max_memory.bytes()).div_ceil(ByteSize::MIB.bytes())),
        }
    }

    /// The CPU model to ask for: QEMU's default where that can address everything, else one with more address bits. A
    /// model that was asked for gets the bits too, unless it has a number of its own.
    pub fn cpu_model(&self) -> Option<String> {
        let is_wide = self.end_of_addresses() > HYPERTRANSPORT;
        match &self.cpu {
            // QEMU refuses the bits for models of 32 bits.
            Some(model) if is_wide && !model.contains("phys-bits") && !model.starts_with("qemu32") => {
                Some(format!("{model},{WIDE}"))
            }
            Some(model) => Some(model.clone()),
            None => is_wide.then(|| format!("{WIDE_CPU},{WIDE}")),
        }
    }

    /// Where the highest address of the guest's memory map ends, as QEMU lays it out: memory above 4 GiB, the
    /// window for DIMMs, the window for 64-bit PCI devices.
    fn end_of_addresses(&self) -> u64 {
        let gib = ByteSize::GIB.bytes();
        let (below_limit, below, pci_window) = match self.machine {
            Machine::Q35 => (0xb000_0000, 2 * gib, 32 * gib),
            Machine::Pc => (0xe000_0000, 3 * gib, 2 * gib),
            Machine::Microvm => (0xc000_0000, 3 * gib, 0),
        };
        let memory = self.memory.bytes();
        let above_4g = if memory >= below_limit { memory - below } else { 0 };
        let start = (4 * gib).saturating_add(above_4g).next_multiple_of(gib);
        let window = match (self.slots, self.virtio_mem.len()) {
            (0, 0) => 0,
            (slots, _) => self.most_memory().bytes().saturating_sub(memory).saturating_add(slots * gib),
        };
        start.saturating_add(window).saturating_add(pci_window)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn size(text: &str) -> ByteSize {
        text.parse().expect("a size")
    }

    /// The guest of `cargo xtask run` with a window of 256 GiB for DIMMs.
    pub(crate) fn shape() -> Shape {
        Shape {
            machine: Machine::Q35,
            memory: size("512M"),
            slots: 32,
            max_memory: size("256G"),
            nodes: 2,
            cpus: 1,
            cpu: None,
            virtio_mem: Vec::new(),
            balloon: false,
            hmat: Vec::new(),
        }
    }

    /// The CPU model gets more address bits exactly if QEMU's default model has too few (measured with QEMU 7.2: 900G
    /// starts with it, 1T does not), and a model of the user's gets them unless it names a number.
    #[test]
    fn wide_addresses() {
        let mut shape = shape();
        let mut model = |max: &str, slots| {
            (shape.max_memory, shape.slots) = (size(max), slots);
            shape.cpu_model()
        };
        assert_eq!(model("900G", 32), None);
        let wide = "max,vendor=GenuineIntel,phys-bits=46";
        assert_eq!(model("1T", 32).as_deref(), Some(wide));
        assert_eq!(model("900G", 256).as_deref(), Some(wide));
        assert_eq!(model("4T", 0), None);
        (shape.cpu, shape.slots) = (Some("Haswell".into()), 32);
        shape.max_memory = size("4T");
        assert_eq!(shape.cpu_model().as_deref(), Some("Haswell,phys-bits=46"));
        shape.cpu = Some("max,phys-bits=44".into());
        assert_eq!(shape.cpu_model().as_deref(), Some("max,phys-bits=44"));
        shape.cpu = Some("Haswell".into());
        shape.max_memory = size("256G");
        assert_eq!(shape.cpu_model().as_deref(), Some("Haswell"));
    }

    /// Sizes that QEMU would misread or answer with a riddle are refused.
    #[test]
    fn impossible_shapes() {
        let good = shape();
        assert!(good.check().is_ok());
        assert!(
            Shape { memory: size("3M"), ..good.clone() }.check().is_ok(),
            "the guest itself says that it is too little"
        );
        for (memory, max_memory) in [("0", "1G"), ("1000", "1G"), ("2M", "1G"), ("1G", "1G"), ("2G", "1G")] {
            let shape = Shape { memory: size(memory), max_memory: size(max_memory), ..good.clone() };
            assert!(shape.check().is_err(), "{memory} of {max_memory}");
        }
    }
}
